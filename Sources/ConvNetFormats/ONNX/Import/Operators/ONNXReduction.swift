import ConvNetGraph

extension ONNXOperators {
  /// Reductions over axes, and what is normalised by one.
  static let reduction: [String: ONNXOperator] = [
    "ReduceMean": one { try reduce($0, .mean) },
    "ReduceSum": one { try reduce($0, .sum) },
    "ReduceMax": one { try reduce($0, .maximum) },
    "ReduceMin": one { try reduce($0, .minimum) },
    "ReduceSumSquare": one { try reduce($0, .sum, before: .square) },
    "ReduceL1": one { try reduce($0, .sum, before: .absolute) },
    "ReduceL2": one { try reduce($0, .sum, before: .square, after: .squareRoot) },
    "ReduceLogSum": one { try reduce($0, .sum, after: .log) },
    "Softmax": one { try softmax($0) },
    "LogSoftmax": one { try logSoftmax($0) },
  ]

  private static func reduce(
    _ node: ONNXNodeImporter, _ reduction: Reduction, before: UnaryFunction? = nil,
    after: UnaryFunction? = nil
  ) throws -> Graph.ValueID {
    var x = try node.input(0)
    let type = node.builder.type(of: x)
    let given = try node.axes(operand: 1) ?? []
    let isIdentity = try given.isEmpty && node.bool("noop_with_empty_axes")
    let keepsAxes = try node.bool("keepdims", default: true)
    if let before { x = try node.map(before, x) }
    if !isIdentity {
      let axes = given.isEmpty ? Array(0..<type.rank) : given
      if let empty = try emptyExtreme(node, type, axes, reduction, keepsAxes) { return empty }
      let operation = Operation.reduce(Reduce(reduction, axes: axes, keepsAxes: keepsAxes))
      if type.elementType.isFloatingPoint {
        x = try node.add(operation, x)
      } else {
        // Integers of up to 53 bits are exact on the way.
        x = try node.add(
          .cast(type.elementType), node.add(operation, node.add(.cast(.float64), x)))
      }
    }
    return try after.map { try node.map($0, x) } ?? x
  }

  /// The largest or smallest of nothing: what changes no other number.
  private static func emptyExtreme(
    _ node: ONNXNodeImporter, _ type: TensorType, _ axes: [Int], _ reduction: Reduction,
    _ keepsAxes: Bool
  ) throws -> Graph.ValueID? {
    let reduced = Set(try axes.map { try node.axis($0, of: type) })
    guard reduction == .maximum || reduction == .minimum,
      reduced.contains(where: { type.dimensions[$0] == .fixed(0) })
    else { return nil }
    let extents = type.dimensions.indices.compactMap { axis -> Int? in
      guard reduced.contains(axis) else { return type.dimensions[axis].extent ?? -1 }
      return keepsAxes ? 1 : nil
    }
    guard !extents.contains(-1) else {
      throw node.unsupported("an empty reduction to open extents")
    }
    let isLargest = reduction == .maximum
    let least: Constant
    switch type.elementType {
    case .float32, .float64:
      least = Constant(
        numbers: [isLargest ? -.infinity : .infinity], shape: [], elementType: type.elementType)
    case .bool: least = Constant(integers: [isLargest ? 0 : 1], shape: [], elementType: .bool)
    case .uint8: least = Constant(integers: [isLargest ? 0 : 255], shape: [], elementType: .uint8)
    case .int32:
      let bound = Int64(isLargest ? Int32.min : Int32.max)
      least = Constant(integers: [bound], shape: [], elementType: .int32)
    case .int64: least = Constant(integers: [isLargest ? .min : .max], shape: [])
    }
    return try node.add(.broadcast(Broadcast(extents)), node.add(.constant(least), [])[0])
  }

  /// The axis of a softmax: before operator set 13 all axes from it on count as one.
  private static func softmaxAxis(
    _ node: ONNXNodeImporter, _ type: TensorType
  ) throws -> (axis: Int, isFlattened: Bool) {
    let isOld = node.opset < 13
    let axis = try node.axis(node.int("axis", default: isOld ? 1 : -1), of: type)
    return (axis, isOld && axis < type.rank - 1)
  }

  private static func softmax(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let (axis, isFlattened) = try softmaxAxis(node, type)
    if isFlattened {
      let rows = try node.add(.reshape(Reshape((0..<axis).map { .copy($0) } + [.rest])), x)
      return try node.add(.reshapeLike, node.add(.softmax, rows), x)
    }
    guard axis < type.rank - 1 else { return try node.add(.softmax, x) }
    var order = Array(0..<type.rank)
    order.swapAt(axis, type.rank - 1)
    let transpose = Operation.transpose(Transpose(order))
    return try node.add(transpose, node.add(.softmax, node.add(transpose, x)))
  }

  /// x − m − log Σ exp(x − m), with m the largest x.
  private static func logSoftmax(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let (axis, isFlattened) = try softmaxAxis(node, type)
    let axes = isFlattened ? Array(axis..<type.rank) : [axis]
    let largest = try node.add(.reduce(Reduce(.maximum, axes: axes, keepsAxes: true)), x)
    let shifted = try node.combine(.subtract, x, largest)
    let sum = try node.add(
      .reduce(Reduce(.sum, axes: axes, keepsAxes: true)), node.map(.exp, shifted))
    return try node.combine(.subtract, shifted, node.map(.log, sum))
  }
}
