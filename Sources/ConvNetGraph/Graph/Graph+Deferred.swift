extension Graph {
  /// Whether extents have a part in the graph as data.
  package var hasDeferredOperations: Bool {
    nodes.contains { if case .deferred = $0.operation { true } else { false } }
  }

  /// The graph with extents as data and deferred operations replaced by constants and operations, and all
  /// types inferred from those of inputs, parameters and state, which are concrete.
  func loweringDeferred() throws -> Graph {
    var graph = self
    graph.nodes = []
    var known = KnownValues()
    for node in nodes {
      do {
        for lowered in try graph.lowered(node, known) {
          let inferred = try lowered.operation.outputTypes(lowered.inputs.map(graph.type(of:)))
          for (output, type) in zip(lowered.outputs, inferred) {
            guard let shape = type.shape else {
              throw GraphError(.invalidShape, "the extents of \(type) are not all known")
            }
            graph.types[output.index] = TensorType(type.elementType, shape)
          }
          graph.nodes.append(lowered)
        }
        known.note(node, in: graph)
        // Arithmetic on extents is done by now.
        if case .constant = node.operation { continue }
        guard let constant = node.outputs.first.flatMap({ known[$0]?.constant }),
          constant.elementType != .float32, node.outputs.count == 1
        else { continue }
        graph.nodes.removeAll { $0.outputs == node.outputs }
        graph.nodes.append(
          Node(
            name: node.name, operation: .constant(constant), inputs: [], outputs: node.outputs))
      } catch {
        throw GraphBuilder.place(error, at: node.name)
      }
    }
    return try RemoveUnused(keepsUpdates: true).apply(to: graph)
  }

  /// The nodes that stand for one; values between them are new.
  private mutating func lowered(_ node: Node, _ known: KnownValues) throws -> [Node] {
    guard case .deferred(let deferred) = node.operation else { return [node] }
    let lowering = try deferred.lowered(
      node.inputs.map(type(of:)), known: node.inputs.map { known[$0] })
    var nodes: [Node] = []
    var operands = lowering.takesOperand ? [node.inputs[0]] : []
    for (index, operation) in lowering.operations.enumerated() {
      let isLast = index == lowering.operations.count - 1
      var output = node.outputs[0]
      if !isLast {
        types.append(TensorType([Dimension]()))
        output = ValueID(types.count - 1)
      }
      nodes.append(
        Node(
          name: isLast ? node.name : "\(node.name).\(operation.name)\(index)",
          operation: operation, inputs: operands, outputs: [output]))
      operands = [output]
    }
    return nodes
  }
}
