extension Model {
  /// The model with the switches of batch-normalisation layers set, as `Graph` does it.
  ///
  /// - Throws: as `Graph.settingBatchNormalization(_:source:updates:trainsAffine:)`.
  public func settingBatchNormalization(
    _ layers: [String]? = nil, source: StatisticsSource? = nil, updates: Bool? = nil,
    trainsAffine: Bool? = nil
  ) throws -> Model {
    try replacingGraph(
      graph.settingBatchNormalization(
        layers, source: source, updates: updates, trainsAffine: trainsAffine))
  }

  /// The model with batch-normalisation layers frozen: they normalise with their running statistics
  /// in training, too, and neither these nor γ and β change.
  ///
  /// The switches are part of the model: it stays frozen in every `Trainer`, and through saving and
  /// loading, until `settingBatchNormalization` sets them back. Layers without running statistics
  /// cannot be frozen; where no layers are named, only their γ and β are.
  ///
  /// - Parameter layers: the layers by name; nil for all.
  /// - Throws: `GraphError` naming a layer that there is not or that keeps no running statistics.
  public func freezingBatchNormalization(_ layers: [String]? = nil) throws -> Model {
    try settingBatchNormalization(layers, source: .running, updates: false, trainsAffine: false)
  }

  /// The model with everything below a prefix frozen, for fine-tuning what lies above it:
  /// batch-normalisation layers with their statistics, and all parameters.
  ///
  /// - Parameter prefix: names begin with it, as `layer1.` or `conv`.
  /// - Throws: `GraphError` where nothing has such a name, or a layer keeps no running statistics.
  public func freezing(prefix: String) throws -> Model {
    let layers = graph.switchedLayerNames.filter { $0.hasPrefix(prefix) }
    var graph = try freezingBatchNormalization(layers).graph
    let indices = graph.parameters.indices.filter { graph.parameters[$0].name.hasPrefix(prefix) }
    guard !indices.isEmpty || !layers.isEmpty else {
      throw GraphError(
        .malformedGraph, "no parameter or layer has a name of this prefix", at: prefix)
    }
    for index in indices { graph.parameters[index].isTrainable = false }
    return try replacingGraph(graph)
  }

  /// The same numbers under another graph of the same parameters and state.
  package func replacingGraph(_ graph: Graph) throws -> Model {
    try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
  }
}
