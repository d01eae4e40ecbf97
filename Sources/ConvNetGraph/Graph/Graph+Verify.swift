extension Graph {
  /// The most values, nodes and dimensions a graph may have: enough for any network, and a bound for
  /// graphs that come from outside.
  static let limit = 1 << 20
  /// The most bytes the name of a symbolic extent may have, and the most operands of a node: types
  /// inferred from a hostile file must not need more memory than the file gives reason for.
  static let symbolLimit = 1 << 12, operandLimit = 1 << 12

  /// Checks everything that the rest of the package relies on.
  ///
  /// - Throws: `GraphError` naming the first node or value that is wrong.
  package func verify() throws {
    guard types.count <= Graph.limit, nodes.count <= Graph.limit else {
      throw GraphError(
        .malformedGraph, "\(nodes.count) nodes and \(types.count) values are too many")
    }
    for (index, type) in types.enumerated() {
      do { try type.check() } catch { throw GraphBuilder.place(error, at: "value \(index)") }
    }
    var defined = try definedFromOutside()
    var names: Set<String> = []
    var known = KnownValues()
    for node in nodes {
      guard names.insert(node.name).inserted else {
        throw GraphError(.malformedGraph, "two nodes have this name", at: node.name)
      }
      guard node.inputs.count <= Graph.operandLimit else {
        throw GraphError(
          .malformedGraph, "\(node.inputs.count) operands are too many", at: node.name)
      }
      for input in node.inputs where !defined.contains(input) {
        throw GraphError(
          .malformedGraph, "reads value \(input.index) before it is made", at: node.name)
      }
      for output in node.outputs {
        guard types.indices.contains(output.index), defined.insert(output).inserted else {
          throw GraphError(
            .malformedGraph, "makes value \(output.index), which is not free", at: node.name)
        }
      }
      try verifyTypes(of: node, known)
      known.note(node, in: self)
    }
    try verifyRunningStatistics()
    var outputNames: Set<String> = []
    for output in outputs {
      guard defined.contains(output.value), outputNames.insert(output.name).inserted else {
        throw GraphError(
          .malformedGraph, "an output without a value or name of its own", at: output.name)
      }
    }
  }

  private func definedFromOutside() throws -> Set<ValueID> {
    var defined: Set<ValueID> = []
    var names: Set<String> = []
    let ports =
      inputs + parameters.map { Port(name: $0.name, value: $0.value) }
      + states.map { Port(name: $0.name, value: $0.value) }
    for port in ports {
      guard types.indices.contains(port.value.index), defined.insert(port.value).inserted,
        !port.name.isEmpty, names.insert(port.name).inserted
      else {
        throw GraphError(.malformedGraph, "a name or a value is used twice", at: port.name)
      }
    }
    for parameter in parameters {
      try verify(type(of: parameter.value), isOf: .float32, as: "a parameter", at: parameter.name)
    }
    for state in states {
      try verify(
        type(of: state.value), isOf: state.role == .updateCount ? .int64 : .float32,
        as: "a \(state.role.rawValue)", at: state.name)
    }
    return defined
  }

  /// Stores rely on parameters being float32 and on shapes that are known without a plan.
  private func verify(
    _ type: TensorType, isOf elementType: ElementType, as role: String, at name: String
  ) throws {
    guard type.elementType == elementType, type.shape != nil else {
      throw GraphError(
        .invalidShape, "\(role) should be \(elementType.rawValue) of known shape and is \(type)",
        at: name)
    }
  }

  private func verifyTypes(of node: Node, _ known: KnownValues) throws {
    do {
      let expected = try known.outputTypes(of: node, in: self)
      guard expected == node.outputs.map(type(of:)) else {
        throw GraphError(
          .invalidShape, "makes \(expected), not \(node.outputs.map(type(of:)))")
      }
    } catch {
      throw GraphBuilder.place(error, at: node.name)
    }
  }

  /// Running statistics must exist as state of the layer's own channels.
  private func verifyRunningStatistics() throws {
    let types = Dictionary(
      states.map { ($0.name, self.type(of: $0.value)) }, uniquingKeysWith: { first, _ in first })
    for node in nodes {
      guard let running = node.operation.running else { continue }
      let channels = type(of: node.outputs[1]).dimensions
      guard running.mean != running.variance else {
        throw GraphError(
          .malformedGraph, "keeps mean and variance under one name", at: node.name)
      }
      let expected = [
        (running.mean, TensorType(channels)),
        (running.variance, TensorType(type(of: node.outputs[2]).dimensions)),
        (running.updateCount, TensorType(.int64, [Dimension]())),
      ]
      for (name, type) in expected {
        guard types[name] == type else {
          throw GraphError(
            .mismatchedParameters, "lacks its running statistic \(name) of \(type)", at: node.name)
        }
      }
    }
  }
}
