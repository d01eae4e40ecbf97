import ConvNetGraph

/// Which samples are set aside for validation: a pure function of a seed and of each sample's own name
/// or number.
///
/// No sample changes sides when others are added, so that a validation image never was a training image
/// of an earlier run. Names are the better key where there are some, since numbers move when a sample is
/// taken away. The parts are about as large as asked for, not exactly.
public struct HashSplit: Hashable, Sendable {
  /// The part that is set aside, between 0 and 1.
  public let validation: Double
  /// What the choice is drawn from.
  public let seed: UInt64

  /// Makes a rule.
  ///
  /// - Throws: `TrainingError` where the part is not between 0 and 1.
  public init(validation: Double, seed: UInt64 = 0) throws {
    guard validation > 0, validation < 1 else {
      throw TrainingError(
        .invalidOption, "the part \(validation) kept for validation is not between 0 and 1")
    }
    self.validation = validation
    self.seed = seed
  }

  /// Whether the sample of a name, such as a path inside its data set, is set aside.
  public func isValidation(_ name: String) -> Bool {
    Philox(seed: seed, purpose: "validation of \(name)").uniform(0) < validation
  }

  /// Whether the sample of a number is set aside.
  public func isValidation(_ index: Int) -> Bool {
    Philox(seed: seed, purpose: "validation").uniform(UInt64(index)) < validation
  }

  /// The numbers of both parts of so many samples, in order.
  public func parts(count: Int) -> (training: [Int], validation: [Int]) {
    parts((0..<count).map { isValidation($0) })
  }

  /// The numbers of both parts of named samples, in order.
  public func parts(names: [String]) -> (training: [Int], validation: [Int]) {
    parts(names.map { isValidation($0) })
  }

  private func parts(_ isChosen: [Bool]) -> (training: [Int], validation: [Int]) {
    (isChosen.indices.filter { !isChosen[$0] }, isChosen.indices.filter { isChosen[$0] })
  }
}

extension TrainingData {
  /// Sets a part of the samples aside by their numbers, as `HashSplit` does: samples that come in behind
  /// move no other to the other side.
  ///
  /// - Parameters:
  ///   - validation: the part that is set aside, between 0 and 1.
  ///   - seed: what the choice is drawn from.
  /// - Throws: `TrainingError` where `validation` is not between 0 and 1, or one of the parts would be
  ///   empty.
  public func split(
    validation: Double, seed: UInt64 = 0
  ) throws -> (training: TrainingData, validation: TrainingData) {
    let parts = try HashSplit(validation: validation, seed: seed).parts(count: count)
    guard !parts.training.isEmpty, !parts.validation.isEmpty else {
      throw TrainingError(
        .invalidData,
        "\(count) samples are too few to keep the part \(validation) for validation: "
          + "\(parts.training.count) and \(parts.validation.count)")
    }
    return (try subset(parts.training), try subset(parts.validation))
  }
}
