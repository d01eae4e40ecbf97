package import ConvNetGraph

extension Plan {
  /// How long one step of a run took.
  public struct StepTiming: Sendable {
    /// The layer, and which part of it where there are several.
    public let name: String
    /// The node of the graph that the step belongs to.
    public let layer: String
    /// The kind of step.
    public let kind: String
    /// The strategy of a convolution.
    public let strategy: String?
    /// The pieces that the lanes share.
    public let pieces: Int
    /// Seconds since the run began.
    public package(set) var start: Double
    /// Seconds from the step's beginning to its end on all lanes.
    public let seconds: Double
    /// Floating-point operations of the layer's definition, 2 for each multiply-add; 0 where it is no
    /// convolution or matrix product.
    public let operationCount: Int
    /// Bytes of the layer's operands and results, each counted once.
    public let byteCount: Int
    /// 10⁹ operations of the definition a second over all steps of the layer.
    public internal(set) var gigaflops = 0.0

    package init(
      name: String, layer: String, kind: String, strategy: String? = nil, pieces: Int,
      start: Double, seconds: Double, operationCount: Int = 0, byteCount: Int
    ) {
      self.name = name
      self.layer = layer
      self.kind = kind
      self.strategy = strategy
      self.pieces = pieces
      self.start = start
      self.seconds = seconds
      self.operationCount = operationCount
      self.byteCount = byteCount
    }
  }

  /// Runs the plan once and times every step.
  ///
  /// The clock is read between steps, some 50 ns each. A workspace of another plan stops the program.
  package func profile(in workspace: inout Workspace) -> [StepTiming] {
    guard workspace.plan === self else {
      fatalError("A workspace runs with the plan that made it.")
    }
    packWeights(in: workspace)
    let context = workspace.context
    let clock = ContinuousClock()
    var times = [ContinuousClock.Instant](repeating: clock.now, count: steps.count + 1)
    Lanes.withFlushedDenormals {
      times[0] = clock.now
      for index in steps.indices {
        lanes.run(steps[index], in: context)
        times[index + 1] = clock.now
      }
    }
    return timings(times)
  }

  private func timings(_ times: [ContinuousClock.Instant]) -> [StepTiming] {
    let nodes = Dictionary(graph.nodes.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    let strategies = Dictionary(
      convolutionChoices.map { ($0.layer, $0.chosen) }, uniquingKeysWith: { $1 })
    var timings: [StepTiming] = []
    var layerSeconds: [String: Double] = [:]
    for (index, name) in stepNames.enumerated() {
      let node = Self.node(of: name, in: nodes)
      let layer = node?.name ?? name
      let members = bands[layer] ?? [node].compactMap { $0 }
      let seconds = (times[index + 1] - times[index]) / .seconds(1)
      layerSeconds[layer, default: 0] += seconds
      timings.append(
        StepTiming(
          name: name, layer: layer, kind: "\(type(of: steps[index]))",
          strategy: strategies[layer], pieces: steps[index].pieces,
          start: (times[index] - times[0]) / .seconds(1), seconds: seconds,
          operationCount: 2 * members.reduce(0) { $0 + graph.multiplyAddCount(of: $1) },
          byteCount: byteCount(members)))
    }
    for index in timings.indices {
      let seconds = layerSeconds[timings[index].layer] ?? 0
      if seconds > 0 {
        timings[index].gigaflops = Double(timings[index].operationCount) / seconds / 1e9
      }
    }
    return timings
  }

  /// The node whose name is the step's, or its beginning up to a dot.
  private static func node(of step: String, in nodes: [String: Graph.Node]) -> Graph.Node? {
    var name = Substring(step)
    while true {
      if let node = nodes[String(name)] { return node }
      guard let dot = name.lastIndex(of: ".") else { return nil }
      name = name[..<dot]
    }
  }

  /// Bytes of what some nodes read and write, without the results that one hands to the next.
  private func byteCount(_ nodes: [Graph.Node]) -> Int {
    let between = Set(nodes.dropLast().flatMap(\.outputs))
    let values = Set(nodes.flatMap { $0.inputs + $0.outputs })
    return values.subtracting(between).reduce(0) { sum, value in
      let type = graph.type(of: value)
      return sum + (type.shape?.count ?? 0) * type.elementType.byteCount
    }
  }
}

extension Predictor {
  /// Predicts once on the calling thread, whoever else does, and times every step.
  ///
  /// - Throws: as `predict(_:outputs:)`.
  package func profile(_ inputs: [String: Tensor]) throws -> [Plan.StepTiming] {
    try core.profile(interface.request(inputs, outputs: nil))
  }
}
