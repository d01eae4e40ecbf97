/// A number of threads that cannot be used.
public struct ThreadBudgetError: Error, Equatable, CustomStringConvertible {
  /// What is wrong, as a sentence.
  public let description: String

  /// An error of the given sentence.
  package init(description: String) { self.description = description }
}
