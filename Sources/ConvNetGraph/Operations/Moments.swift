/// Count, mean and M2 = Σ(x − mean)² of every channel, in Double: what statistics are merged as.
///
/// Of channels in groups of g, M2 has g numbers a channel: the co-moments with the channels of its group.
package struct Moments: Hashable, Sendable {
  /// Samples of a channel.
  package var count: Double
  package var mean: [Double]
  package var m2: [Double]

  package init(count: Double, mean: [Double], m2: [Double]) {
    guard m2.count == mean.count || (!mean.isEmpty && m2.count % mean.count == 0) else {
      fatalError("Moments of \(mean.count) means cannot have \(m2.count) sums of squares.")
    }
    self.count = count
    self.mean = mean
    self.m2 = m2
  }

  /// g; 1 where M2 is a number a channel.
  private var groupSize: Int { max(m2.count / max(mean.count, 1), 1) }

  /// Whether every number is finite and no M2 negative.
  package var isFinite: Bool {
    count.isFinite && mean.allSatisfy(\.isFinite) && m2.allSatisfy(\.isFinite)
      && mean.indices.allSatisfy { m2[$0 * groupSize + $0 % groupSize] >= 0 }
  }

  /// The moments of both sets of samples together (Chan, Golub & LeVeque 1979): with δ = mean_b − mean_a,
  /// mean = mean_a + δ·n_b/n and M2 = M2_a + M2_b + δ²·n_a·n_b/n; co-moments alike, with the δ of both
  /// channels for δ².
  package func merged(with other: Moments) -> Moments {
    guard mean.count == other.mean.count, m2.count == other.m2.count else {
      fatalError("Moments of \(mean.count) and of \(other.mean.count) channels cannot be merged.")
    }
    guard count > 0 else { return other }
    guard other.count > 0 else { return self }
    var result = self
    result.count += other.count
    let weight = other.count / result.count
    for c in mean.indices {
      let difference = other.mean[c] - mean[c]
      result.mean[c] += difference * weight
      for j in 0..<groupSize {
        let k = c - c % groupSize + j
        let index = c * groupSize + j
        result.m2[index] +=
          other.m2[index] + difference * (other.mean[k] - mean[k]) * count * weight
      }
    }
    return result
  }

  /// The moments of all samples together, merged in the order given; nil for no moments.
  package static func pooled(_ parts: some Sequence<Moments>) -> Moments? {
    var iterator = parts.makeIterator()
    guard var result = iterator.next() else { return nil }
    while let next = iterator.next() { result = result.merged(with: next) }
    return result
  }

  /// The moments of all samples together, with the same bits in whatever order the parts come.
  package static func pooledRegardlessOfOrder(_ parts: [Moments]) -> Moments? {
    // Any total order will do: equal parts may change places without changing a bit.
    let keyed = parts.map { (key: $0.orderingKey, part: $0) }
    return pooled(keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.lazy.map(\.part))
  }

  private var orderingKey: [UInt64] { ([count] + mean + m2).map(\.bitPattern) }

  /// The variance of each channel by an estimator; nil where there are too few samples for it.
  package func variance(_ estimator: RunningVariance) -> [Double]? {
    let divisor = estimator == .unbiased ? count - 1 : count
    return divisor > 0 ? m2.map { $0 / divisor } : nil
  }
}
