import ConvNetGraph
import FoundationEssentials

/// What ONNX has no place for and training needs again.
///
/// That are the conventions and switches of batch-norm layers, what parameters are for, and which are not
/// learned. It travels as JSON in the model's metadata.
struct ONNXTrainingState: Codable {
  /// The key among the metadata.
  static let key = "convnet.training"
  /// Longer texts, and deeper ones, are not of this package's making.
  private static let (limit, depth) = (1 << 24, 32)

  /// One batch-norm layer.
  struct Layer: Codable {
    var running: RunningStatistics
    var statistics: BatchStatistics
    var updateCount: Int64
  }

  var layers: [Layer] = []
  var untrained: [String] = []
  /// What learned parameters are for: of a factor, say, ONNX's operators do not tell.
  var roles: [String: ParameterRole]?

  /// Reads the state out of a model's metadata; nil where there is none.
  ///
  /// - Throws: `FileError` where there is some and it cannot be read.
  init?(_ metadata: [String: String], path: String) throws {
    guard let text = metadata[Self.key] else { return nil }
    let place = "metadata \(Self.key)"
    guard text.utf8.count <= Self.limit else {
      throw FileError(.malformed, "\(text.utf8.count) bytes are too many", at: path, place: place)
    }
    try TextCursor.checkJSONDepth(text, limit: Self.depth, of: path, part: place)
    do {
      self = try JSONDecoder().decode(ONNXTrainingState.self, from: Data(text.utf8))
    } catch {
      throw FileError(.malformed, "is not what this package writes", at: path, place: place)
    }
  }

  /// The state of a model.
  init(_ model: Model) {
    for node in model.graph.nodes {
      guard case .batchMoments(let moments) = node.operation, let running = moments.running else {
        continue
      }
      let count = model.state[running.updateCount]?.elements(of: Int64.self).first ?? 0
      layers.append(
        Layer(running: running, statistics: moments.statistics, updateCount: count))
    }
    untrained = model.graph.parameters.filter { !$0.isTrainable && $0.role != .constant }
      .map(\.name)
    roles = Dictionary(
      uniqueKeysWithValues: model.graph.parameters.filter { $0.role != .constant }
        .map { ($0.name, $0.role) })
  }

  /// The state as text; nil where there is nothing to say.
  var text: String? {
    guard !layers.isEmpty || !untrained.isEmpty || roles?.isEmpty == false else { return nil }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Puts the state back into layers and parameters of the same names; others are left alone.
  func restore(_ graph: inout Graph, _ state: inout [String: Tensor]) {
    let byLayer = Dictionary(layers.map { ($0.running.layer, $0) }) { first, _ in first }
    for index in graph.nodes.indices {
      guard case .batchMoments(var moments) = graph.nodes[index].operation,
        var running = moments.running, let layer = byLayer[running.layer]
      else { continue }
      running.decay = layer.running.decay
      running.estimator = layer.running.estimator
      running.source = layer.running.source
      running.updates = layer.running.updates
      moments.running = running
      moments.statistics = layer.statistics
      graph.nodes[index].operation = .batchMoments(moments)
      state[running.updateCount] = Tensor([layer.updateCount], shape: [])
    }
    let untrained = Set(untrained)
    for index in graph.parameters.indices {
      let name = graph.parameters[index].name
      if let role = roles?[name] {
        graph.parameters[index].role = role
        graph.parameters[index].isTrainable = role != .constant
      }
      if untrained.contains(name) { graph.parameters[index].isTrainable = false }
    }
  }
}
