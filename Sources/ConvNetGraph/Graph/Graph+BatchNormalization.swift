extension Graph {
  /// A batch-normalisation layer, its conventions and its three switches.
  public struct BatchNormalizationView: Sendable, Hashable {
    /// The layer's name.
    public let layer: String
    /// The channel axis; −1 is the last.
    public let axis: Int
    /// The number of channels.
    public let channels: Int
    /// The channels that a decorrelated layer whitens together; nil for batch norm proper.
    public let groupSize: Int?
    /// The conventions; decay and variance say nothing where there are no running statistics.
    public let options: BatchNormalizationOptions
    /// Where training takes statistics from.
    public let source: StatisticsSource
    /// Whether a training step updates the running statistics.
    public let updates: Bool
    /// Whether γ or β are learned.
    public let trainsAffine: Bool
    /// The names of the running statistics, where the layer has them.
    package let running: RunningStatistics?
    /// The parameter γ by name, where the layer has one.
    package let scale: String?
    /// The parameter β by name, where the layer has one.
    package let shift: String?

    /// Whether training leaves everything about the layer as it is.
    public var isFrozen: Bool { source == .running && !updates && !trainsAffine }
  }

  /// The batch-normalisation layers, decorrelated ones among them, in the order of the graph.
  public var batchNormalizationViews: [BatchNormalizationView] {
    let proper = batchNormalizations.map { layer in
      let (normalize, running) = (layer.normalize, layer.moments.running)
      let view = BatchNormalizationView(
        layer: layer.name, axis: normalize.axis,
        channels: type(of: nodes[layer.momentsIndex].outputs[1]).shape?.count ?? 0, groupSize: nil,
        options: BatchNormalizationOptions(
          epsilon: normalize.epsilon, decay: running?.decay ?? .cumulative,
          runningVariance: running?.estimator ?? .population, scale: normalize.hasScale,
          shift: normalize.hasShift, tracksRunningStatistics: running != nil),
        source: running?.source ?? .batch, updates: running?.updates ?? false,
        trainsAffine: affineParameters(of: layer).contains { parameters[$0].isTrainable },
        running: running, scale: affineParameter(layer.normalize.scaleIndex, of: layer),
        shift: affineParameter(layer.normalize.shiftIndex, of: layer))
      return (place: layer.momentsIndex, view: view)
    }
    return (proper + decorrelations).sorted { $0.place < $1.place }.map(\.view)
  }

  /// Decorrelated layers that keep running statistics, each with the index of their node.
  private var decorrelations: [(place: Int, view: BatchNormalizationView)] {
    let producers = producers
    return nodes.compactMap { node in
      guard case .decorrelate(let attributes) = node.operation, attributes.source == .batch,
        let place = producers[node.inputs[1].index],
        case .covariance(let covariance) = nodes[place].operation, let running = covariance.running
      else { return nil }
      let affine = decorrelatedAffine(running.layer).map { parameters[$0] }
      let scale = affine.first { $0.role == .normalizationScale }?.name
      let shift = affine.first { $0.role == .normalizationShift }?.name
      let view = BatchNormalizationView(
        layer: running.layer, axis: -1,
        channels: type(of: nodes[place].outputs[1]).shape?.count ?? 0,
        groupSize: attributes.groupSize,
        options: BatchNormalizationOptions(
          epsilon: attributes.epsilon, decay: running.decay, runningVariance: running.estimator,
          scale: scale != nil, shift: shift != nil, tracksRunningStatistics: true),
        source: running.source, updates: running.updates,
        trainsAffine: affine.contains(where: \.isTrainable), running: running, scale: scale,
        shift: shift)
      return (place, view)
    }
  }

  /// The indices of a decorrelated layer's γ and β among the parameters.
  private func decorrelatedAffine(_ layer: String) -> [Int] {
    let names = ["\(layer).weight", "\(layer).bias"]
    return parameters.indices.filter { names.contains(parameters[$0].name) }
  }

  /// The graph with the switches of batch-normalisation layers set; a switch not given stays.
  ///
  /// Decorrelated ones have the same switches where they keep running statistics.
  ///
  /// The three are independent: where statistics come from, whether the running ones move, and whether
  /// γ and β are learned. They are part of the graph, so they survive training, saving and loading.
  ///
  /// - Parameters:
  ///   - layers: the layers by name; nil for all that can be switched.
  ///   - source: where training takes statistics from.
  ///   - updates: whether a training step updates the running statistics.
  ///   - trainsAffine: whether γ and β are learned.
  /// - Throws: `GraphError` naming a layer that there is not, or one without running statistics that
  ///   was asked to use or update them.
  public func settingBatchNormalization(
    _ layers: [String]? = nil, source: StatisticsSource? = nil, updates: Bool? = nil,
    trainsAffine: Bool? = nil
  ) throws -> Graph {
    let known = switchedLayers
    if let missing = layers?.first(where: { name in !known.contains { $0.name == name } }) {
      throw GraphError(
        .malformedGraph,
        "there is no batch-normalisation layer of this name; there are: "
          + known.map(\.name).joined(separator: ", "), at: missing)
    }
    var graph = self
    for layer in known where layers?.contains(layer.name) ?? true {
      var running = nodes[layer.statistics].operation.running
      if running == nil, layers != nil, source == .running || updates == true {
        throw GraphError(.invalidAttribute, "keeps no running statistics", at: layer.name)
      }
      if let source { running?.source = source }
      if let updates { running?.updates = updates }
      graph.nodes[layer.statistics].operation.running = running
      guard let trainsAffine else { continue }
      for index in layer.affine { graph.parameters[index].isTrainable = trainsAffine }
    }
    return graph
  }

  /// A layer with switches: the node of its statistics, and the indices of γ and β.
  private struct SwitchedLayer {
    let name: String
    let statistics: Int
    let affine: [Int]
  }

  /// The names of all layers that have switches.
  package var switchedLayerNames: [String] { switchedLayers.map(\.name) }

  private var switchedLayers: [SwitchedLayer] {
    let decorrelations = nodes.indices.compactMap { index -> SwitchedLayer? in
      guard case .covariance(let covariance) = nodes[index].operation,
        let layer = covariance.running?.layer
      else { return nil }
      return SwitchedLayer(
        name: layer, statistics: index, affine: decorrelatedAffine(layer))
    }
    return batchNormalizations.map {
      SwitchedLayer(
        name: $0.name, statistics: $0.momentsIndex, affine: affineParameters(of: $0))
    } + decorrelations
  }

  private struct BatchNormalizationNodes {
    let name: String
    let node: Node
    let normalize: Normalize
    let momentsIndex: Int
    let moments: BatchMoments
  }

  /// Normalisations by moments, each with the node that makes these.
  private var batchNormalizations: [BatchNormalizationNodes] {
    let producers = producers
    return nodes.compactMap { node in
      guard case .normalize(let normalize) = node.operation, normalize.source == .batch,
        let index = producers[node.inputs[1].index],
        case .batchMoments(let moments) = nodes[index].operation
      else { return nil }
      return BatchNormalizationNodes(
        name: moments.running?.layer ?? node.name, node: node, normalize: normalize,
        momentsIndex: index, moments: moments)
    }
  }

  /// The name of an operand of the normalisation that is a parameter.
  private func affineParameter(_ index: Int?, of layer: BatchNormalizationNodes) -> String? {
    guard let value = index.map({ layer.node.inputs[$0] }) else { return nil }
    return parameters.first { $0.value == value }?.name
  }

  /// The indices of γ and β among the parameters.
  private func affineParameters(of layer: BatchNormalizationNodes) -> [Int] {
    let values = [layer.normalize.scaleIndex, layer.normalize.shiftIndex].compactMap {
      $0.map { layer.node.inputs[$0] }
    }
    return parameters.indices.filter { values.contains(parameters[$0].value) }
  }
}
