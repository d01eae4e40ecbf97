import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Whole networks: fusion, packed weights and the arena together.
@Suite struct NetworkTests {
  private func network() throws -> Graph {
    try Graph(inputs: [
      ("input", .image(height: 9, width: 8, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let logits = values[0].convolution(8, kernel: 3, bias: false).batchNormalization().relu()
        .residualBlock(8).residualBlock(12, stride: 2)
        .convolution(18, kernel: 1).relu6().globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
  }

  private func inputs(seed: UInt64) -> [String: Tensor] {
    [
      "input": TestData.uniform([3, 9, 8, 3], seed: seed),
      "labels": TestData.labels([3], in: 0...4, seed: seed + 1),
    ]
  }

  private func run(
    _ graph: Graph, _ model: Model, _ inputs: [String: Tensor], fuses: Bool, lanes: Lanes
  ) throws -> [String: Tensor] {
    let plan = try Plan(
      graph, inputShapes: inputs.mapValues(\.shape), lanes: lanes,
      options: PlanOptions(fusesEpilogues: fuses))
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    for (name, value) in inputs { try workspace.setInput(name, to: value) }
    plan.run(in: &workspace)
    return try graph.outputs.reduce(into: [:]) { $0[$1.name] = try workspace.output($1.name) }
  }

  /// The longest sums are those of filter gradients and of statistics, over 3·9·8 pixels.
  @Test(arguments: [ExecutionMode.inference, .training])
  func agreesWithTheReference(_ mode: ExecutionMode) throws {
    let graph = try network()
    let model = try randomModel(graph, seed: 31)
    var resolved = try ResolveMode(mode).apply(to: graph)
    if mode == .training { resolved = try resolved.gradient(of: "loss").exposingStatistics().graph }
    let inputs = inputs(seed: 32)
    let reference = try Reference(resolved, parameters: model.parameters, state: model.state)
    let stored = model.parameters.merging(model.state) { first, _ in first }
    let expected = try Tolerance.perturbing(
      reference, inputs.merging(stored) { first, _ in first }, terms: 216, seed: 33)
    for fuses in [false, true] {
      var first: [String: Tensor]?
      for lanes in TestLanes.all {
        let results = try run(resolved, model, inputs, fuses: fuses, lanes: lanes)
        for (name, value) in results {
          let (exact, tolerance) = try #require(expected[name])
          expectClose(value, exact, tolerance: tolerance, "\(name) \(mode) fuses \(fuses)")
          if let first { #expect(first[name] == value, "\(name): bits on \(lanes.count) lanes") }
        }
        first = first ?? results
      }
    }
  }

  /// Fusion computes the same operations in the same order, so forward results keep their bits.
  @Test func fusionChangesNoBits() throws {
    let graph = try ResolveMode(.inference).apply(to: network())
    let model = try randomModel(graph, seed: 41)
    let inputs = inputs(seed: 42)
    let plain = try run(graph, model, inputs, fuses: false, lanes: TestLanes.all[1])
    let fused = try run(graph, model, inputs, fuses: true, lanes: TestLanes.all[1])
    #expect(plain["output"] == fused["output"])
    let concrete = try graph.resolved(inputShapes: inputs.mapValues(\.shape))
    let nodes = try FuseEpilogues().apply(to: concrete).nodes
    // The first ReLU, both blocks' two, the ReLU6; the two residual additions.
    #expect(nodes.count { if case .fused = $0.operation { true } else { false } } == 6)
  }

  /// A second plan on the same store sees changed weights, packed once for both.
  @Test func packedWeightsFollowTheStore() throws {
    let graph = try Graph(input: .features(6)) { $0.dense(4) }
    let model = try randomModel(graph, seed: 51)
    let store = ParameterStore(model)
    let plans = try [1, 3].map {
      try Plan(graph, inputShapes: ["input": [$0, 6]], lanes: TestLanes.all[0])
    }
    var one = plans[0].makeWorkspace(for: store)
    var three = plans[1].makeWorkspace(for: store)
    let x = TestData.uniform([1, 6], seed: 52)
    try one.setInput("input", to: x)
    try three.setInput("input", to: Tensor(x.floats + x.floats + x.floats, shape: [3, 6]))
    plans[0].run(in: &one)
    let before = try one.output("output")
    for index in 0..<24 { store.pointer("dense1.weight")[index] *= -1 }
    for index in 0..<4 { store.pointer("dense1.bias")[index] *= -1 }
    store.markChanged()
    plans[0].run(in: &one)
    plans[1].run(in: &three)
    #expect(try one.output("output").floats == before.floats.map { -$0 })
    #expect(try three.output("output").floats.suffix(4) == before.floats.map { -$0 })
    let bias = store.snapshot().parameters["dense1.bias"]?.floats
    #expect(bias == model.parameters["dense1.bias"]?.floats.map { -$0 })
  }

  @Test func inputsAreChecked() throws {
    let graph = try Graph(input: .features(6)) { $0.dense(4) }
    let plan = try Plan(graph, inputShapes: ["input": [2, 6]], lanes: TestLanes.all[0])
    var workspace = plan.makeWorkspace(for: ParameterStore(try randomModel(graph, seed: 61)))
    #expect(throws: PlanError.self) { try workspace.setInput("input", to: Tensor(zeros: [2, 5])) }
    #expect(throws: PlanError.self) { try workspace.setInput("image", to: Tensor(zeros: [2, 6])) }
    #expect(throws: PlanError.self) {
      try workspace.setInput("input", to: Tensor(zeros: [2, 6], elementType: .float64))
    }
    #expect(throws: PlanError.self) { try workspace.output("logits") }
    #expect(throws: GraphError.self) { try Plan(graph, inputShapes: ["input": [2, 5]]) }
    #expect(throws: GraphError.self) { try Plan(graph, inputShapes: [:]) }
    // An empty batch is a batch.
    _ = try Plan(graph, inputShapes: ["input": [0, 6]], lanes: TestLanes.all[0])
  }

  /// An input handed out unchanged and a reshape of it.
  @Test func outputsMayBeInputsAndParameters() throws {
    let graph = try Graph(input: .features(6)) { $0.flatten() }
    let x = TestData.uniform([2, 6], seed: 71)
    let model = try Model(graph: graph, parameters: [:], state: [:])
    #expect(
      try run(graph, model, ["input": x], fuses: true, lanes: TestLanes.all[0])["output"] == x)
  }
}
