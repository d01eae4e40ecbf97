/// Applies each layer's policy for one sample per channel; taken on concrete shapes, before `ResolveMode`.
///
/// Pattern: a `BatchMoments` with m = 1 takes its statistics from the running ones (`.useRunning`), or
/// keeps the sample's and stops updating (`.skipUpdate`); `.error` is left to the engine, which refuses it.
///
/// Proof: m = 1 has μ = x and M2 = 0, so y = β whatever x is, and M2/(m − 1) is 0/0: neither choice lets
/// it near the running statistics. The samples of a mask are counted only when it runs; they stay.
package struct ResolveSingleSamples: GraphPass {
  package init() {}

  package var name: String { "resolve single samples" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    for index in graph.nodes.indices {
      let node = graph.nodes[index]
      guard case .batchMoments(var moments) = node.operation, node.inputs.count == 1,
        let shape = graph.type(of: node.inputs[0]).shape,
        shape.count == graph.type(of: node.outputs[1]).dimensions[0].extent, shape.count > 0
      else { continue }
      switch moments.statistics.singleSample {
      case .error: continue
      case .useRunning: moments.running?.source = .running
      case .skipUpdate: break
      }
      moments.running?.updates = false
      graph.nodes[index].operation = .batchMoments(moments)
    }
    return graph
  }
}
