extension Model {
  private static let classesKey = "classes"
  private static let networkKey = "network"

  /// The names of the classes, in the order of the logits, kept in the metadata a line each; empty
  /// where there are none.
  public var classNames: [String] {
    get { metadata[Self.classesKey]?.split(separator: "\n").map(String.init) ?? [] }
    set { metadata[Self.classesKey] = newValue.isEmpty ? nil : newValue.joined(separator: "\n") }
  }

  /// The name of the built-in network this is, kept in the metadata; nil where it is none.
  public var networkName: String? {
    get { metadata[Self.networkKey] }
    set { metadata[Self.networkKey] = newValue }
  }
}
