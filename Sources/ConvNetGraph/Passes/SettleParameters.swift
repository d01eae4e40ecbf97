/// Brings parameters into the order of elements that the network wants them in.
///
/// Pattern: a parameter whose only reader is the first of reshapes and transposes, one after the other and
/// each with one reader, that end in the parameter's own shape with its elements in another order.
/// `MoveTransposes` leaves such chains before a dense layer behind a flattened map.
///
/// Proof: reshapes and transposes move elements and compute nothing; the same numbers in their final order
/// are the parameter that the reader gets. It keeps its name and shape, so that it is trained, frozen,
/// replaced and saved as what it is.
package struct SettleParameters: ModelPass {
  package init() {}

  package var name: String { "settle parameters" }

  package func apply(to model: Model) throws -> Model {
    var graph = model.graph
    var parameters = model.parameters
    let readers = graph.readers
    var removed: Set<Int> = []
    for index in graph.parameters.indices {
      let parameter = graph.parameters[index]
      let chain = Self.chain(from: parameter.value, in: graph, readers)
      guard let last = chain.last, let data = parameters[parameter.name] else { continue }
      let result = graph.nodes[last].outputs[0]
      let moves = chain.contains {
        if case .transpose = graph.nodes[$0].operation { true } else { false }
      }
      guard moves, graph.type(of: result) == graph.type(of: parameter.value) else { continue }
      var settled = data
      for step in chain {
        let node = graph.nodes[step]
        if case .transpose(let transpose) = node.operation {
          settled = settled.transposed(transpose.permutation)
        } else if let shape = graph.type(of: node.outputs[0]).shape {
          settled = try settled.reshaped(to: shape)
        }
      }
      parameters[parameter.name] = settled
      graph.parameters[index].value = result
      removed.formUnion(chain)
    }
    guard !removed.isEmpty else { return model }
    graph.nodes = graph.nodes.indices.filter { !removed.contains($0) }.map { graph.nodes[$0] }
    return try Model(
      graph: graph, parameters: parameters, state: model.state, metadata: model.metadata)
  }

  /// The reshapes and transposes that a value goes through, each the only reader of the one before.
  private static func chain(
    from value: Graph.ValueID, in graph: Graph, _ readers: [[Int]]
  ) -> [Int] {
    var chain: [Int] = []
    var value = value
    while readers[value.index].count == 1, let index = readers[value.index].first, index >= 0 {
      switch graph.nodes[index].operation {
      case .reshape, .transpose: break
      default: return chain
      }
      chain.append(index)
      value = graph.nodes[index].outputs[0]
    }
    return chain
  }
}

extension Tensor {
  /// The same float32 elements with the axes in another order.
  fileprivate func transposed(_ permutation: [Int]) -> Tensor {
    let target = Shape(permutation.map { shape[$0] })
    // Axes at the end that stay are copied as one.
    var fixed = 0
    while fixed < permutation.count,
      permutation[permutation.count - 1 - fixed] == permutation.count - 1 - fixed
    { fixed += 1 }
    let moved = permutation.count - fixed
    let run = shape.dimensions[moved...].reduce(1, *)
    let strides = shape.strides
    var result = Tensor(zeros: target)
    let starts = Shape(Array(target.dimensions.prefix(moved)))
      .indices(strides: permutation.prefix(moved).map { strides[$0] })
    unsafe withBytes { source in
      unsafe result.withMutableBytes { bytes in
        let byteCount = run * 4
        guard byteCount > 0, let to = bytes.baseAddress, let from = source.baseAddress else {
          return
        }
        for (index, start) in starts.enumerated() {
          unsafe (to + index * byteCount).copyMemory(from: from + start * 4, byteCount: byteCount)
        }
      }
    }
    return result
  }
}
