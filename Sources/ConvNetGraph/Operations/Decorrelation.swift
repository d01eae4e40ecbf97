// Decorrelated batch normalisation (Huang, Yang, Lang & Deng, CVPR 2018). Channels, the last axis, are
// whitened in groups of g neighbours. With m samples, x a row of one group: μ = Σx/m,
// Σ = Σ(x − μ)ᵀ(x − μ)/m + ε·I, W = Σ^(−1/2), the symmetric root (ZCA), y = (x − μ)·W.

/// The triple (count, mean, co-moments) of the channels of x, in Float64.
///
/// Operand x; results `[]`, `[C]` and `[C, g]`: row c has Σ(x_c − μ_c)·(x_k − μ_k) for the channels k of
/// c's group in order.
package struct Covariance: Hashable, Sendable, Codable {
  /// g, the channels whitened together; divides C.
  package var groupSize: Int
  /// The running statistics this layer keeps, if any; their variance is a covariance `[C, g]`.
  package var running: RunningStatistics?

  package init(groupSize: Int, running: RunningStatistics? = nil) {
    self.groupSize = groupSize
    self.running = running
  }

  func outputTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let channels = try Operation.float(inputs, count: 1)[0].groupedChannels(groupSize)
    try running?.decay.check()
    return [
      TensorType(.float64, [Dimension]()), TensorType(.float64, [channels]),
      TensorType(.float64, [channels, .fixed(groupSize)]),
    ]
  }
}

/// y = (x − μ)·W and its gradient with respect to x.
///
/// Operands: x, or dy and x; then count, mean, co-moments (`.batch`) or mean, covariance without ε
/// (`.running`, float32). Result y, or dx. Eigenvalues of a covariance that rounding made negative count
/// as 0 before ε is added.
package struct Decorrelate: Hashable, Sendable, Codable {
  package var groupSize: Int
  package var epsilon: Double
  package var source: StatisticsSource

  package init(groupSize: Int, epsilon: Double, source: StatisticsSource) {
    self.groupSize = groupSize
    self.epsilon = epsilon
    self.source = source
  }

  /// How many operands hold statistics.
  package var statisticsCount: Int { source == .batch ? 3 : 2 }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 1 + statisticsCount)
    try check(operands[0], statistics: operands[1...])
    return operands[0]
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2 + statisticsCount)
    try Operation.expect(operands[0], toBe: operands[1], as: "the output's gradient")
    try check(operands[1], statistics: operands[2...])
    return operands[1]
  }

  private func check(_ x: TensorType, statistics: ArraySlice<TensorType>) throws {
    let channels = try Operation.float([x], count: 1)[0].groupedChannels(groupSize)
    guard epsilon > 0, epsilon.isFinite else {
      throw GraphError(.invalidAttribute, "an epsilon of \(epsilon) is not positive and finite")
    }
    let type: ElementType = source == .batch ? .float64 : .float32
    let matrices = [TensorType(type, [channels]), TensorType(type, [channels, .fixed(groupSize)])]
    let counts = source == .batch ? [TensorType(.float64, [Dimension]())] : []
    for (operand, expected) in zip(statistics, counts + matrices) {
      try Operation.expect(operand, toBe: expected, as: "a \(source.rawValue) statistic")
    }
  }
}

extension TensorType {
  /// The channels along the last axis, where groups of so many divide them.
  fileprivate func groupedChannels(_ groupSize: Int) throws -> Dimension {
    guard rank >= 2, let last = dimensions.last, let channels = last.extent, groupSize >= 1,
      channels % groupSize == 0, groupSize <= max(channels, 1)
    else {
      throw GraphError(
        .invalidAttribute, "the channels of \(self) cannot be split into groups of \(groupSize)")
    }
    return last
  }
}
