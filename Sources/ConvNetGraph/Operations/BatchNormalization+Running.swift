extension RunningStatistics {
  /// The values of a layer's state.
  package struct Values: Equatable, Sendable {
    /// float32 `[C]`.
    package var mean: Tensor
    /// float32 `[C]`, or a covariance `[C, g]`.
    package var variance: Tensor
    /// int64 `[]`.
    package var updateCount: Tensor

    package init(mean: Tensor, variance: Tensor, updateCount: Tensor) {
      self.mean = mean
      self.variance = variance
      self.updateCount = updateCount
    }
  }

  /// The values of the layer's state, by whoever holds it.
  package func values(_ state: (String) -> Tensor) -> Values {
    Values(mean: state(mean), variance: state(variance), updateCount: state(updateCount))
  }

  /// The variance of each channel: the numbers themselves, or the diagonal of covariances `[C, g]`.
  package static func variances(_ numbers: [Double], channels: Int) -> [Double] {
    let size = channels == 0 ? 0 : numbers.count / channels
    guard size > 1 else { return numbers }
    return (0..<channels).map { numbers[$0 * size + $0 % size] }
  }

  /// The layer's values with the names of its state.
  package func named(_ values: Values) -> [(name: String, value: Tensor)] {
    [(mean, values.mean), (variance, values.variance), (updateCount, values.updateCount)]
  }

  /// The running statistics after one update by a batch's moments; nil where they must stay as they are.
  ///
  /// μ̂ ← (1 − t)·μ̂ + t·μ and σ̂² ← (1 − t)·σ̂² + t·σ², with t from `decay` and σ² = M2/(m − 1)
  /// (`.unbiased`) or M2/m (`.population`), in Float64, rounded once; the counter grows by 1. There is no
  /// update where a result would not be finite, nor from a batch too small for the estimator (m = 0, and
  /// m = 1 for `.unbiased`): one bad batch must not spoil what inference uses from then on.
  package func updated(_ old: Values, with batch: Moments) -> Values? {
    let channels = old.mean.count
    guard old.variance.count == batch.m2.count, batch.mean.count == channels,
      old.updateCount.count == 1
    else {
      fatalError(
        """
        Running statistics \(old.mean.shape), \(old.variance.shape) and \(old.updateCount.shape) \
        cannot be updated with the moments of \(batch.mean.count) channels.
        """)
    }
    let (update, overflow) = old.updateCount.elements(of: Int64.self)[0]
      .addingReportingOverflow(1)
    guard let variance = batch.variance(estimator), !overflow, update > 0 else { return nil }
    let take = decay.weight(update: Int(update))
    func move(_ old: Tensor, towards new: [Double]) -> [Float] {
      zip(old.doubles, new).map { Float((1 - take) * $0 + take * $1) }
    }
    let newMean = move(old.mean, towards: batch.mean)
    let newVariance = move(old.variance, towards: variance)
    guard (newMean + newVariance).allSatisfy(\.isFinite) else { return nil }
    return Values(
      mean: Tensor(newMean, shape: old.mean.shape),
      variance: Tensor(newVariance, shape: old.variance.shape),
      updateCount: Tensor([update], shape: old.updateCount.shape))
  }
}
