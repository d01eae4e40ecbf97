import ConvNetGraph

extension ONNXExporter {
  /// An operator on operands stretched to one another, in the order of axes that the first of full rank
  /// is had in.
  func emitElementwise(_ opType: String, _ attributes: [ONNXAttribute] = []) throws {
    let (names, axes) = try alignedInputs()
    finish(emit(opType, names, attributes), axes: axes)
  }

  /// The operands, all in one order of the result's axes.
  private func alignedInputs() throws -> ([String], [Int]) {
    let rank = rank(node.outputs[0])
    let wanted =
      node.inputs.first { self.rank($0) == rank && !isStored($0) }.map { axes(of: $0) }
      ?? Array(0..<rank)
    let plain = Array(0..<rank)
    // An operand of lower rank stands at the last axes; where these move, ones are put before it.
    let movable = node.inputs.allSatisfy {
      self.rank($0) == rank || self.rank($0) == 0 || isStored($0)
    }
    guard wanted != plain, movable else {
      return (try node.inputs.map { try input($0) }, plain)
    }
    let names = try node.inputs.map { value -> String in
      let own = self.rank(value)
      if own == rank { return try input(value, as: wanted) }
      if own == 0 { return try input(value) }
      return try stretchedInput(value, rank: rank, axes: wanted)
    }
    return (names, wanted)
  }

  /// A parameter with ones before its extents, in an order of axes.
  private func stretchedInput(_ value: Graph.ValueID, rank: Int, axes: [Int]) throws -> String {
    let extents = graph.type(of: value).dimensions.compactMap(\.extent)
    let padded = [Int](repeating: 1, count: rank - extents.count) + extents
    var permuted = padded
    for (axis, place) in axes.enumerated() { permuted[place] = padded[axis] }
    // With one extent that is not 1, no element changes its place.
    guard padded.count(where: { $0 != 1 }) <= 1 else {
      let whole = emit("Reshape", [try input(value), constant(padded)])
      return emit("Transpose", [whole], [ints("perm", Transpose(axes).inverse.permutation)])
    }
    return emit("Reshape", [try input(value), constant(permuted)])
  }

  func emitCombine(_ function: BinaryFunction) throws {
    switch function {
    case .add: try emitElementwise("Add")
    case .subtract: try emitElementwise("Sub")
    case .multiply: try emitElementwise("Mul")
    case .divide: try emitElementwise("Div")
    case .maximum: try emitElementwise("Max")
    case .minimum: try emitElementwise("Min")
    case .power: try emitElementwise("Pow")
    case .equal, .greater:
      let (names, axes) = try alignedInputs()
      let truth = emit(function == .equal ? "Equal" : "Greater", names)
      finish(emit("Cast", [truth], [int("to", ONNXDataType.float.rawValue)]), axes: axes)
    case .derivative: throw unsupported("ONNX has no operator for \(function.name)")
    }
  }

  func emitCast(_ type: ElementType) throws {
    let place = try place(node.inputs[0])
    finish(
      emit("Cast", [place.name], [int("to", ONNXDataType(type).rawValue)]), axes: place.axes)
  }

  func emitMap(_ function: UnaryFunction) throws {
    let place = try place(node.inputs[0])
    finish(
      try map(function, place.name, graph.type(of: node.inputs[0]).elementType),
      axes: place.axes)
  }

  /// f(x) of a tensor.
  private func map(
    _ function: UnaryFunction, _ x: String, _ type: ElementType
  ) throws -> String {
    if let name = function.operatorName { return emit(name, [x], function.attributes(self)) }
    switch function {
    case .relu6: return emit("Clip", [x, constant(0, type), constant(6, type)])
    case .clip(let low, let high):
      return emit("Clip", [x, constant(low, type), constant(high, type)])
    case .affine(let scale, let offset):
      if scale == -1, offset == 0 { return emit("Neg", [x]) }
      let scaled = scale == 1 ? x : emit("Mul", [x, constant(scale, type)])
      return offset == 0 && scale != 1 ? scaled : emit("Add", [scaled, constant(offset, type)])
    case .square: return emit("Mul", [x, x])
    case .silu: return emit("Mul", [x, emit("Sigmoid", [x])])
    default: throw unsupported("ONNX has no operator for \(function.name)")
    }
  }
}

extension UnaryFunction {
  /// The operator that is this function.
  fileprivate var operatorName: String? {
    switch self {
    case .relu: "Relu"
    case .leakyRelu: "LeakyRelu"
    case .sigmoid: "Sigmoid"
    case .tanh: "Tanh"
    case .exp: "Exp"
    case .log: "Log"
    case .squareRoot: "Sqrt"
    case .reciprocal: "Reciprocal"
    case .absolute: "Abs"
    case .softplus: "Softplus"
    case .hardSwish: "HardSwish"
    case .hardSigmoid: "HardSigmoid"
    case .elu: "Elu"
    case .gelu, .geluTanh: "Gelu"
    case .erf: "Erf"
    case .floor: "Floor"
    case .ceiling: "Ceil"
    case .round: "Round"
    case .sign: "Sign"
    default: nil
    }
  }

  fileprivate func attributes(_ exporter: ONNXExporter) -> [ONNXAttribute] {
    switch self {
    case .leakyRelu(let slope): [exporter.float("alpha", slope)]
    case .elu(let alpha): [exporter.float("alpha", alpha)]
    case .hardSigmoid(let slope, let offset):
      [exporter.float("alpha", slope), exporter.float("beta", offset)]
    case .geluTanh: [exporter.text("approximate", "tanh")]
    default: []
    }
  }
}

extension Comparison {
  /// The operator that is this relation.
  var operatorName: String {
    switch self {
    case .equal: "Equal"
    case .less: "Less"
    case .lessOrEqual: "LessOrEqual"
    case .greater: "Greater"
    case .greaterOrEqual: "GreaterOrEqual"
    case .and: "And"
    case .or: "Or"
    case .exclusiveOr: "Xor"
    }
  }
}
