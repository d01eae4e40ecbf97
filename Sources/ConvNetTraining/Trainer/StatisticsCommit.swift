import ConvNetGraph

/// The running statistics of a step before they are written: all of them, or none where one is not
/// finite.
struct StatisticsCommit {
  private var moments: [[(ports: StatisticsPorts, moments: Moments)]] = []

  /// Takes the statistics of the last run of a part of the batch.
  mutating func add(_ execution: Execution) throws {
    moments.append(
      try execution.statistics.map { ($0, try $0.moments { try execution.tensor($0) }) })
  }

  /// The new state by name, or nil where an update would not be finite.
  ///
  /// - Parameters:
  ///   - statistics: how several parts move the running statistics.
  ///   - old: the state as it is.
  /// - Throws: `TrainingError` where a mask left a layer at most one sample and its policy is `.error`.
  func updates(
    _ statistics: Accumulation.Statistics, from old: (String) -> Tensor
  ) throws -> [String: Tensor]? {
    var state: [String: Tensor] = [:]
    for (ports, batch) in ordered(statistics) {
      let running = ports.running
      // What a mask left of a batch is known only now. One sample has no variance, whatever the
      // estimator: it never reaches the running statistics.
      if batch.count <= 1, batch.isFinite {
        guard ports.options.singleSample == .error else { continue }
        throw TrainingError(
          .invalidData,
          "the mask of \(running.layer) left \(Int(batch.count)) samples per channel, which have no "
            + "variance; use larger batches, or another policy for single samples")
      }
      guard let new = running.updated(running.values { state[$0] ?? old($0) }, with: batch) else {
        return nil
      }
      for (name, value) in running.named(new) { state[name] = value }
    }
    return state
  }

  private func ordered(
    _ statistics: Accumulation.Statistics
  ) -> [(ports: StatisticsPorts, moments: Moments)] {
    guard statistics == .pooled, moments.count > 1 else { return moments.flatMap { $0 } }
    var pooled: [(ports: StatisticsPorts, moments: Moments)] = []
    var places: [String: Int] = [:]
    for (ports, batch) in moments.joined() {
      if let place = places[ports.running.mean] {
        pooled[place].moments = pooled[place].moments.merged(with: batch)
      } else {
        places[ports.running.mean] = pooled.count
        pooled.append((ports, batch))
      }
    }
    return pooled
  }
}
