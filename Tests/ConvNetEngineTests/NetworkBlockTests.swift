import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// The blocks of the built-in networks at small widths: the engine against the reference, in inference
/// and in training with all gradients.
@Suite struct NetworkBlockTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var shape: Shape
    var block: @Sendable (Graph.Value) -> Graph.Value

    init(_ name: String, _ shape: Shape, _ block: @escaping @Sendable (Graph.Value) -> Graph.Value)
    {
      (testDescription, self.shape, self.block) = ("\(name) \(shape)", shape, block)
    }
  }

  static let cases: [Case] = [
    Case("basic", [2, 7, 6, 5]) { $0.basicBlock(5, stride: 1, normalized: true) },
    Case("basic", [2, 7, 6, 5]) { $0.basicBlock(9, stride: 2, normalized: true) },
    Case("basic without batch norm", [2, 6, 6, 5]) {
      $0.basicBlock(5, stride: 1, normalized: false)
    },
    Case("bottleneck", [2, 5, 7, 12]) { $0.bottleneckBlock(3, stride: 1, normalized: true) },
    Case("bottleneck", [2, 8, 7, 6]) { $0.bottleneckBlock(3, stride: 2, normalized: true) },
    Case("inverted residual", [2, 6, 5, 5]) {
      $0.invertedResidual(5, expansion: 3, stride: 1, normalized: true)
    },
    Case("inverted residual", [2, 6, 7, 6]) {
      $0.invertedResidual(7, expansion: 1, stride: 2, normalized: true)
    },
    Case("dense block", [2, 5, 4, 7]) {
      $0.denseBlock(layers: 2, growth: 3, normalized: true).denseTransition(normalized: true)
    },
    Case("VGG", [2, 8, 8, 3]) {
      $0.vgg(stages: [[5], [6, 7]], units: 9, classes: 4, normalized: true)
    },
    Case("LSTM", [6, 3, 5]) { $0.lstm(4) },
    Case("LSTM with batch norm", [6, 3, 5]) {
      $0.lstm(4, batchNormalization: BatchNormalizationOptions(), output: .sequence)
    },
  ]

  /// The block and Σ w·y for the elements w of a second input, in a mode.
  private func graph(_ c: Case, _ mode: ExecutionMode) throws -> (graph: Graph, output: Shape) {
    let type = TensorType(.float32, c.shape)
    let output = try Graph(input: type) { c.block($0) }.outputViews[0].type
    let graph = try Graph(inputs: [("input", type), ("w", output)]) { values in
      let y = c.block(values[0])
      return ["output": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<output.rank))]
    }
    let resolved = try ResolveMode(mode).apply(to: graph)
    return (
      mode == .inference
        ? resolved : try resolved.gradient(of: "loss").exposingStatistics().graph,
      try #require(output.shape)
    )
  }

  /// As `NetworkTests.agreesWithTheReference`: at most four layers of at most 112 terms, each carried on
  /// with a gain of some units; mistakes are 1000 times larger than 2¹² ε of the largest element.
  @Test(arguments: cases, [ExecutionMode.inference, .training])
  func agreesWithTheReference(_ c: Case, _ mode: ExecutionMode) throws {
    let (graph, output) = try graph(c, mode)
    let model = try randomModel(graph, seed: 81)
    var inputs = [
      "input": TestData.uniform(c.shape, seed: 82),
      "w": TestData.integers(output, in: -3...3, seed: 83),
    ]
    if graph.inputs.contains(where: { $0.name == GraphBuilder.randomKeyName }) {
      inputs[GraphBuilder.randomKeyName] = Tensor([84, 0] as [Int64])
    }
    let expected = try Reference(graph, parameters: model.parameters, state: model.state)
      .run(inputs: inputs)
    var first: [String: Tensor]?
    for lanes in TestLanes.all {
      let plan = try Plan(graph, inputShapes: [:], lanes: lanes)
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      for (name, value) in inputs { try workspace.setInput(name, to: value) }
      plan.run(in: &workspace)
      var results: [String: Tensor] = [:]
      for port in graph.outputs { results[port.name] = try workspace.output(port.name) }
      for (name, value) in results where first == nil {
        let reference = try #require(expected[name])
        let largest = reference.doubles.map(abs).reduce(1, max)
        expectClose(
          value, reference, tolerance: 4096 * Double(Float.ulpOfOne) * largest,
          "\(name) \(mode), seeds from 81")
      }
      if let first { #expect(first == results, "other bits on \(lanes.count) lanes") }
      first = first ?? results
    }
  }
}
