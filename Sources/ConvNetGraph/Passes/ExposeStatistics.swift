/// The outputs that carry the batch statistics of one layer out of a training step.
package struct StatisticsPorts: Hashable, Sendable {
  /// The outputs of one mini-batch or ghost batch.
  package struct Triple: Hashable, Sendable {
    /// Output, Float64 `[]`: samples per channel.
    package let count: String
    /// Output, Float64 `[C]`.
    package let mean: String
    /// Output, Float64 `[C]`: the sum of squared deviations.
    package let m2: String
  }

  package let running: RunningStatistics
  package let options: BatchStatistics
  /// One triple, or one for each ghost batch.
  package fileprivate(set) var triples: [Triple] = []

  /// The pooled moments of the layer's whole batch.
  package func moments(_ output: (String) throws -> Tensor) rethrows -> Moments {
    let parts = try triples.map { triple in
      Moments(
        count: try output(triple.count).doubles[0], mean: try output(triple.mean).doubles,
        m2: try output(triple.m2).doubles)
    }
    guard let pooled = Moments.pooled(parts) else {
      fatalError("The layer \(running.layer) hands out no statistics.")
    }
    return pooled
  }
}

extension Graph {
  /// Adds the statistics of every layer that updates its running ones to the outputs.
  ///
  /// Running statistics are not changed by a run: the step hands out what it saw, and its owner commits
  /// it once, if all of it is finite. The triples of a layer's ghost batches stand under one layer.
  ///
  /// - Parameter isWanted: which layers; by default those that update.
  package func exposingStatistics(
    where isWanted: (RunningStatistics) -> Bool = \.updates
  ) -> (graph: Graph, layers: [StatisticsPorts]) {
    var graph = self
    var layers: [StatisticsPorts] = []
    var places: [String: Int] = [:]
    for node in nodes {
      guard let running = node.operation.running, isWanted(running) else { continue }
      let place = places[running.mean] ?? layers.count
      if place == layers.count {
        places[running.mean] = place
        layers.append(StatisticsPorts(running: running, options: node.operation.batchStatistics))
      }
      let number = layers[place].triples.count
      let prefix = "statistics/\(running.layer)" + (number == 0 ? "" : "/\(number)")
      let triple = StatisticsPorts.Triple(
        count: "\(prefix)/count", mean: "\(prefix)/mean", m2: "\(prefix)/m2")
      for (name, value) in zip([triple.count, triple.mean, triple.m2], node.outputs) {
        graph.outputs.append(Port(name: name, value: value))
      }
      layers[place].triples.append(triple)
    }
    return (graph, layers)
  }
}
