/// What is wrong with a file, or what kept it from being read or written.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kind of trouble, for programs.
  public enum Code: String, Sendable, Hashable {
    /// There is no such file or folder.
    case missing
    /// The operating system refused to read.
    case unreadable
    /// The operating system refused to write: permissions, a full disk.
    case unwritable
    /// The file ends before its contents do.
    case truncated
    /// The contents contradict the format or themselves.
    case malformed
    /// The format allows the contents, this package does not read them.
    case unsupported
    /// The contents are in order and something else than what was asked for.
    case mismatched
    /// More data than this machine could hold.
    case tooLarge
  }

  /// The kind of trouble.
  public var code: Code
  /// The file or folder.
  public var path: String
  /// The part of the file concerned, such as a tensor's name; empty where there is none.
  public var place: String
  /// What is wrong.
  public var reason: String

  /// Makes an error.
  public init(_ code: Code, _ reason: String, at path: String, place: String = "") {
    self.code = code
    self.path = path
    self.place = place
    self.reason = reason
  }

  /// One sentence.
  public var description: String {
    place.isEmpty ? "\(path): \(reason)" : "\(path), \(place): \(reason)"
  }

  /// A name out of a file as a message may show it: short, quoted, without control characters.
  static func quoted(_ name: String) -> String {
    let start = String(name.prefix(80))
    return (start == name ? start : start + "…").debugDescription
  }
}
