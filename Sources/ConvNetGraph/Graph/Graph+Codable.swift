extension Graph: Codable {
  private enum Key: String, CodingKey {
    case version, types, nodes, inputs, outputs, parameters, states
  }

  /// The version that this package writes.
  static let formatVersion = 1

  /// Reads a graph and verifies it: what comes from a file is not trusted.
  ///
  /// - Throws: `DecodingError` where a part is missing or of another kind, `GraphError` where the graph is of
  ///   another version or cannot be.
  public init(from decoder: any Decoder) throws {
    self.init()
    let container = try decoder.container(keyedBy: Key.self)
    let version = try container.decode(Int.self, forKey: .version)
    guard version == Graph.formatVersion else {
      throw GraphError(
        .malformedGraph, "graph format \(version) is not \(Graph.formatVersion), which is read here"
      )
    }
    types = try container.decode([TensorType].self, forKey: .types)
    nodes = try container.decode([Node].self, forKey: .nodes)
    inputs = try container.decode([Port].self, forKey: .inputs)
    outputs = try container.decode([Port].self, forKey: .outputs)
    parameters = try container.decode([Parameter].self, forKey: .parameters)
    states = try container.decode([State].self, forKey: .states)
    try verify()
  }

  /// Writes the graph.
  ///
  /// - Throws: `EncodingError` as the encoder throws it.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(Graph.formatVersion, forKey: .version)
    try container.encode(types, forKey: .types)
    try container.encode(nodes, forKey: .nodes)
    try container.encode(inputs, forKey: .inputs)
    try container.encode(outputs, forKey: .outputs)
    try container.encode(parameters, forKey: .parameters)
    try container.encode(states, forKey: .states)
  }
}
