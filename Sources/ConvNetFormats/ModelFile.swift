public import ConvNetGraph

/// A model as one safetensors file: parameters and state under their names, the graph as JSON and
/// the model's own metadata among the metadata of the file.
///
/// Other programs read the weights as they read any safetensors file.
public enum ModelFile {
  private static let format = "convnet"
  static let prefix = "metadata."

  /// Writes a model, atomically; the same model always gives the same bytes.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func save(_ model: Model, to path: String) throws {
    var metadata = ["format": format, "graph": try encode(model.graph, path: path)]
    for (key, value) in model.metadata { metadata[prefix + key] = value }
    let tensors = model.parameters.merging(model.state) { parameter, _ in parameter }
    try SafetensorsFile.write(tensors, metadata: metadata, to: path)
  }

  /// Reads a model and verifies its graph; of a training's checkpoint, the model that validation measured.
  ///
  /// - Throws: `FileError` naming everything that is missing, unexpected or of another shape.
  public static func load(_ path: String) throws -> Model {
    let file = try SafetensorsFile.open(path)
    if CheckpointFile.isCheckpoint(file) { return try CheckpointFile.read(file).measuredModel }
    guard isSavedModel(file), let text = file.metadata["graph"] else {
      throw FileError(
        .mismatched, "the file holds tensors and no saved model, it lacks the graph", at: path)
    }
    let graph = try decode(text, path: path)
    let metadata = metadata(of: file)
    let states = Set(graph.states.map(\.name))
    var parameters: [String: Tensor] = [:]
    var state: [String: Tensor] = [:]
    for (name, tensor) in try file.readAll() {
      // What belongs to neither is for `Model` to report with the rest.
      if states.contains(name) { state[name] = tensor } else { parameters[name] = tensor }
    }
    do {
      return try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
    } catch {
      throw FileError(.mismatched, "\(error)", at: path)
    }
  }

  /// The metadata of the model itself.
  static func metadata(of file: SafetensorsFile) -> [String: String] {
    var metadata: [String: String] = [:]
    for (key, value) in file.metadata where key.hasPrefix(prefix) {
      metadata[String(key.dropFirst(prefix.count))] = value
    }
    return metadata
  }

  /// Whether a file says that it holds a saved model.
  static func isSavedModel(_ file: SafetensorsFile) -> Bool {
    CheckpointFile.isCheckpoint(file)
      || file.metadata["format"] == format && file.metadata["graph"] != nil
  }

  static func encode(_ graph: Graph, path: String) throws -> String {
    do {
      return try JSONText.encode(graph)
    } catch {
      throw FileError(.unsupported, "the graph cannot be written as JSON: \(error)", at: path)
    }
  }

  static func decode(_ text: String, path: String) throws -> Graph {
    try JSONText.decode(Graph.self, from: text, of: path, part: "graph")
  }
}
