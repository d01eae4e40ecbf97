extension Graph {
  /// The graph with image inputs `[N, C, H, W]` taken as `[N, H, W, C]`, as imported networks need it to work
  /// on this package's images.
  ///
  /// - Throws: `GraphError` where there is no input of a name, or one that is not of four dimensions.
  package func takingChannelsLast(_ names: [String]) throws -> Graph {
    var graph = self
    for name in names {
      guard let index = graph.inputs.firstIndex(where: { $0.name == name }) else {
        throw GraphError(.malformedGraph, "there is no input of this name", at: name)
      }
      let old = graph.inputs[index].value
      let type = graph.type(of: old)
      guard type.rank == 4 else {
        throw GraphError(.invalidShape, "is \(type), which are no images", at: name)
      }
      graph.types.append(
        TensorType(type.elementType, [0, 2, 3, 1].map { type.dimensions[$0] }))
      let new = ValueID(graph.types.count - 1)
      graph.inputs[index].value = new
      graph.nodes.insert(
        Node(
          name: "\(name)|channelsFirst", operation: .transpose(Transpose([0, 3, 1, 2])),
          inputs: [new], outputs: [old]), at: 0)
    }
    // What follows the input undoes the transpose as a rule.
    return try RemoveUnused(keepsUpdates: true).apply(to: MoveTransposes().apply(to: graph))
  }
}

extension Model {
  /// The model with image inputs `[N, C, H, W]`, as ONNX models have them, taken as `[N, H, W, C]`.
  ///
  /// - Parameter names: the inputs.
  /// - Throws: `GraphError` where there is no input of a name, or one that is not of four dimensions.
  public func takingChannelsLast(_ names: [String]) throws -> Model {
    try Model(
      graph: graph.takingChannelsLast(names), parameters: parameters, state: state,
      metadata: metadata)
  }

  /// The model for images of a shape `[N, H, W, C]`: inputs that fit them channels first, and only so, are
  /// turned.
  ///
  /// A shape that is not of four dimensions leaves the model as it is.
  ///
  /// - Throws: `GraphError` where the turned network cannot be.
  public func fitting(images: Shape) throws -> Model {
    guard images.rank == 4 else { return self }
    let extents = Array(images.dimensions.dropFirst())
    func fits(_ type: TensorType, _ extents: [Int]) -> Bool {
      zip(type.dimensions.dropFirst(), extents).allSatisfy { $0.extent == nil || $0.extent == $1 }
    }
    let names = graph.inputs.filter { port in
      let type = graph.type(of: port.value)
      guard type.rank == 4, type.elementType == .float32 else { return false }
      return !fits(type, extents) && fits(type, [extents[2], extents[0], extents[1]])
    }.map(\.name)
    return names.isEmpty ? self : try takingChannelsLast(names)
  }
}
