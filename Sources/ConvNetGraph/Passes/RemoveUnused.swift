/// Removes operations whose results nobody reads, and the random key where nothing is random any more.
///
/// Proof: operations have no effects; what reaches no output changes no output. Other inputs,
/// parameters and state stay, because the outside gives and keeps them by name.
package struct RemoveUnused: GraphPass {
  /// Whether moments stay that update running statistics, though nothing normalises by them.
  package var keepsUpdates: Bool

  package init(keepsUpdates: Bool = false) { self.keepsUpdates = keepsUpdates }

  package var name: String { "remove unused" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    var needed = Set(graph.outputs.map(\.value))
    var kept: [Graph.Node] = []
    for node in graph.nodes.reversed()
    where node.outputs.contains(where: needed.contains) || (keepsUpdates && updates(node)) {
      needed.formUnion(node.inputs)
      kept.append(node)
    }
    graph.nodes = kept.reversed()
    graph.inputs.removeAll { $0.name == GraphBuilder.randomKeyName && !needed.contains($0.value) }
    return graph
  }

  private func updates(_ node: Graph.Node) -> Bool {
    node.operation.running?.updates ?? false
  }
}
