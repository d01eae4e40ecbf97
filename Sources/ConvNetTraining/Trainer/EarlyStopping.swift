/// What tells a good epoch from a bad one.
public enum ValidationMetric: String, Hashable, Sendable, Codable, CaseIterable {
  /// The part of the validation samples that are recognised: the more the better.
  case accuracy
  /// The mean loss of the validation samples: the less the better.
  case loss

  /// The number to be compared.
  func value(of evaluation: Evaluation) -> Double {
    switch self {
    case .accuracy: evaluation.accuracy
    case .loss: evaluation.loss
    }
  }

  /// Whether a value is better than another by more than a margin; NaN never is.
  func isBetter(_ value: Double, than other: Double?, by margin: Double = 0) -> Bool {
    guard let other, !other.isNaN else { return !value.isNaN }
    return self == .accuracy ? value > other + margin : value < other - margin
  }
}

/// When a training ends before its last epoch: validation has not become better for some epochs.
public struct EarlyStopping: Hashable, Sendable, Codable {
  /// Epochs without improvement after which training ends.
  public var patience: Int
  /// What counts as improvement is more than this, in the metric's unit: a part in 0...1, or the loss.
  public var minimumChange: Double

  /// Makes a rule.
  public init(patience: Int, minimumChange: Double = 0) {
    self.patience = patience
    self.minimumChange = minimumChange
  }

  /// Refuses numbers that mean nothing.
  func check() throws {
    guard patience >= 1, minimumChange >= 0, minimumChange.isFinite else {
      throw TrainingError(
        .invalidOption,
        "training cannot stop early after \(patience) epochs without an improvement by "
          + "\(minimumChange)")
    }
  }
}

/// The epoch that did best on the validation samples.
public struct BestEpoch: Hashable, Sendable, Codable {
  /// The epoch, counted from 1.
  public var epoch: Int
  /// Steps of the training by the end of it.
  public var step: Int
  /// Its accuracy or loss.
  public var value: Double
}

/// How validation went so far.
struct ValidationCourse: Hashable, Sendable, Codable {
  private(set) var best: BestEpoch?
  /// What early stopping compares with: the last value that was better by more than the margin.
  private var reference: Double?
  /// Epochs since then.
  private(set) var epochsWithoutImprovement = 0

  init() {}

  /// Takes the value of an epoch.
  ///
  /// - Returns: whether it is the best so far.
  mutating func add(
    _ value: Double, epoch: Int, step: Int, metric: ValidationMetric, margin: Double
  ) -> Bool {
    if metric.isBetter(value, than: reference, by: margin) {
      reference = value
      epochsWithoutImprovement = 0
    } else {
      epochsWithoutImprovement += 1
    }
    guard metric.isBetter(value, than: best?.value) else { return false }
    best = BestEpoch(epoch: epoch, step: step, value: value)
    return true
  }
}
