extension Graph {
  /// The last layer with weights: what makes a classifier's logits of its features.
  private struct Head {
    var node: Int
    /// The parameter that holds its weight, and those that are added to its result.
    var weight: ValueID
    var biases: [ValueID]
  }

  /// The network with another number of classes: the parameters of its last dense layer or convolution
  /// have as many outputs, and all types behind it follow.
  ///
  /// The new parameters keep their names and train. A dense layer that reads its weight transposed reads
  /// it `[in, classes]` from now on.
  ///
  /// - Returns: the network and the names of the parameters that need new values.
  /// - Throws: `GraphError` where no layer, or more than one, makes the output, or where layers with
  ///   parameters or state of their own stand between it and the output.
  package func replacingHead(classes: Int) throws -> (graph: Graph, replaced: [String]) {
    guard classes >= 1 else {
      throw GraphError(.invalidAttribute, "a classifier cannot have \(classes) classes")
    }
    guard
      let output = outputs.count == 1 ? outputs[0] : outputs.first(where: { $0.name == "output" })
    else {
      let names = outputs.map(\.name).joined(separator: ", ")
      throw GraphError(.malformedGraph, "none of the outputs \(names) is known to be the logits")
    }
    let head = try head(of: output)
    var graph = self
    let node = nodes[head.node]
    let old = type(of: node.outputs[0]).dimensions.last
    var extents = (type(of: head.weight).shape ?? []).dimensions
    if case .matrixMultiply(let multiply) = node.operation, multiply.transposesRight {
      extents.reverse()
      graph.nodes[head.node].operation = .matrixMultiply(
        MatrixMultiply(transposesLeft: multiply.transposesLeft))
    }
    extents[extents.count - 1] = classes
    graph.types[head.weight.index] = TensorType(.float32, try Shape(checking: extents))
    for bias in head.biases { graph.types[bias.index] = TensorType(.float32, [classes] as Shape) }
    let replaced = graph.parameters.indices.filter {
      let value = graph.parameters[$0].value
      return value == head.weight || head.biases.contains(value)
    }
    for index in replaced { graph.parameters[index].isTrainable = true }
    try graph.inferTypes(from: head.node, replacing: old?.extent, by: classes)
    guard graph.type(of: output.value).dimensions.last == .fixed(classes) else {
      throw GraphError(
        .invalidShape, "\(graph.type(of: output.value)) has no axis of \(classes) classes",
        at: output.name)
    }
    try graph.verify()
    return (graph, replaced.map { graph.parameters[$0].name })
  }

  /// Finds the layer that makes an output.
  private func head(of output: Port) throws -> Head {
    let (producers, readers) = (producers, readers)
    let own = Set(parameters.map(\.value) + states.map(\.value))
    var (found, biases): ([Int], [ValueID]) = ([], [])
    var pending = [output.value]
    var seen: Set<ValueID> = []
    while let value = pending.popLast() {
      guard seen.insert(value).inserted, let index = producers[value.index] else { continue }
      let node = nodes[index]
      switch node.operation {
      case .matrixMultiply where own.contains(node.inputs[1]): found.append(index)
      case .convolution(let a) where a.groups == 1 && own.contains(node.inputs[1]):
        found.append(index)
      case .combine(.add):
        biases += node.inputs.filter { own.contains($0) && type(of: $0).rank == 1 }
        fallthrough
      default:
        guard node.inputs.allSatisfy({ !own.contains($0) || biases.contains($0) }) else {
          throw GraphError(
            .malformedGraph,
            "a head that can be replaced is a dense layer or a convolution right before "
              + "“\(output.name)”, and this layer has parameters of its own", at: node.name)
        }
        let shapeOnly = node.operation.shapeOnlyInputs
        pending += node.inputs.indices.filter { !shapeOnly.contains($0) }.map { node.inputs[$0] }
      }
    }
    guard let index = found.first, found.count == 1 else {
      let names = found.map { nodes[$0].name }.sorted().joined(separator: ", ")
      throw GraphError(
        .malformedGraph,
        found.isEmpty
          ? "no dense layer or convolution makes this output, so there is no head to replace"
          : "the layers \(names) make this output together, so there is no one head to replace",
        at: output.name)
    }
    let head = Head(
      node: index, weight: nodes[index].inputs[1],
      biases: biases + nodes[index].inputs.dropFirst(2))
    for value in [head.weight] + head.biases where readers[value.index].count != 1 {
      throw GraphError(
        .malformedGraph, "its parameters serve other layers, too, and cannot be replaced",
        at: nodes[index].name)
    }
    return head
  }

  /// Infers the types of a node and what follows from it; where a shape behind it names the old number
  /// of classes, the new one takes its place.
  private mutating func inferTypes(from start: Int, replacing old: Int?, by new: Int) throws {
    var behind = Set(nodes[start].outputs)
    for index in start..<nodes.count
    where index == start || !behind.isDisjoint(with: nodes[index].inputs) {
      if case .reshape(let reshape) = nodes[index].operation, let old,
        behind.contains(nodes[index].inputs[0])
      {
        let extents = reshape.extents.map { $0 == .fixed(old) ? .fixed(new) : $0 }
        nodes[index].operation = .reshape(Reshape(extents))
      }
      behind.formUnion(nodes[index].outputs)
      do {
        let inferred = try nodes[index].operation.outputTypes(nodes[index].inputs.map(type(of:)))
        for (output, type) in zip(nodes[index].outputs, inferred) { types[output.index] = type }
      } catch {
        throw GraphBuilder.place(error, at: nodes[index].name)
      }
    }
  }
}
