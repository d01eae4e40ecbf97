/// Removes operations whose results nobody reads, and the random key where nothing is random any more.
///
/// Proof: operations have no effects; what reaches no output changes no output. Other inputs,
/// parameters and state stay, because the outside gives and keeps them by name.
package struct RemoveUnused: GraphPass {
  package init() {}

  package var name: String { "remove unused" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    var needed = Set(graph.outputs.map(\.value))
    var kept: [Graph.Node] = []
    for node in graph.nodes.reversed() where node.outputs.contains(where: needed.contains) {
      needed.formUnion(node.inputs)
      kept.append(node)
    }
    graph.nodes = kept.reversed()
    graph.inputs.removeAll { $0.name == GraphBuilder.randomKeyName && !needed.contains($0.value) }
    return graph
  }
}
