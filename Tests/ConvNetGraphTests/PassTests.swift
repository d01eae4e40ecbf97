import ConvNetGraph
import Testing

@Suite struct PassTests {
  private func graph() throws -> Graph {
    try Graph(input: .features(4)) { x in
      x.dense(3).batchNormalization(name: "n").dropout(0.5).dense(2)
    }
  }

  private func names(_ graph: Graph) -> [String] { graph.nodes.map(\.operation.name) }

  @Test func resolvesTraining() throws {
    let graph = try ResolveMode(.training).apply(to: graph())
    #expect(
      names(graph) == ["matrixMultiply", "batchMoments", "normalize", "dropout", "matrixMultiply"])
    try graph.verify()
  }

  @Test func resolvesInference() throws {
    let graph = try ResolveMode(.inference).apply(to: graph())
    #expect(names(graph) == ["matrixMultiply", "normalize", "matrixMultiply"])
    #expect(graph.inputs.map(\.name) == ["input"])
    #expect(graph.states.count == 3)
    guard case .normalize(let normalize) = graph.nodes[1].operation else {
      Issue.record("the second node should normalise")
      return
    }
    #expect(normalize.source == .running)
    #expect(graph.nodes[1].inputs[1...2].map(\.self) == graph.states[0...1].map(\.value))
    try graph.verify()
  }

  @Test func keepsAFrozenLayerFrozenInTraining() throws {
    let frozen = try graph().settingBatchNormalization(source: .running, updates: false)
    let graph = try ResolveMode(.training).apply(to: frozen)
    #expect(names(graph) == ["matrixMultiply", "normalize", "dropout", "matrixMultiply"])
  }

  @Test func redirectsOutputsPastDropout() throws {
    let graph = try ResolveMode(.inference).apply(
      to: Graph(input: .features(2)) { $0.dropout(0.5).dropout(0.5) })
    #expect(graph.nodes.isEmpty)
    #expect(graph.outputs[0].value == graph.inputs[0].value)
    try graph.verify()
  }

  @Test func removesWhatNobodyReads() throws {
    var graph = try Graph(inputs: [("x", .features(2)), ("unused", .features(2))]) { values in
      let dropped = values[0].dropout(0.5).map(.exp)
      return ["a": values[0].map(.square), "b": dropped]
    }
    graph.outputs.removeLast()
    let small = try RemoveUnused().apply(to: graph)
    #expect(names(small) == ["square"])
    #expect(small.inputs.map(\.name) == ["x", "unused"])
  }

  @Test func resolvesSymbols() throws {
    let graph = try Graph(inputs: [("a", TensorType(["N", "K"])), ("b", TensorType(["N", 3]))]) {
      ["y": $0[0].concatenated(with: $0[1])]
    }
    #expect(graph.outputViews[0].type == TensorType(["N", "K+3"]))
    let resolved = try graph.resolved(inputShapes: ["a": [2, 5], "b": [2, 3]])
    #expect(resolved.outputViews[0].type == TensorType([2, 8]))
    for shapes in [
      ["a": [2, 5], "b": [3, 3]], ["a": [2, 5], "b": [2, 4]], ["a": [2, 5]],
      ["a": [2], "b": [2, 3]],
      ["a": [2, 5], "b": [2, 3], "c": [1]],
    ] as [[String: Shape]] {
      #expect(throws: GraphError.self) { try graph.resolved(inputShapes: shapes) }
    }
  }

  @Test func resolvesABatchOfNothing() throws {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 1)) {
      $0.convolution(2, kernel: 3).flatten().dense(3)
    }
    let resolved = try graph.resolved(inputShapes: ["input": [0, 4, 4, 1]])
    #expect(resolved.outputViews[0].type == TensorType([0, 3]))
  }

  /// Slices side by side leave a concatenation, those by steps of 2 the sum of their gradients.
  @Test(arguments: [1, 2]) func joinsGradientsOfNeighbours(step: Int) throws {
    let graph = try Graph(inputs: [("x", TensorType([4]))]) { values in
      let parts = [0, 2].map {
        values[0].apply(.slice(Slice(axis: 0, start: $0, end: $0 + 2, step: step))).map(.square)
      }
      return ["loss": (parts[0] + parts[1]).reduced(.sum, axes: [0])]
    }
    let gradient = try graph.gradient(of: "loss", withRespectTo: ["x"])
    let joined = try JoinSliceGradients().apply(to: gradient).nodes.map(\.operation.name)
    #expect(joined.contains("concatenate") == (step == 1))
    #expect(joined.contains("sliceGradient") == (step == 2))
  }
}
