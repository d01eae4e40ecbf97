/// Joins the gradients of slices that cover a value, as ghost batches leave them.
///
/// Pattern: a tree of additions whose leaves are `SliceGradient(dyᵢ)` of one axis by steps of 1, side by side
/// from 0 to the end, becomes `Concatenate(dy₀, dy₁, …)`. Taken after the gradient.
///
/// Proof: each leaf is dyᵢ inside its slice and 0 elsewhere, and the slices are disjoint and cover the
/// axis, so that in every element one leaf is added to zeros: the sum is that leaf, to the bit (but for
/// the sign of a zero). An addition inside such a tree covers less than the axis and is left alone; nobody
/// reads it then.
package struct JoinSliceGradients: GraphPass {
  package init() {}

  package var name: String { "join slice gradients" }

  private struct Leaf {
    let slice: Slice
    let gradient: Graph.ValueID
  }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    var leaves: [Graph.ValueID: [Leaf]] = [:]
    var changed = false
    for index in graph.nodes.indices {
      let node = graph.nodes[index]
      switch node.operation {
      case .sliceGradient(let slice) where slice.step == 1:
        leaves[node.outputs[0]] = [Leaf(slice: slice, gradient: node.inputs[0])]
      case .combine(.add):
        guard let left = leaves[node.inputs[0]], let right = leaves[node.inputs[1]] else {
          continue
        }
        let sorted = (left + right).sorted { $0.slice.start < $1.slice.start }
        guard isSideBySide(sorted) else { continue }
        leaves[node.outputs[0]] = sorted
        let type = graph.type(of: node.outputs[0])
        let axis = try type.normalizedAxis(sorted[0].slice.axis)
        guard sorted.first?.slice.start == 0,
          type.dimensions[axis] == sorted.last.map({ .fixed($0.slice.end) })
        else { continue }
        graph.nodes[index].operation = .concatenate(Concatenate(axis: axis))
        graph.nodes[index].inputs = sorted.map(\.gradient)
        changed = true
      default: break
      }
    }
    return changed ? try RemoveUnused().apply(to: graph) : graph
  }

  /// Whether each slice ends where the next one starts, along one axis.
  private func isSideBySide(_ leaves: [Leaf]) -> Bool {
    zip(leaves, leaves.dropFirst()).allSatisfy {
      $0.slice.axis == $1.slice.axis && $0.slice.end == $1.slice.start
    }
  }
}
