import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Convolution over sequences and volumes, and transposed convolution over all three; whole numbers, so
/// that the engine must agree to the last bit.
@Suite struct SpatialRankTests {
  struct Geometry: CustomTestStringConvertible {
    var input: Shape
    var window: Window
    var groups = 1
    var filters: Int
    var outputPadding: [Int]?

    var testDescription: String { "\(input) \(window) groups \(groups) filters \(filters)" }

    /// Winograd's transforms of multiples of 576 = 24² are whole.
    var isWinograd: Bool {
      Array(window.kernel.suffix(2)) == [3, 3] && Array(window.stride.suffix(2)) == [1, 1]
        && Array(window.dilation.suffix(2)) == [1, 1] && groups == 1
    }

    /// Input, filter and bias of a convolution, or of a transposed one.
    func operands(filter: Shape, biases: Int) -> [Tensor] {
      let x = TestData.integers(input, in: isWinograd ? -1...1 : -3...3, seed: 1)
      let w = TestData.integers(
        filter, in: isWinograd ? -1...1 : -2...2, scale: isWinograd ? 576 : 1, seed: 2)
      return [x, w, TestData.integers([biases], in: -5...5, seed: 3)]
    }

    func check(_ operation: Operation, filter: Shape, biases: Int) throws {
      let operands = operands(filter: filter, biases: biases)
      try checkOperation(
        operation, operands, parameters: [1, 2],
        options: [nil, "direct", "im2col", "winograd"].map { PlanOptions(convolution: $0) })
      try checkOperation(operation, Array(operands.prefix(2)))
    }
  }

  private static func window(
    _ kernel: [Int], stride: [Int]? = nil, dilation: [Int]? = nil, _ padding: Padding = .same
  ) -> Window {
    Window(kernel: kernel, stride: stride, dilation: dilation, padding: padding)
  }

  static let convolutions: [Geometry] = [
    Geometry(input: [2, 9, 3], window: window([3]), filters: 4),
    Geometry(input: [3, 12, 17], window: window([5], stride: [2], dilation: [2]), filters: 66),
    Geometry(input: [2, 7, 6], window: window([1]), filters: 5),
    Geometry(input: [1, 10, 6], window: window([3], stride: [2]), groups: 3, filters: 9),
    Geometry(input: [2, 8, 20], window: window([3]), groups: 20, filters: 20),
    Geometry(
      input: [1, 4, 2],
      window: window([2], .explicit(before: [3], after: [1])), filters: 3),
    Geometry(input: [2, 4, 5, 6, 3], window: window([3, 3, 3]), filters: 4),
    Geometry(input: [1, 3, 5, 4, 18], window: window([2, 3, 3]), filters: 17),
    Geometry(
      input: [2, 5, 6, 4, 2],
      window: window(
        [3, 2, 1], stride: [2, 1, 3], dilation: [1, 2, 1],
        .explicit(before: [1, 0, 0], after: [2, 1, 0])), filters: 5),
    Geometry(input: [1, 4, 3, 5, 4], window: window([2, 1, 2], .valid), groups: 2, filters: 6),
    Geometry(input: [1, 4, 3, 3, 3], window: window([3, 3, 3]), groups: 3, filters: 3),
    Geometry(input: [2, 2, 3, 2, 5], window: window([1, 1, 1]), filters: 7),
  ]

  @Test(arguments: convolutions) func convolutionAgrees(_ geometry: Geometry) throws {
    let channels = geometry.input[geometry.input.rank - 1] / geometry.groups
    try geometry.check(
      .convolution(Convolution(window: geometry.window, groups: geometry.groups)),
      filter: Shape(geometry.window.kernel + [channels, geometry.filters]),
      biases: geometry.filters)
  }

  static let transposed: [Geometry] = [
    Geometry(
      input: [2, 5, 3], window: window([4], stride: [2], .explicit(before: [1], after: [1])),
      filters: 5),
    Geometry(
      input: [1, 4, 4], window: window([3], stride: [2], .valid), groups: 2, filters: 6,
      outputPadding: [1]),
    Geometry(input: [2, 4, 5, 3], window: window([2, 2], stride: [2, 2], .valid), filters: 4),
    Geometry(
      input: [2, 3, 4, 17],
      window: window(
        [4, 3], stride: [2, 2], .explicit(before: [1, 0], after: [1, 1])), filters: 66,
      outputPadding: [0, 1]),
    // Stride 1: Winograd where it is forced, and the adjoint of a pointwise convolution.
    Geometry(input: [2, 5, 6, 18], window: window([3, 3], .explicit(1)), filters: 17),
    Geometry(input: [1, 4, 7, 16], window: window([3, 3], .valid), filters: 16),
    Geometry(input: [2, 3, 4, 5], window: window([1, 1], .valid), filters: 6),
    // Depthwise, in groups, dilated, with output padding beyond the stride.
    Geometry(
      input: [2, 4, 3, 6], window: window([3, 3], stride: [2, 2], .explicit(1)), groups: 6,
      filters: 6, outputPadding: [1, 1]),
    Geometry(
      input: [1, 3, 4, 4], window: window([2, 3], stride: [1, 2], dilation: [3, 1], .valid),
      groups: 2, filters: 6, outputPadding: [2, 1]),
    // A kernel smaller than its stride leaves pixels that only the bias reaches.
    Geometry(
      input: [1, 3, 2, 2], window: window([1, 2], stride: [3, 3], .valid), filters: 3,
      outputPadding: [2, 0]),
    Geometry(
      input: [2, 2, 3, 3, 3],
      window: window(
        [3, 2, 3], stride: [2, 2, 1], .explicit(before: [1, 0, 1], after: [1, 0, 1])), filters: 4,
      outputPadding: [1, 0, 0]),
    Geometry(
      input: [1, 3, 2, 3, 4], window: window([2, 2, 2], dilation: [2, 1, 1], .valid), groups: 2,
      filters: 2, outputPadding: [1, 0, 0]),
  ]

  @Test(arguments: transposed) func transposedConvolutionAgrees(_ geometry: Geometry) throws {
    let channels = geometry.input[geometry.input.rank - 1]
    try geometry.check(
      .transposedConvolution(
        TransposedConvolution(
          Convolution(window: geometry.window, groups: geometry.groups),
          outputPadding: geometry.outputPadding)),
      filter: Shape(geometry.window.kernel + [geometry.filters / geometry.groups, channels]),
      biases: geometry.filters)
  }

  @Test func layersRun() throws {
    let images = try Graph(input: .image(height: 6, width: 5, channels: 3)) {
      let small = $0.convolution(8, kernel: 3, stride: 2).relu()
        .maxPooling(kernel: 2, stride: 2, roundsUp: true)
      return small.transposedConvolution(4, kernel: 2, stride: 2)
        .concatenated(with: small.upsampled(by: 2)).resized(height: 6, width: 5)
        .localResponseNormalization(size: 5)
    }
    let volumes = try Graph(input: TensorType(["N", 4, 4, 4, 2])) {
      $0.convolution(3, window: Self.window([3, 3, 3])).batchNormalization().relu()
        .averagePooling(window: Self.window([2, 2, 2], stride: [2, 2, 2]))
        .globalAveragePooling().dense(2)
    }
    let cases: [(Graph, Shape)] = [(images, [2, 6, 5, 3]), (volumes, [2, 4, 4, 4, 2])]
    for (graph, shape) in cases {
      let model = try randomModel(graph, seed: 4)
      let x = TestData.uniform(shape, seed: 5)
      let values = model.parameters.merging(model.state) { first, _ in first }
        .merging(["input": x]) { first, _ in first }
      let expected = try Tolerance.perturbing(
        Reference(model, mode: .inference), values, terms: 54, seed: 6)["output"]
      let plan = try Plan(model, mode: .inference, inputShapes: ["input": shape])
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      try workspace.setInput("input", to: x)
      plan.run(in: &workspace)
      let (y, tolerance) = try #require(expected)
      expectClose(try workspace.output("output"), y, tolerance: tolerance)
    }
  }
}
