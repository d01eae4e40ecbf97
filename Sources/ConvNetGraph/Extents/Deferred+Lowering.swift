extension Deferred {
  /// What a deferred operation stands for: operations one after the other, the first on the node's first
  /// operand or on none.
  struct Lowering {
    var takesOperand = true
    var operations: [Operation]
  }

  /// The operations of concrete extents that stand for this one.
  func lowered(_ inputs: [TensorType], known: [KnownTensor?]) throws -> Lowering {
    let result = try outputType(inputs, known: known)
    guard let shape = result.shape else {
      throw GraphError(.invalidShape, "the extents of \(result) are not all known")
    }
    switch self {
    case .extents(let start, let end):
      let extents = inputs[0].dimensions[Deferred.cut(start, end, rank: inputs[0].rank)]
        .compactMap(\.extent)
      let constant = Constant(integers: extents.map(Int64.init), shape: shape)
      return Lowering(takesOperand: false, operations: [.constant(constant)])
    case .reshape: return Lowering(operations: [Self.reshape(to: shape)])
    case .broadcast: return Lowering(operations: [.broadcast(Broadcast(shape.dimensions))])
    case .fill(let value):
      var scalar = value
      scalar.shape = []
      return Lowering(
        takesOperand: false,
        operations: [.constant(scalar), .broadcast(Broadcast(shape.dimensions))])
    case .slice:
      let ranges = try concreteRanges(inputs[0], known)
      let cutting = ranges.filter { !$0.isWhole(of: inputs[0].dimensions[$0.axis].extent ?? -1) }
      return Lowering(
        operations: cutting.isEmpty ? [Self.reshape(to: shape)] : cutting.map(\.operation))
    case .pad(let mode):
      let pads = try elements(known, 1).map { $0.integer ?? 0 }
      return Lowering(operations: Self.pad(inputs[0], pads, mode, to: shape))
    case .resize(let axes):
      let sizes = try elements(known, 1).map { $0.integer ?? 0 }
      let operations = zip(axes, sizes).map { resize, size in
        var resize = resize
        resize.extent = .size(size)
        return Operation.resize(resize)
      }
      return Lowering(operations: operations.isEmpty ? [Self.reshape(to: shape)] : operations)
    case .tile:
      let extents = inputs[0].dimensions.compactMap(\.extent)
      let repeats = try elements(known, 1).map { $0.integer ?? 0 }
      // Every axis gets one before it that repeats it.
      return Lowering(operations: [
        .reshape(Reshape(extents.flatMap { [.fixed(1), .fixed($0)] })),
        .broadcast(Broadcast(zip(repeats, extents).flatMap { [$0, $1] })),
        Self.reshape(to: shape),
      ])
    case .range:
      let tensors = known.compactMap { $0 }
      guard let elements = elements(tensors, shape),
        let constant = KnownTensor(result.elementType, shape, elements)?.constant
      else { throw GraphError(.invalidAttribute, "a range of \(shape.count) numbers is too long") }
      return Lowering(takesOperand: false, operations: [.constant(constant)])
    }
  }

  private static func reshape(to shape: Shape) -> Operation {
    .reshape(Reshape(shape.dimensions.map { .fixed($0) }))
  }

  /// Slices for what is cut, then what is added.
  private static func pad(
    _ x: TensorType, _ pads: [Int], _ mode: Pad.Mode, to shape: Shape
  ) -> [Operation] {
    var operations: [Operation] = []
    for axis in 0..<x.rank where pads[axis] < 0 || pads[axis + x.rank] < 0 {
      let extent = x.dimensions[axis].extent ?? 0
      operations.append(
        .slice(
          Slice(
            axis: axis, start: max(-pads[axis], 0), end: extent + min(pads[axis + x.rank], 0))))
    }
    let before = pads.prefix(x.rank).map { max($0, 0) }
    let after = pads.suffix(x.rank).map { max($0, 0) }
    if (before + after).contains(where: { $0 > 0 }) {
      operations.append(.pad(Pad(before: before, after: after, mode: mode)))
    }
    return operations.isEmpty ? [reshape(to: shape)] : operations
  }

  /// The ranges of a slice; nil while an extent or an attribute is a symbol.
  func ranges(_ x: TensorType, _ known: [KnownTensor?]) -> [AxisRange]? {
    let operands = known.dropFirst().compactMap { $0?.elements }
    guard operands.count == 4 else { return nil }
    var ranges: [AxisRange] = []
    for index in operands[0].indices {
      let numbers = operands.compactMap { $0.indices.contains(index) ? $0[index].integer : nil }
      guard numbers.count == 4, let axis = try? x.normalizedAxis(numbers[2]),
        let extent = x.dimensions[axis].extent,
        let range = AxisRange(
          axis: axis, extent: extent, start: numbers[0], end: numbers[1], step: numbers[3])
      else { return nil }
      ranges.append(range)
    }
    return ranges
  }

  private func concreteRanges(_ x: TensorType, _ known: [KnownTensor?]) throws -> [AxisRange] {
    guard let ranges = ranges(x, known) else {
      throw GraphError(.invalidAttribute, "a slice of \(x) with a step of 0 or an axis it lacks")
    }
    guard Set(ranges.map(\.axis)).count == ranges.count else {
      throw GraphError(.invalidAttribute, "a slice names an axis of \(x) twice")
    }
    return ranges
  }
}
