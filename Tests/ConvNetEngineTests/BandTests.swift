import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import OpenBLAS
import Testing

/// Expand → depthwise → project in bands gives the bits of the three steps.
@Suite struct BandTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var input: Shape
    /// Channels of the widened map, as many as the input's where nothing widens it.
    var width: Int?
    var filters: Int
    var kernel = 3
    var stride = 1
    var dilation = 1
    var padding = Padding.same
    var testDescription: String {
      "\(input) to \(width ?? input[3]), kernel \(kernel) stride \(stride) dilation \(dilation) "
        + "\(padding), to \(filters)"
    }

    var graph: Graph {
      get throws {
        try Graph(input: TensorType(.float32, input)) { x in
          let wide = width.map { x.convolution($0, kernel: 1).relu6() } ?? x
          let y = wide.depthwiseConvolution(
            kernel: kernel, stride: stride, padding: padding, dilation: dilation
          ).relu6().convolution(filters, kernel: 1, bias: false)
          return y.type == x.type ? x + y : y
        }
      }
    }
  }

  static let cases = [
    Case(input: [1, 5, 6, 4], width: 24, filters: 4),
    Case(input: [3, 7, 5, 4], width: 17, filters: 9, stride: 2),
    Case(input: [2, 8, 9, 20], width: nil, filters: 7),
    Case(input: [2, 29, 4, 3], width: 18, filters: 5, kernel: 5, stride: 2),
    Case(input: [1, 31, 7, 3], width: 16, filters: 3, dilation: 2),
    Case(
      input: [1, 6, 5, 2], width: 8, filters: 3,
      padding: .explicit(top: 4, bottom: 5, left: 1, right: 1)),
    Case(input: [1, 9, 8, 2], width: 8, filters: 3, kernel: 2, stride: 3, padding: .valid),
    // Several pieces of several bands: a row of the wide map has 40 KiB.
    Case(input: [1, 30, 40, 6], width: 256, filters: 6),
    Case(input: [2, 29, 40, 6], width: 256, filters: 5, stride: 2),
    Case(input: [1, 57, 41, 256], width: nil, filters: 3, stride: 2),
  ]

  /// Whole numbers: every kernel must give the same.
  @Test(arguments: cases) func wholeNumbers(_ c: Case) throws {
    let graph = try c.graph
    var parameters: [String: Tensor] = [:]
    for (index, parameter) in graph.parameters.enumerated() {
      let shape = try #require(graph.type(of: parameter.value).shape)
      parameters[parameter.name] = TestData.integers(shape, in: -2...2, seed: UInt64(index + 2))
    }
    let model = try Model(graph: graph, parameters: parameters, state: [:])
    try Self.check(model, input: TestData.integers(c.input, in: -3...3, seed: 1))
  }

  /// Any numbers, on kernels that give a row the same bits in every product.
  @Test func anyNumbers() async {
    await #expect(processExitsWith: .success) {
      guard BLAS.bootstrap(kernel: .recommended).hasSmallMatrixKernel else { return }
      for c in BandTests.cases {
        let model = try randomModel(c.graph, seed: 3)
        try BandTests.check(model, input: TestData.uniform(c.input, seed: 4))
      }
    }
  }

  private static func check(_ model: Model, input: Tensor) throws {
    let (apart, steps) = try run(
      model, input, lanes: TestLanes.all[0], PlanOptions(fusesBands: false))
    guard !steps.contains(where: { $0.contains("Banded") }) else { fatalError("\(steps)") }
    for lanes in TestLanes.all {
      let (banded, steps) = try run(model, input, lanes: lanes, PlanOptions(convolution: "banded"))
      guard steps.count(where: { $0.contains("Banded") }) == 1, banded == apart else {
        fatalError("Bands of \(input.shape) differ on \(lanes.count) lanes: \(steps)")
      }
    }
  }

  private static func run(
    _ model: Model, _ input: Tensor, lanes: Lanes, _ options: PlanOptions
  ) throws -> (output: Tensor, steps: [String]) {
    let plan = try Plan(
      model, mode: .inference, inputShapes: ["input": input.shape], lanes: lanes, options: options)
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: input)
    plan.run(in: &workspace)
    return (try workspace.output("output"), plan.stepDescriptions)
  }

  /// Bands are chosen for large maps alone, and reported for every layer in them.
  @Test func choices() throws {
    let graph = try Graph(input: .image(height: 40, width: 40, channels: 8)) { x in
      let y = x.convolution(192, kernel: 1, name: "expand").relu6()
        .depthwiseConvolution(kernel: 3, stride: 2, name: "depthwise").relu6()
        .convolution(16, kernel: 1, name: "project")
      return y.depthwiseConvolution(kernel: 3, name: "small").convolution(16, kernel: 1)
    }
    let plan = try Plan(graph, inputShapes: ["input": [1, 40, 40, 8]], lanes: TestLanes.all[0])
    #expect(
      plan.convolutionChoices.map(\.chosen)
        == ["banded", "banded", "banded", "depthwise", "pointwise"])
    #expect(
      plan.convolutionChoices.prefix(4).map(\.layer) == ["expand", "depthwise", "project", "small"])
    #expect(plan.convolutionChoices[0].declined.first?.strategy == "pointwise")
    #expect(plan.arenaByteCount < 4 * 40 * 40 * 192)
  }

  /// A map that others read too is made whole; so is one that the graph hands out.
  @Test func sharedMapsAreNotBanded() throws {
    let type = TensorType(.float32, [1, 8, 8, 4])
    let graph = try Graph(inputs: [("input", type)]) { values in
      let wide = values[0].convolution(8, kernel: 1).relu()
      let deep = wide.depthwiseConvolution(kernel: 3)
      return ["output": deep.convolution(8, kernel: 1) + wide, "deep": deep]
    }
    let plan = try Plan(
      graph, inputShapes: [:], lanes: TestLanes.all[0], options: PlanOptions(convolution: "banded"))
    #expect(!plan.stepDescriptions.contains { $0.contains("Banded") })
  }
}
