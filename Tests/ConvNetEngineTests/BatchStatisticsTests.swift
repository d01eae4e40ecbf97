import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Training steps with ghost batches, masks, renormalisation and single samples.
@Suite struct BatchStatisticsTests {
  private struct Case: CustomTestStringConvertible {
    var statistics = BatchStatistics()
    var shape: Shape
    var masks = false
    var testDescription: String { "\(statistics) \(shape) \(masks ? "masked" : "")" }
  }

  private static let cases: [Case] = [
    Case(statistics: BatchStatistics(ghostBatchSize: 3), shape: [8, 5]),
    Case(statistics: BatchStatistics(ghostBatchSize: 2), shape: [5, 3, 2, 17]),
    Case(shape: [6, 5], masks: true), Case(shape: [6, 4, 3, 17], masks: true),
    Case(statistics: BatchStatistics(ghostBatchSize: 3), shape: [6, 2, 5], masks: true),
    Case(statistics: BatchStatistics(renormalizes: true), shape: [6, 4, 5]),
    Case(statistics: BatchStatistics(ghostBatchSize: 3, renormalizes: true), shape: [6, 5]),
  ]

  /// The longest sums are those over the samples of a channel.
  @Test(arguments: cases) private func agreesWithTheReference(_ c: Case) throws {
    let type = TensorType([.symbol("N")] + c.shape.dimensions.dropFirst().map(Dimension.fixed))
    let inputTypes: [(name: String, type: TensorType)] =
      [("x", type), ("w", type)] + (c.masks ? [("mask", TensorType(["N"]))] : [])
    let graph = try Graph(inputs: inputTypes) { values in
      let mask = c.masks ? values[2] : nil
      let y = values[0].batchNormalization(epsilon: 0.01, statistics: c.statistics, mask: mask)
        .relu().batchNormalization(epsilon: 0.01, statistics: c.statistics, mask: mask)
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
    let model = try randomModel(graph, seed: 71)
    var inputs = [
      "x": TestData.uniform(c.shape, in: -2...2, seed: 72),
      "w": TestData.uniform(c.shape, seed: 73),
    ]
    if c.masks {
      inputs["mask"] = Tensor((0..<c.shape[0]).map { Float($0 % 3 == 1 ? 0 : 1) })
    }
    let step = try graph.trainingStep(inputShapes: inputs.mapValues(\.shape), loss: "loss").graph
    if c.statistics.renormalizes {
      inputs[GraphBuilder.renormalizationLimitsName] = Tensor([1.5, 0.75] as [Float])
    }
    let reference = try Reference(step, parameters: model.parameters, state: model.state)
    let stored = model.parameters.merging(model.state) { first, _ in first }
    let expected = try Tolerance.perturbing(
      reference, inputs.merging(stored) { first, _ in first },
      terms: c.shape.count / (c.shape.dimensions.last ?? 1), seed: 74)
    var first: [String: Tensor] = [:]
    for lanes in TestLanes.all {
      let plan = try Plan(step, inputShapes: [:], lanes: lanes)
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      for (name, value) in inputs { try workspace.setInput(name, to: value) }
      plan.run(in: &workspace)
      for (name, (exact, tolerance)) in expected {
        let value = try workspace.output(name)
        expectClose(value, exact, tolerance: tolerance, "\(name) of \(c)")
        #expect(first[name] ?? value == value, "\(name) on \(lanes.count) lanes")
        first[name] = value
      }
    }
  }

  private func output(
    _ graph: Graph, _ model: Model, _ x: Tensor, mode: ExecutionMode = .training
  ) throws -> Tensor {
    let plan = try Plan(
      model, mode: mode, inputShapes: ["input": x.shape], lanes: TestLanes.all[0])
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: x)
    plan.run(in: &workspace)
    return try workspace.output("output")
  }

  @Test func trap1SingleSamplesFollowThePolicy() throws {
    let x = TestData.uniform([1, 5], in: -3...3, seed: 81)
    for policy in [SingleSamplePolicy.error, .useRunning, .skipUpdate] {
      let graph = try Graph(input: .features(5)) {
        $0.batchNormalization(name: "norm", statistics: BatchStatistics(singleSample: policy))
      }
      let model = try randomModel(graph, seed: 82)
      switch policy {
      case .error:
        let error = #expect(throws: PlanError.self) { try output(graph, model, x) }
        #expect(error?.code == .singleSample && error?.place == "norm")
        #expect(error?.reason.contains("[1, 5]") == true)
      case .useRunning:
        #expect(try output(graph, model, x) == output(graph, model, x, mode: .inference))
      case .skipUpdate:
        #expect(try output(graph, model, x) == model.parameters["norm.bias"]?.reshaped(to: [1, 5]))
      }
    }
  }

  /// A constant channel becomes β to the bit, wherever it lies.
  @Test(arguments: [0, 0x1p-140, 1, -3e6, 1e30] as [Float])
  func trap4ConstantChannelsBecomeTheShift(_ constant: Float) throws {
    let graph = try Graph(input: .features(3)) { $0.batchNormalization(name: "norm") }
    let model = try randomModel(graph, seed: 83)
    let y = try output(graph, model, Tensor(repeating: constant, shape: [150, 3])).floats
    let shift = try #require(model.parameters["norm.bias"]).floats
    #expect(y == (0..<150).flatMap { _ in shift })
  }
}
