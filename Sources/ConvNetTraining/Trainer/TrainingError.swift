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
    /// A loss or a gradient that is infinite or not a number.
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
