/// What is wrong with a graph, a model or a shape.
public struct GraphError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kind of mistake, for programs.
  public enum Code: String, Sendable, Hashable {
    /// A shape that no tensor can have, or that does not fit where it is used.
    case invalidShape
    /// An element type that an operation does not take.
    case invalidElementType
    /// An attribute outside its range, such as a stride of 0.
    case invalidAttribute
    /// A graph that refers to values it does not have or names one thing twice, or a name that nothing has.
    case malformedGraph
    /// Parameters or state that the graph asks for and the model lacks, or the other way round.
    case mismatchedParameters
    /// A gradient that does not exist.
    case noGradient
  }

  /// The kind of mistake.
  public var code: Code
  /// The layer or value concerned; empty where there is none.
  public var place: String
  /// What is wrong, with both shapes where shapes differ.
  public var reason: String

  /// Makes an error.
  public init(_ code: Code, _ reason: String, at place: String = "") {
    self.code = code
    self.place = place
    self.reason = reason
  }

  /// One sentence.
  public var description: String { place.isEmpty ? reason : "\(place): \(reason)" }
}
