extension Graph {
  /// The graph for concrete input shapes: every symbol becomes a number, and all types follow.
  ///
  /// - Parameter inputShapes: the shape of each input by name; inputs of fixed shape may be left out.
  /// - Throws: `GraphError` where a shape does not fit the input's declaration, or one symbol would be
  ///   two numbers.
  package func resolved(inputShapes: [String: Shape]) throws -> Graph {
    for name in inputShapes.keys where !inputs.contains(where: { $0.name == name }) {
      let known = inputs.map(\.name).joined(separator: ", ")
      throw GraphError(
        .malformedGraph, "there is no input of this name; there are: \(known)", at: name)
    }
    var graph = self
    var bound: [String: Int] = [:]
    for input in inputs {
      let declared = type(of: input.value)
      guard let shape = inputShapes[input.name] ?? declared.shape else {
        throw GraphError(.invalidShape, "needs a shape for \(declared)", at: input.name)
      }
      guard shape.rank == declared.rank else {
        throw GraphError(.invalidShape, "is \(declared), not \(shape)", at: input.name)
      }
      for (dimension, extent) in zip(declared.dimensions, shape.dimensions) {
        switch dimension {
        case .fixed(let expected) where expected != extent:
          throw GraphError(.invalidShape, "is \(declared), not \(shape)", at: input.name)
        case .fixed: break
        case .symbol(let symbol):
          if let earlier = bound.updateValue(extent, forKey: symbol), earlier != extent {
            throw GraphError(
              .invalidShape, "\(symbol) would be both \(earlier) and \(extent)", at: input.name)
          }
        }
      }
      graph.types[input.value.index] = TensorType(declared.elementType, shape)
    }
    if graph.hasDeferredOperations { return try graph.loweringDeferred() }
    try graph.inferTypes()
    return graph
  }

  /// Infers the types of all results again from those of inputs, parameters and state.
  private mutating func inferTypes() throws {
    for node in nodes {
      do {
        let inferred = try node.operation.outputTypes(node.inputs.map(type(of:)))
        for (output, type) in zip(node.outputs, inferred) {
          guard let shape = type.shape else {
            throw GraphError(.invalidShape, "the extents of \(type) are not all known")
          }
          types[output.index] = TensorType(type.elementType, shape)
        }
      } catch {
        throw GraphBuilder.place(error, at: node.name)
      }
    }
  }
}
