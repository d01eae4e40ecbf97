/// Computes normalised activations again in the backward pass instead of keeping them from the forward pass.
///
/// Pattern: a normalisation and the clamp fused to it (no residual), z = f(a·(x − μ) + β), whose readers
/// lie in two groups far apart, the forward pass's and the backward pass's, while x is still read when or
/// after the second group begins (the gradient of batch norm reads it). The node is repeated right before
/// the second group, which reads the repetition.
///
/// Proof: the repetition is the same operation on the same operands, so its bits are the same; it reads
/// moments but does not make any, so no statistics are updated twice. z is not alive between the groups,
/// and what the repetition reads is alive anyway, so the memory alive at any moment does not grow
/// outside the second group. What it costs is one pass that reads x and writes z.
package struct RecomputeActivations: GraphPass {
  /// How many nodes must lie between the groups; fewer would free the memory for nothing.
  private static let distance = 12

  package init() {}

  package var name: String { "recompute activations" }

  package func apply(to graph: Graph) throws -> Graph {
    let readers = graph.readers
    var graph = graph
    var repetitions: [Int: [Graph.Node]] = [:]
    for index in graph.nodes.indices {
      let node = graph.nodes[index]
      guard Self.isCheap(node), let first = late(index, node, readers) else { continue }
      let value = node.outputs[0]
      let again = Graph.ValueID(graph.types.count)
      graph.types.append(graph.type(of: value))
      repetitions[first, default: []].append(
        Graph.Node(
          name: "\(node.name).again", operation: node.operation, inputs: node.inputs,
          outputs: [again]))
      for reader in readers[value.index] where reader >= first {
        for operand in graph.nodes[reader].inputs.indices
        where graph.nodes[reader].inputs[operand] == value {
          graph.nodes[reader].inputs[operand] = again
        }
      }
    }
    graph.insert(repetitions)
    return graph
  }

  /// A normalisation by batch statistics with at most a clamp.
  private static func isCheap(_ node: Graph.Node) -> Bool {
    switch node.operation {
    case .normalize(let normalize): return normalize.source == .batch
    case .fused(let fused):
      guard case .normalize(let normalize) = fused.anchor, normalize.source == .batch else {
        return false
      }
      return fused.epilogue.allSatisfy {
        if case .map = $0 { true } else { false }
      }
    default: return false
    }
  }

  /// The first reader after the widest gap between readers, if the gap is wide enough and x lives on.
  private func late(_ index: Int, _ node: Graph.Node, _ readers: [[Int]]) -> Int? {
    let places = readers[node.outputs[0].index].sorted()
    // A reader below 0 is the outside, to which outputs are handed.
    guard places.count >= 2, places[0] > index else { return nil }
    var widest = (gap: 0, first: 0)
    for (earlier, later) in zip(places, places.dropFirst()) where later - earlier > widest.gap {
      widest = (later - earlier, later)
    }
    let last = readers[node.inputs[0].index].max() ?? 0
    return widest.gap >= Self.distance && last >= widest.first ? widest.first : nil
  }
}
