extension Graph {
  /// What a training step runs forward: the graph for concrete shapes, with every layer's way of taking
  /// statistics decided.
  ///
  /// Ghost batches come first, so that a group of one sample meets the policy for it; renormalisation
  /// last, when it is known which layers use their batch.
  package func resolvedForTraining(inputShapes: [String: Shape]) throws -> Graph {
    try resolved(inputShapes: inputShapes).resolvedForTraining(keepsDropout: true)
  }

  /// What a training step runs forward, of a graph whose shapes are concrete.
  package func resolvedForTraining(keepsDropout: Bool) throws -> Graph {
    let passes: [any GraphPass] = [
      ExpandGhostBatches(), ResolveSingleSamples(),
      ResolveMode(.training, keepsDropout: keepsDropout), ExpandRenormalization(),
    ]
    return try passes.reduce(self) { try $1.apply(to: $0) }
  }

  /// What a training step runs: forward, backward from a loss to all trainable parameters, and every
  /// updating layer's statistics as outputs.
  ///
  /// - Parameters:
  ///   - inputShapes: the shape of each input; those of fixed shape may be left out.
  ///   - loss: the scalar output to differentiate.
  package func trainingStep(
    inputShapes: [String: Shape], loss: String
  ) throws -> (graph: Graph, layers: [StatisticsPorts]) {
    let forward = try MoveTransposes(foldsConstants: false).apply(
      to: resolvedForTraining(inputShapes: inputShapes))
    let gradient = try forward.gradient(of: loss)
    return try JoinSliceGradients().apply(to: gradient).exposingStatistics()
  }

  /// The forward pass in training mode that gives layers' statistics and nothing else.
  ///
  /// Dropout is left out: the statistics are wanted for inference, which has none, and a dropped
  /// activation has another variance (Li et al. 2019, "variance shift").
  ///
  /// - Parameter includesFrozen: whether the statistics of layers that do not update are wanted too.
  package func statisticsStep(
    inputShapes: [String: Shape], includesFrozen: Bool
  ) throws -> (graph: Graph, layers: [StatisticsPorts]) {
    var bare = try resolved(inputShapes: inputShapes)
    bare.outputs = []
    // Layers that normalise with running statistics lose sight of their batch's; these are asked for
    // before the mode is resolved, the others when it is clear what their batches are.
    let running = bare.exposingStatistics {
      $0.source == .running && (includesFrozen || $0.updates)
    }
    var graph = running.graph
    graph.outputs += outputs
    graph = try graph.resolvedForTraining(keepsDropout: false)
    graph.outputs.removeLast(outputs.count)
    let batch = graph.exposingStatistics {
      $0.source == .batch && (includesFrozen || $0.updates)
    }
    return (try RemoveUnused().apply(to: batch.graph), running.layers + batch.layers)
  }

  /// The graph with nodes replaced where `rewrite` gives results for them.
  ///
  /// `rewrite` gets each node with its operands as they are by then, and a builder that has everything
  /// before it.
  func rewritten(
    _ rewrite: (Node, GraphBuilder) throws -> [ValueID]?
  ) throws -> Graph {
    var bare = self
    bare.nodes = []
    bare.outputs = []
    let builder = GraphBuilder(bare, reserving: nodes.map(\.name))
    var replaced: [ValueID: ValueID] = [:]
    for node in nodes {
      var node = node
      node.inputs = node.inputs.map { replaced[$0] ?? $0 }
      let results =
        try rewrite(node, builder)
        ?? builder.add(node.operation, node.inputs, name: node.name)
      for (old, new) in zip(node.outputs, results) { replaced[old] = new }
    }
    for output in outputs {
      builder.addOutput(output.name, replaced[output.value] ?? output.value)
    }
    return try builder.finish()
  }
}
