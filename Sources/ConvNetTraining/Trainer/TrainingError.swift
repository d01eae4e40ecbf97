import ConvNetLAPACK

/// What is wrong with a training's data or options, or why it stopped.
public struct TrainingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kind of mistake, for programs.
  public enum Code: String, Sendable, Hashable {
    /// Images, labels or classes that do not fit together or to the network.
    case invalidData
    /// An option outside its range, such as a batch of 0.
    case invalidOption
    /// Saved state of another network or optimiser.
    case mismatchedState
    /// A loss, gradient, statistic, datum or output that is infinite or not a number, or a matrix that
    /// cannot be decomposed.
    case notFinite
  }

  /// The kind of mistake.
  public var code: Code
  /// What is wrong, as a sentence.
  public var description: String

  /// Makes an error.
  public init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }
}

extension TrainingError {
  /// Decomposes a matrix; an error of LAPACK's becomes one that callers can name.
  static func decomposing<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error as LAPACKError {
      throw TrainingError(.notFinite, error.description)
    }
  }
}
