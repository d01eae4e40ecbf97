/// What a plan is made for.
public enum ExecutionMode: String, Hashable, Sendable, Codable {
  /// Batch statistics (unless a layer is frozen) and dropout.
  case training
  /// Running statistics, no dropout.
  case inference
}

/// Makes the graph that a mode runs.
///
/// Pattern: `Normalize(x, BatchMoments(x), γ, β)` whose moments belong to a layer with running
/// statistics becomes `Normalize(x, running mean, running variance, γ, β)` in inference, and in
/// training where the layer takes its statistics from the running ones; `Decorrelate` alike. Dropout
/// disappears in inference.
///
/// Proof: algorithm 2 of Ioffe & Szegedy 2015 differs from algorithm 1 in nothing but the source of mean
/// and variance; inverted dropout has the identity as its expectation.
package struct ResolveMode: GraphPass {
  package let mode: ExecutionMode
  /// Whether dropout stays.
  package let keepsDropout: Bool

  package init(_ mode: ExecutionMode) { self.init(mode, keepsDropout: mode == .training) }

  /// Makes the pass for a training forward pass with or without dropout.
  package init(_ mode: ExecutionMode, keepsDropout: Bool) {
    self.mode = mode
    self.keepsDropout = keepsDropout
  }

  package var name: String { "resolve \(mode.rawValue) mode" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    let producers = graph.producers
    var replaced: [Graph.ValueID: Graph.ValueID] = [:]
    for index in graph.nodes.indices {
      var node = graph.nodes[index]
      node.inputs = node.inputs.map { replaced[$0] ?? $0 }
      switch node.operation {
      case .normalize(var normalize) where normalize.source == .batch:
        guard let running = runningValues(of: node, in: graph, producers) else { break }
        normalize.source = .running
        node.operation = .normalize(normalize)
        node.inputs.replaceSubrange(1...3, with: running)
      case .decorrelate(var decorrelate) where decorrelate.source == .batch:
        guard let running = runningValues(of: node, in: graph, producers) else { break }
        decorrelate.source = .running
        node.operation = .decorrelate(decorrelate)
        node.inputs.replaceSubrange(1...3, with: running)
      case .dropout where !keepsDropout:
        replaced[node.outputs[0]] = node.inputs[0]
      default: break
      }
      graph.nodes[index] = node
    }
    for index in graph.outputs.indices {
      let value = graph.outputs[index].value
      graph.outputs[index].value = replaced[value] ?? value
    }
    // A layer that normalises with running statistics may still collect those of its batches.
    return try RemoveUnused(keepsUpdates: mode == .training).apply(to: graph)
  }

  /// Running mean and variance, or covariance, where the mode takes them for the batch's.
  private func runningValues(
    of node: Graph.Node, in graph: Graph, _ producers: [Int?]
  ) -> [Graph.ValueID]? {
    guard let producer = producers[node.inputs[1].index],
      let running = graph.nodes[producer].operation.running,
      mode == .inference || running.source == .running,
      let mean = graph.value(named: running.mean),
      let variance = graph.value(named: running.variance)
    else { return nil }
    return [mean, variance]
  }
}
