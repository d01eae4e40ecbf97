/// The outputs that carry the batch statistics of one layer out of a training step.
package struct StatisticsPorts: Hashable, Sendable {
  package let running: RunningStatistics
  /// Output, Float64 `[]`: samples per channel.
  package let count: String
  /// Output, Float64 `[C]`.
  package let mean: String
  /// Output, Float64 `[C]`: the sum of squared deviations.
  package let m2: String
}

extension Graph {
  /// Adds the statistics of every layer that updates its running ones to the outputs.
  ///
  /// Running statistics are not changed by a run: the step hands out what it saw, and its owner commits
  /// it once, if all of it is finite.
  package func exposingStatistics() -> (graph: Graph, layers: [StatisticsPorts]) {
    var graph = self
    var layers: [StatisticsPorts] = []
    for node in nodes {
      guard case .batchMoments(let moments) = node.operation, let running = moments.running,
        running.updates
      else { continue }
      let prefix = "statistics/\(running.layer)"
      let ports = StatisticsPorts(
        running: running, count: "\(prefix)/count", mean: "\(prefix)/mean", m2: "\(prefix)/m2")
      for (name, value) in zip([ports.count, ports.mean, ports.m2], node.outputs) {
        graph.outputs.append(Port(name: name, value: value))
      }
      layers.append(ports)
    }
    return (graph, layers)
  }
}
