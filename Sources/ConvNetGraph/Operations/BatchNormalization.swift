// Batch normalisation as four operations (Ioffe & Szegedy 2015, algorithms 1 and 2). With m samples of
// a channel: μ = Σx/m, M2 = Σ(x − μ)², σ² = M2/m, x̂ = (x − μ)/√(σ² + ε), y = γ·x̂ + β.

/// How much of the old running statistics survives an update.
///
/// No bare number: frameworks disagree on what it would mean.
public enum RunningDecay: Hashable, Sendable, Codable {
  /// running ← keep·running + (1 − keep)·batch, as Keras and ONNX write momentum.
  case keepOld(Double)
  /// running ← (1 − take)·running + take·batch, as PyTorch writes momentum.
  case takeNew(Double)
  /// The mean over all batches so far: take = 1/n at the n-th update.
  case cumulative

  /// The weight of the new batch at the `update`-th update, counted from 1.
  package func weight(update: Int) -> Double {
    switch self {
    case .keepOld(let keep): 1 - keep
    case .takeNew(let take): take
    case .cumulative: 1 / Double(update)
    }
  }

  /// Refuses weights outside 0...1.
  package func check() throws {
    switch self {
    case .keepOld(let weight), .takeNew(let weight):
      guard (0...1).contains(weight) else {
        throw GraphError(.invalidAttribute, "a decay of \(weight) is not between 0 and 1")
      }
    case .cumulative: break
    }
  }
}

/// Which estimator of the variance the running statistics collect.
public enum RunningVariance: String, Hashable, Sendable, Codable {
  /// M2/(m − 1), as PyTorch and the paper's inference step.
  case unbiased
  /// M2/m, as ONNX and non-fused Keras.
  case population
}

/// Where a batch-normalisation layer takes its statistics from.
public enum StatisticsSource: String, Hashable, Sendable, Codable {
  /// The mini-batch.
  case batch
  /// The running statistics.
  case running
}

/// The running statistics that belong to a `BatchMoments` node, by the names of their state.
package struct RunningStatistics: Hashable, Sendable, Codable {
  /// The layer, for reports.
  package var layer: String
  /// State `[C]`, float32.
  package var mean: String
  /// State `[C]`, float32.
  package var variance: String
  /// State `[]`, int64: the updates so far.
  package var updateCount: String
  package var decay: RunningDecay
  package var estimator: RunningVariance
  /// Where training takes statistics from; inference always takes the running ones.
  package var source: StatisticsSource = .batch
  /// Whether a training step updates the running statistics.
  package var updates: Bool = true

  package init(
    layer: String, mean: String, variance: String, updateCount: String, decay: RunningDecay,
    estimator: RunningVariance, source: StatisticsSource = .batch, updates: Bool = true
  ) {
    self.layer = layer
    self.mean = mean
    self.variance = variance
    self.updateCount = updateCount
    self.decay = decay
    self.estimator = estimator
    self.source = source
    self.updates = updates
  }
}

/// The triple (count, mean, M2) of every channel of x, in Float64.
///
/// Operands: x, and perhaps a mask over x's leading axes, before the channels'; positions of 0 do not
/// count, all others do.
package struct BatchMoments: Hashable, Sendable, Codable {
  /// The channel axis; −1 is the last.
  package var axis: Int
  /// The running statistics this layer keeps, if any.
  package var running: RunningStatistics?
  /// How a training step takes the statistics.
  package var statistics: BatchStatistics

  package init(
    axis: Int, running: RunningStatistics? = nil, statistics: BatchStatistics = BatchStatistics()
  ) {
    self.axis = axis
    self.running = running
    self.statistics = statistics
  }

  /// Reads the attributes; files from before `statistics` mean its default.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      axis: try container.decode(Int.self, forKey: .axis),
      running: try container.decodeIfPresent(RunningStatistics.self, forKey: .running),
      statistics: try container.decodeIfPresent(BatchStatistics.self, forKey: .statistics)
        ?? BatchStatistics())
  }

  func outputTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let operands = try Operation.float(inputs, count: 1...2)
    let x = operands[0]
    let channelAxis = try x.normalizedAxis(axis)
    let channels = x.dimensions[channelAxis]
    if operands.count == 2 { try x.check(mask: operands[1], channelAxis: channelAxis) }
    try running?.decay.check()
    try statistics.check(hasRunning: running != nil)
    return [
      TensorType(.float64, [Dimension]()), TensorType(.float64, [channels]),
      TensorType(.float64, [channels]),
    ]
  }
}

/// y = γ·(x − μ)/√(σ² + ε) + β.
///
/// Operands: x; then count, mean, M2 (`.batch`) or mean, variance (`.running`, float32); then γ and β
/// where present.
package struct Normalize: Hashable, Sendable, Codable {
  package var axis: Int
  package var epsilon: Double
  package var source: StatisticsSource
  package var hasScale: Bool
  package var hasShift: Bool

  package init(
    axis: Int, epsilon: Double, source: StatisticsSource, hasScale: Bool, hasShift: Bool
  ) {
    self.axis = axis
    self.epsilon = epsilon
    self.source = source
    self.hasScale = hasScale
    self.hasShift = hasShift
  }

  /// How many operands hold statistics.
  package var statisticsCount: Int { source == .batch ? 3 : 2 }
  /// The operand that holds γ, if any.
  package var scaleIndex: Int? { hasScale ? 1 + statisticsCount : nil }
  /// The operand that holds β, if any.
  package var shiftIndex: Int? { hasShift ? 1 + statisticsCount + (hasScale ? 1 : 0) : nil }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let count = 1 + statisticsCount + (hasScale ? 1 : 0) + (hasShift ? 1 : 0)
    let operands = try Operation.take(inputs, count: count)
    let channels = try source.check(operands, first: 1, input: operands[0], axis: axis)
    for operand in operands.dropFirst(1 + statisticsCount) {
      try Operation.expect(operand, toBe: TensorType([channels]), as: "a scale or shift")
    }
    guard epsilon >= 0, epsilon.isFinite else {
      throw GraphError(.invalidAttribute, "an epsilon of \(epsilon) is negative or not finite")
    }
    return operands[0]
  }
}

/// The backward half of `Normalize`, in two steps.
///
/// Sums: operands dy, x, statistics; results dβ = Σ dy and dγ = Σ dy·x̂ in Float64.
/// Input: operands dy, x, statistics, with `.batch` also dβ and dγ, then γ and the mask of the statistics
/// where present; result dx = γ/√(σ²+ε)·(dy − k·(dβ/m + x̂·dγ/m)) with batch statistics, k the mask or 1,
/// and γ/√(σ²+ε)·dy with running ones. Masked positions have no part in mean and variance, so nothing
/// reaches them through these; their y depends on both, so their dy is in the sums.
package struct NormalizeGradient: Hashable, Sendable, Codable {
  package var axis: Int
  package var epsilon: Double
  package var source: StatisticsSource
  package var hasScale: Bool
  package var hasMask: Bool

  package init(
    axis: Int, epsilon: Double, source: StatisticsSource, hasScale: Bool, hasMask: Bool = false
  ) {
    self.axis = axis
    self.epsilon = epsilon
    self.source = source
    self.hasScale = hasScale
    self.hasMask = hasMask
  }

  /// How many operands hold statistics.
  package var statisticsCount: Int { source == .batch ? 3 : 2 }
  /// The operand of the input gradient that holds γ, if any.
  package var scaleIndex: Int? {
    hasScale ? 2 + statisticsCount + (source == .batch ? 2 : 0) : nil
  }
  /// The operand of the input gradient that holds the mask, if any; the last one.
  package var maskIndex: Int? {
    hasMask ? 2 + statisticsCount + (source == .batch ? 2 : 0) + (hasScale ? 1 : 0) : nil
  }

  func sumTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let operands = try Operation.take(inputs, count: 2 + statisticsCount)
    let channels = try check(operands)
    return [TensorType(.float64, [channels]), TensorType(.float64, [channels])]
  }

  func inputType(_ inputs: [TensorType]) throws -> TensorType {
    let sums = source == .batch ? 2 : 0
    let operands = try Operation.take(
      inputs, count: 2 + statisticsCount + sums + (hasScale ? 1 : 0) + (hasMask ? 1 : 0))
    let channels = try check(operands)
    for operand in operands[(2 + statisticsCount)..<(2 + statisticsCount + sums)] {
      try Operation.expect(operand, toBe: TensorType(.float64, [channels]), as: "a gradient sum")
    }
    if let scaleIndex {
      try Operation.expect(operands[scaleIndex], toBe: TensorType([channels]), as: "a scale")
    }
    if let maskIndex {
      try operands[1].check(
        mask: operands[maskIndex], channelAxis: operands[1].normalizedAxis(axis))
    }
    return operands[1]
  }

  private func check(_ operands: [TensorType]) throws -> Dimension {
    try Operation.expect(operands[0], toBe: operands[1], as: "the output's gradient")
    return try source.check(operands, first: 2, input: operands[1], axis: axis)
  }
}

extension StatisticsSource {
  /// Checks the statistics among the operands and gives the number of channels.
  func check(
    _ operands: [TensorType], first: Int, input x: TensorType, axis: Int
  ) throws -> Dimension {
    guard x.elementType == .float32 else {
      throw GraphError(.invalidElementType, "normalises float32, not \(x)")
    }
    let channels = x.dimensions[try x.normalizedAxis(axis)]
    switch self {
    case .batch:
      let expected =
        [TensorType(.float64, [Dimension]())]
        + [TensorType](repeating: TensorType(.float64, [channels]), count: 2)
      for (operand, type) in zip(operands[first...], expected) {
        try Operation.expect(operand, toBe: type, as: "a batch statistic")
      }
    case .running:
      for operand in operands[first..<(first + 2)] {
        try Operation.expect(operand, toBe: TensorType([channels]), as: "a running statistic")
      }
    }
    return channels
  }
}

extension TensorType {
  /// A mask has the extents of some of the axes before the channels', from the first on.
  func check(mask: TensorType, channelAxis: Int) throws {
    guard (1...max(channelAxis, 1)).contains(mask.rank), channelAxis > 0,
      mask == TensorType(Array(dimensions[..<mask.rank]))
    else {
      throw GraphError(
        .invalidShape,
        "\(mask) is no mask over the leading axes of \(self), channels at "
          + "\(channelAxis)")
    }
  }

  /// An axis counted from the front, where negative ones count from the back.
  package func normalizedAxis(_ axis: Int) throws -> Int {
    let positive = axis < 0 ? axis + rank : axis
    guard (0..<rank).contains(positive) else {
      throw GraphError(.invalidAttribute, "axis \(axis) does not exist in \(self)")
    }
    return positive
  }
}
