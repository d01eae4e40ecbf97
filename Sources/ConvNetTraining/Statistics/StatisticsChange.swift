public import ConvNetGraph

/// How far the running statistics of one batch-normalisation layer moved between two states of a model.
///
/// The measures are those of `LayerDiagnosis`, with the later state in the place of the batch.
public struct StatisticsChange: Hashable, Sendable {
  /// The layer's name.
  public let layer: String
  /// Whether training and recalibration leave the running statistics as they are.
  public let isFrozen: Bool
  /// The largest |earlier mean − later mean|/√(later variance + ε) of a channel.
  public let meanChange: Double
  /// The smallest and the largest (earlier variance + ε)/(later variance + ε) of a channel.
  public let varianceRatio: ClosedRange<Double>
  /// The channels of which at least one number is not finite, before or after; they are left out above.
  public let invalidCount: Int
  /// The updates of the later state.
  public let updateCount: Int
}

extension Model {
  /// How far the running statistics moved since another state of the same network, in the order of its
  /// layers; layers without running statistics are left out.
  ///
  /// - Throws: `GraphError` where the other model has other layers.
  public func statisticsChanges(since earlier: Model) throws -> [StatisticsChange] {
    try graph.batchNormalizationViews.compactMap { view in
      guard let running = view.running else { return nil }
      func numbers(_ model: Model, _ name: String) throws -> [Double] {
        let values = RunningStatistics.variances(
          model.state[name]?.doubles ?? [], channels: view.channels)
        guard values.count == view.channels else {
          throw GraphError(
            .mismatchedParameters, "has \(values.count) numbers, not \(view.channels)", at: name)
        }
        return values
      }
      let means = try (numbers(earlier, running.mean), numbers(self, running.mean))
      let variances = try (numbers(earlier, running.variance), numbers(self, running.variance))
      // ε, or where there is none the least that keeps quotients finite.
      let floor = max(view.options.epsilon, 1e-12)
      var (distance, low, high, invalid) = (0.0, Double.infinity, 0.0, 0)
      for c in 0..<view.channels {
        let later = max(variances.1[c], 0) + floor
        let change = abs(means.0[c] - means.1[c]) / later.squareRoot()
        let ratio = (max(variances.0[c], 0) + floor) / later
        guard change.isFinite, ratio.isFinite, !variances.0[c].isNaN else {
          invalid += 1
          continue
        }
        (distance, low, high) = (max(distance, change), min(low, ratio), max(high, ratio))
      }
      return StatisticsChange(
        layer: view.layer, isFrozen: !view.updates, meanChange: distance,
        varianceRatio: low <= high ? low...high : 1...1, invalidCount: invalid,
        updateCount: state[running.updateCount]?.elements(of: Int64.self).first.map { Int($0) } ?? 0
      )
    }
  }
}
