extension RunningStatistics {
  /// The running statistics after one update by a batch's moments; nil where they must stay as they are.
  ///
  /// μ̂ ← (1 − t)·μ̂ + t·μ and σ̂² ← (1 − t)·σ̂² + t·σ², with t from `decay` and σ² = M2/(m − 1)
  /// (`.unbiased`) or M2/m (`.population`), in Float64, rounded once; the counter grows by 1. There is no
  /// update where a result would not be finite, nor from a batch too small for the estimator (m = 0, and
  /// m = 1 for `.unbiased`): one bad batch must not spoil what inference uses from then on.
  ///
  /// - Parameters:
  ///   - mean: the running mean, float32 `[C]`.
  ///   - variance: the running variance, float32 `[C]`.
  ///   - updateCount: the updates so far, int64 `[]`.
  ///   - count: m, the samples of a channel, float64 `[]`.
  ///   - batchMean: μ, float64 `[C]`.
  ///   - m2: M2 = Σ(x − μ)², float64 `[C]`.
  package func updated(
    mean: Tensor, variance: Tensor, updateCount: Tensor,
    with count: Tensor, batchMean: Tensor, m2: Tensor
  ) -> (mean: Tensor, variance: Tensor, updateCount: Tensor)? {
    let channels = mean.count
    guard variance.count == channels, batchMean.count == channels, m2.count == channels,
      count.count == 1, updateCount.count == 1
    else {
      fatalError(
        """
        Running statistics \(mean.shape), \(variance.shape) and \(updateCount.shape) cannot be updated \
        with moments \(count.shape), \(batchMean.shape) and \(m2.shape).
        """)
    }
    let m = count.doubles[0]
    let divisor = estimator == .unbiased ? m - 1 : m
    let (update, overflow) = updateCount.elements(of: Int64.self)[0].addingReportingOverflow(1)
    guard divisor > 0, !overflow, update > 0 else { return nil }
    let take = decay.weight(update: Int(update))
    func move(_ old: Tensor, towards new: [Double]) -> [Float] {
      zip(old.doubles, new).map { Float((1 - take) * $0 + take * $1) }
    }
    let newMean = move(mean, towards: batchMean.doubles)
    let newVariance = move(variance, towards: m2.doubles.map { $0 / divisor })
    guard (newMean + newVariance).allSatisfy(\.isFinite) else { return nil }
    return (
      Tensor(newMean, shape: mean.shape), Tensor(newVariance, shape: variance.shape),
      Tensor([update], shape: updateCount.shape)
    )
  }
}
