/// Removes operations that give back their operand.
///
/// Pattern: a multiplication by 1 and addition of 0, a clip without bounds, a cast to the type at hand, a
/// reshape to the same shape, a transpose that moves no axis, a concatenation of one value, a slice of
/// everything, pooling of single positions.
///
/// Proof: each computes y = x element by element (a −0 may have become +0), so that readers of y may
/// read x. One stays where it alone keeps an output apart from an input, a parameter or another output,
/// because whoever runs the graph may give each of those a place of its own.
package struct RemoveIdentities: GraphPass {
  package init() {}

  package var name: String { "remove identities" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    let producers = graph.producers
    var handedOut = Set(graph.outputs.map(\.value))
    var replaced: [Graph.ValueID: Graph.ValueID] = [:]
    var kept: [Graph.Node] = []
    for var node in graph.nodes {
      node.inputs = node.inputs.map { replaced[$0] ?? $0 }
      guard isIdentity(node, in: graph), let x = node.inputs.first, let y = node.outputs.first,
        !handedOut.contains(y) || (producers[x.index] != nil && !handedOut.contains(x))
      else {
        kept.append(node)
        continue
      }
      replaced[y] = x
      if handedOut.contains(y) { handedOut.insert(x) }
    }
    graph.nodes = kept
    for index in graph.outputs.indices {
      let value = graph.outputs[index].value
      graph.outputs[index].value = replaced[value] ?? value
    }
    return graph
  }

  private func isIdentity(_ node: Graph.Node, in graph: Graph) -> Bool {
    guard let x = node.inputs.first.map(graph.type(of:)), let y = node.outputs.first,
      x == graph.type(of: y)
    else { return false }
    switch node.operation {
    case .map(.affine(scale: 1, offset: 0)), .map(.clip(low: -.infinity, high: .infinity)):
      return true
    case .cast, .reshape, .reshapeLike: return true
    case .transpose(let transpose):
      return transpose.permutation == Array(transpose.permutation.indices)
    case .concatenate: return node.inputs.count == 1
    case .slice(let slice):
      // The extent is the same; where it is a symbol, the slice has made it a number.
      return slice.start == 0 && slice.stride == 1
    case .maxPool(let window): return isPoint(window)
    case .averagePool(let pool): return isPoint(pool.window)
    default: return false
    }
  }

  /// Of equal extents before and after: padding adds nothing that a stride does not take away.
  private func isPoint(_ window: Window) -> Bool {
    (window.kernel + window.stride).allSatisfy { $0 == 1 }
  }
}
