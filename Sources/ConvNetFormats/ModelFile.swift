public import ConvNetGraph
import FoundationEssentials

/// A model as one safetensors file: parameters and state under their names, the graph as JSON and
/// the model's own metadata among the metadata of the file.
///
/// Other programs read the weights as they read any safetensors file.
public enum ModelFile {
  private static let format = "convnet"
  private static let prefix = "metadata."
  /// Deep enough for any graph this package writes, and shallow enough for any stack.
  private static let depthLimit = 64

  /// Writes a model, atomically; the same model always gives the same bytes.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func save(_ model: Model, to path: String) throws {
    var metadata = ["format": format, "graph": try encode(model.graph, path: path)]
    for (key, value) in model.metadata { metadata[prefix + key] = value }
    let tensors = model.parameters.merging(model.state) { parameter, _ in parameter }
    try SafetensorsFile.write(tensors, metadata: metadata, to: path)
  }

  /// Reads a model and verifies its graph.
  ///
  /// - Throws: `FileError` naming everything that is missing, unexpected or of another shape.
  public static func load(_ path: String) throws -> Model {
    let file = try SafetensorsFile.open(path)
    guard isSavedModel(file), let text = file.metadata["graph"] else {
      throw FileError(
        .mismatched, "the file holds tensors and no saved model, it lacks the graph", at: path)
    }
    let graph = try decode(text, path: path)
    var metadata: [String: String] = [:]
    for (key, value) in file.metadata where key.hasPrefix(prefix) {
      metadata[String(key.dropFirst(prefix.count))] = value
    }
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

  /// Whether a file says that it holds a saved model.
  static func isSavedModel(_ file: SafetensorsFile) -> Bool {
    file.metadata["format"] == format && file.metadata["graph"] != nil
  }

  private static func encode(_ graph: Graph, path: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(graph), as: UTF8.self)
    } catch {
      throw FileError(.unsupported, "the graph cannot be written as JSON: \(error)", at: path)
    }
  }

  private static func decode(_ text: String, path: String) throws -> Graph {
    try TextCursor.checkJSONDepth(text, limit: depthLimit, of: path, part: "graph")
    do {
      return try JSONDecoder().decode(Graph.self, from: Data(text.utf8))
    } catch let error as DecodingError {
      throw FileError(.malformed, "the graph is not one: \(reason(error))", at: path)
    } catch {
      throw FileError(.malformed, "the graph is not one: \(error)", at: path)
    }
  }

  /// The place and the sentence of a decoder's error.
  private static func reason(_ error: DecodingError) -> String {
    let context: DecodingError.Context
    switch error {
    case .typeMismatch(_, let given), .valueNotFound(_, let given), .keyNotFound(_, let given),
      .dataCorrupted(let given):
      context = given
    @unknown default: return "it cannot be decoded"
    }
    let place = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }
      .joined(separator: ".")
    return place.isEmpty ? context.debugDescription : "\(place): \(context.debugDescription)"
  }
}
