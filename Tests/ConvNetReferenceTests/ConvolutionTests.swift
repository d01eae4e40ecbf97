import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ConvolutionTests {
  /// A geometry, for parameterised tests.
  struct Case: Sendable, CustomTestStringConvertible {
    var x: Shape
    var filters: Int
    var convolution: Convolution
    var testDescription: String { "\(x) → \(filters), \(convolution)" }

    init(
      _ x: Shape, _ filters: Int, kernel: [Int], stride: [Int]? = nil, dilation: [Int]? = nil,
      padding: Padding = .valid, groups: Int = 1
    ) {
      self.x = x
      self.filters = filters
      convolution = Convolution(
        window: Window(kernel: kernel, stride: stride, dilation: dilation, padding: padding),
        groups: groups)
    }

    var w: Shape {
      Shape(convolution.window.kernel + [x[x.rank - 1] / convolution.groups, filters])
    }
  }

  static let cases: [Case] = [
    Case([1, 3, 3, 1], 1, kernel: [1, 1]),
    Case([2, 5, 4, 3], 2, kernel: [3, 2]),
    Case([1, 7, 6, 2], 3, kernel: [3, 3], stride: [2, 3], padding: .same),
    Case([1, 6, 7, 2], 2, kernel: [2, 3], stride: [2, 2], padding: .sameLower),
    Case([1, 7, 7, 1], 2, kernel: [3, 3], dilation: [2, 3], padding: .explicit(2)),
    Case(
      [1, 4, 5, 4], 6, kernel: [3, 3],
      padding: .explicit(top: 0, bottom: 2, left: 1, right: 0), groups: 2),
    Case([2, 5, 5, 3], 3, kernel: [3, 3], padding: .same, groups: 3),
    Case([1, 5, 5, 2], 4, kernel: [3, 3], stride: [2, 2], padding: .same, groups: 2),
    Case([1, 4, 4, 1], 1, kernel: [2, 2], stride: [3, 3]),  // positions that no window touches
    Case([2, 9, 2], 3, kernel: [4], stride: [2], padding: .same),  // a sequence
    Case([1, 3, 4, 3, 2], 2, kernel: [2, 3, 2], padding: .same),  // a volume
    Case([0, 4, 4, 2], 3, kernel: [3, 3], padding: .same),  // an empty batch
  ]

  @Test func sumsProducts() throws {
    // A 2×2 kernel of 1, 2, 3, 4 on 1…9: 1·1 + 2·2 + 4·3 + 5·4 = 37, and 10 for each step right, 30 down.
    let x = ReferenceTensor([1, 2, 3, 4, 5, 6, 7, 8, 9], shape: [1, 3, 3, 1])
    let w = ReferenceTensor([1, 2, 3, 4], shape: [2, 2, 1, 1])
    let bias = ReferenceTensor([0.5], shape: [1])
    let operation = Operation.convolution(
      Convolution(window: Window(kernel: [2, 2], padding: .valid)))
    #expect(try evaluateInReference(operation, x, w, bias)[0].values == [37.5, 47.5, 67.5, 77.5])
  }

  @Test func padsAtTheEndUnlessToldOtherwise() throws {
    let x = ReferenceTensor([1, 2, 3], shape: [1, 1, 3, 1])
    let w = ReferenceTensor([10, 1], shape: [1, 2, 1, 1])
    func y(_ padding: Padding) throws -> [Double] {
      try evaluateInReference(
        .convolution(Convolution(window: Window(kernel: [1, 2], padding: padding))), x, w)[0].values
    }
    #expect(try y(.same) == [12, 23, 30])
    #expect(try y(.sameLower) == [1, 12, 23])
    #expect(try y(.valid) == [12, 23])
    #expect(
      try y(.explicit(top: 0, bottom: 0, left: 2, right: 1)) == [0, 1, 12, 23, 30])
  }

  @Test func dilatesAndStrides() throws {
    // Taps two apart, every third position: x0 + 10·x2 at 0 and x3 + 10·x5 at 3.
    let x = ReferenceTensor([1, 2, 3, 4, 5, 6], shape: [1, 1, 6, 1])
    let w = ReferenceTensor([1, 10], shape: [1, 2, 1, 1])
    let window = Window(kernel: [1, 2], stride: [1, 3], dilation: [1, 2], padding: .valid)
    let y = try evaluateInReference(.convolution(Convolution(window: window)), x, w)[0]
    #expect(y.values == [31, 64])
  }

  @Test func keepsGroupsApart() throws {
    // One pixel, channels 1, 2 | 3, 4, two filters a group: rows of w are channels of the group.
    let x = ReferenceTensor([1, 2, 3, 4], shape: [1, 1, 1, 4])
    let w = ReferenceTensor([1, 0, 1, 1, 0, 1, 10, 100], shape: [1, 1, 2, 4])
    let operation = Operation.convolution(
      Convolution(window: Window(kernel: [1, 1], padding: .valid), groups: 2))
    // k0: 1·1 + 2·0, k1: 1·0 + 2·1, k2: 3·1 + 4·10, k3: 3·1 + 4·100.
    #expect(try evaluateInReference(operation, x, w)[0].values == [1, 2, 43, 403])
  }

  @Test func convolvesDepthwise() throws {
    let x = ReferenceTensor([1, 10, 2, 20, 3, 30], shape: [1, 1, 3, 2])
    let w = ReferenceTensor([1, 2, 3, 4], shape: [1, 2, 1, 2])
    let operation = Operation.convolution(
      Convolution(window: Window(kernel: [1, 2], padding: .valid), groups: 2))
    // Channel 0: 1·1 + 2·3, 2·1 + 3·3; channel 1: 10·2 + 20·4, 20·2 + 30·4.
    #expect(try evaluateInReference(operation, x, w)[0].values == [7, 100, 11, 160])
  }

  @Test(arguments: cases) func hasAGradient(_ geometry: Case) throws {
    try checkGradient(
      of: .convolution(geometry.convolution),
      [
        TestData.doubles(geometry.x, seed: 1), TestData.doubles(geometry.w, seed: 2),
        TestData.doubles([geometry.filters], seed: 3),
      ])
  }

  @Test(arguments: cases) func hasGradientsOfGradients(_ geometry: Case) throws {
    let convolution = geometry.convolution
    let x = TestData.doubles(geometry.x, seed: 1)
    let w = TestData.doubles(geometry.w, seed: 2)
    let y = try evaluateInReference(.convolution(convolution), x, w)[0]
    let dy = TestData.doubles(y.shape, seed: 3)
    try checkGradient(of: .convolutionInputGradient(convolution), [dy, w, x])
    try checkGradient(of: .convolutionFilterGradient(convolution), [dy, x, w])
  }

  /// The gradient of ‖∂loss/∂x‖², a gradient penalty, taken through the gradient graph.
  @Test func differentiatesAGradientPenalty() throws {
    let graph = try Graph(inputs: [("x", TensorType([1, 4, 5, 2]))]) { values in
      let y = values[0].convolution(3, kernel: 3, stride: 2, name: "c").map(.square)
      return ["loss": y.reduced(.sum, axes: [0, 1, 2, 3])]
    }
    let builder = GraphBuilder(try graph.gradient(of: "loss", withRespectTo: ["x"]))
    let dx = try #require(builder.graph.outputs.last).value
    let square = builder.add(.combine(.multiply), dx, dx)
    builder.removeOutputs()
    builder.addOutput(
      "penalty", builder.add(.reduce(Reduce(.sum, axes: [0, 1, 2, 3])), square))
    let values = [
      "x": TestData.doubles([1, 4, 5, 2], seed: 1),
      "c.weight": TestData.doubles([3, 3, 2, 3], seed: 2),
      "c.bias": TestData.doubles([3], seed: 3),
    ]
    try finiteDifferenceCheck(
      builder.finish(), values, of: "penalty", withRespectTo: ["x", "c.weight", "c.bias"])
  }
}
