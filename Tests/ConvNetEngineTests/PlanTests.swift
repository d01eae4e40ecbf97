import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What a plan must not get wrong about values that are shared, handed out or broadcast.
@Suite struct PlanTests {
  private func input(_ shape: Shape, seed: UInt64 = 3) -> [String: Tensor] {
    ["input": TestData.integers(shape, in: -3...3, seed: seed)]
  }

  /// Whole-number parameters, so that both executors agree to the bit.
  private func model(_ graph: Graph, seed: UInt64 = 5) throws -> Model {
    var parameters: [String: Tensor] = [:]
    for (index, parameter) in graph.parameters.enumerated() {
      let shape = graph.type(of: parameter.value).shape ?? []
      parameters[parameter.name] = TestData.integers(shape, in: -2...2, seed: seed + UInt64(index))
    }
    return try Model(graph: graph, parameters: parameters, state: Model.initialState(of: graph))
  }

  private func expectSame(_ graph: Graph, _ inputs: [String: Tensor]) throws {
    let model = try model(graph)
    let expected = try Reference(graph, parameters: model.parameters, state: [:]).run(
      inputs: inputs)
    let plan = try Plan(graph, inputShapes: inputs.mapValues(\.shape), lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    for (name, value) in inputs { try workspace.setInput(name, to: value) }
    plan.run(in: &workspace)
    for output in graph.outputs {
      #expect(try workspace.output(output.name) == expected[output.name], "\(output.name)")
    }
  }

  /// Both layers could take the addition into their epilogue; one may.
  @Test func twoLayersMeetInOneAddition() throws {
    try expectSame(
      Graph(input: .features(6)) { $0.dense(4) + $0.dense(4) }, input([3, 6]))
    let shared = try Graph(input: .features(6)) { x in
      let h = x.dense(8).relu()
      return (h.dense(4) + h.dense(4).relu()).reduced(.sum, axes: [0, 1])
    }
    try expectSame(shared.gradient(of: "output"), input([3, 6]))
  }

  /// A row that is added to every row of a result is not a residual of the result's shape.
  @Test func fusedRowsAreBroadcast() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("input", TensorType([4, 6]))
    let w = builder.addParameter("w", [6, 5], role: .denseWeight)
    let r = builder.addParameter("r", [5], role: .bias)
    let fused = Fused(
      anchor: .matrixMultiply(MatrixMultiply()), anchorInputCount: 2,
      epilogue: [.combine(.add), .map(.relu)])
    builder.addOutput("output", builder.add(.fused(fused), x, w, r))
    try expectSame(builder.finish(), input([4, 6]))
  }

  /// One filter with stride 2 on an image that leaves phases empty, then on one that does not.
  @Test func packedAdjointsServeEverySize() throws {
    func gradient(_ size: Int) throws -> Graph {
      try Graph(input: .image(height: size, width: size, channels: 2)) {
        $0.convolution(3, kernel: 2, stride: 2, bias: false)
      }.gradient(of: "output", withRespectTo: ["input"])
    }
    let store = ParameterStore(try model(gradient(4)))
    var results: [Tensor] = []
    for size in [1, 4] {
      let plan = try Plan(
        gradient(size), inputShapes: ["input": [1, size, size, 2]], lanes: TestLanes.all[0])
      var workspace = plan.makeWorkspace(for: store)
      try workspace.setInput("input", to: Tensor(zeros: [1, size, size, 2]))
      plan.run(in: &workspace)
      results.append(try workspace.output("gradient/input"))
    }
    let expected = try Reference(
      gradient(4), parameters: store.snapshot().parameters, state: [:]
    ).run(inputs: ["input": Tensor(zeros: [1, 4, 4, 2])])
    #expect(results[1] == expected["gradient/input"])
  }

  @Test func outputsStayWhenInputsChange() throws {
    let graph = try Graph(input: .features(2)) { $0.flatten() }
    let plan = try Plan(graph, inputShapes: ["input": [1, 2]], lanes: TestLanes.all[0])
    var workspace = plan.makeWorkspace(
      for: ParameterStore(try Model(graph: graph, parameters: [:], state: [:])))
    try workspace.setInput("input", to: Tensor([1, 2] as [Float], shape: [1, 2]))
    plan.run(in: &workspace)
    try workspace.setInput("input", to: Tensor([3, 4] as [Float], shape: [1, 2]))
    #expect(try workspace.output("output").floats == [1, 2])
  }

  @Test func countersAreNotComputedWith() throws {
    var graph = try Graph(input: .features(2)) { $0.batchNormalization(name: "n") }
    let counter = try #require(graph.value(named: "n.num_batches_tracked"))
    graph.outputs.append(Graph.Port(name: "count", value: counter))
    let error = #expect(throws: PlanError.self) {
      try Plan(graph, inputShapes: ["input": [3, 2]])
    }
    #expect(error?.place == "n.num_batches_tracked")
  }

  /// An empty batch runs, and parameters get gradients of zero.
  @Test func trap12AnEmptyBatchRuns() throws {
    let graph = try Graph(input: .image(height: 5, width: 5, channels: 3)) {
      $0.convolution(4, kernel: 3).relu().maxPooling(kernel: 2).flatten().dense(2)
        .reduced(.sum, axes: [0, 1])
    }
    try expectSame(graph.gradient(of: "output"), input([0, 5, 5, 3]))
  }

  /// What is done for every output takes no time where there is none.
  @Test(arguments: [[0, 1, 1 << 40, 8], [0, 1 << 20, 1 << 20, 8]] as [Shape])
  func emptyBatchesOfAnyExtentArePlanned(_ shape: Shape) throws {
    let graph = try Graph(input: TensorType(.float32, shape)) {
      $0.convolution(16, window: Window(kernel: [1, 5], stride: [1, 2], padding: .same))
        .batchNormalization(tracksRunningStatistics: false)
    }
    let plan = try Plan(
      graph, inputShapes: ["input": shape], lanes: TestLanes.all[0])
    #expect(plan.convolutionChoices.map(\.chosen) == ["direct"])
  }

  /// A strategy that is forced is the one that runs, or it declined with a reason.
  @Test func forcedStrategiesRun() throws {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 4)) {
      $0.convolution(8, kernel: 1)
    }
    for (name, step) in [
      ("pointwise", "Pointwise"), ("thin", "Thin"), ("direct", "Direct"), ("im2col", "Im2col"),
    ] {
      let plan = try Plan(
        graph, inputShapes: ["input": [1, 6, 6, 4]], lanes: TestLanes.all[0],
        options: PlanOptions(convolution: name))
      #expect(plan.convolutionChoices.map(\.chosen) == [name])
      #expect(plan.convolutionChoices[0].declined.map(\.strategy) == ["depthwise", "winograd"])
      #expect(plan.stepDescriptions.contains { $0.contains("\(step)Convolution") }, "\(name)")
    }
    // The table passes over Winograd for few channels, unless it is told otherwise.
    let small = try Graph(input: .image(height: 6, width: 6, channels: 5)) {
      $0.convolution(8, kernel: 3)
    }
    for name in ["winograd", "im2col"] {
      let plan = try Plan(
        small, inputShapes: ["input": [1, 6, 6, 5]], lanes: TestLanes.all[0],
        options: PlanOptions(convolution: name))
      #expect(plan.convolutionChoices[0].chosen == name)
      #expect(
        plan.convolutionChoices[0].declined.map(\.strategy)
          == ["pointwise", "depthwise", "thin", "winograd", "direct"].filter { $0 != name })
    }
  }

  /// A file may ask for more than there is, in one layer or in many.
  @Test(arguments: [1, 40]) func refusesWhatMemoryCannotHold(_ count: Int) throws {
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) { x in
      (0..<count).map { _ in x.convolution(32, kernel: 3, padding: .explicit(1 << 24)) }
        .reduce(x.convolution(32, kernel: 3, padding: .explicit(1 << 24))) { $0 + $1 }
        .globalAveragePooling()
    }
    let error = #expect(throws: PlanError.self) {
      try Plan(graph, inputShapes: ["input": [1, 8, 8, 1]], lanes: TestLanes.all[0])
    }
    #expect(error?.description.contains("the machine has") == true)
    #expect(throws: PlanError.self) {
      try Plan(
        Graph(input: .features(1 << 20)) { $0.relu() }, inputShapes: ["input": [1 << 36, 1 << 20]],
        lanes: TestLanes.all[0])
    }
  }

  /// A parameter that is read under two shapes is packed for each.
  @Test func parametersArePackedForEveryShape() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("input", .features(4))
    let weight = builder.addParameter("w", [4, 6], role: .denseWeight)
    let turned = builder.add(.reshape(Reshape([.fixed(6), .fixed(4)])), weight)
    let y = builder.add(.matrixMultiply(MatrixMultiply()), x, weight, name: "a")
    builder.addOutput(
      "output", builder.add(.matrixMultiply(MatrixMultiply()), y, turned, name: "b"))
    try expectSame(builder.finish(), input([3, 4]))
  }
}
