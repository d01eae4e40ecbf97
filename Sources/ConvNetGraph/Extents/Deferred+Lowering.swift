extension Deferred {
  /// What a deferred operation stands for: operations one after the other, the first on the node's first
  /// operand or on none.
  struct Lowering {
    var takesOperand = true
    var operations: [Operation]
  }

  /// The operations that stand for this one.
  ///
  /// Open extents stay open where they do not matter, such as the batch's beside a slice of channels.
  ///
  /// - Throws: `GraphError` where something has to be known first.
  func lowered(_ inputs: [TensorType], known: [KnownTensor?]) throws -> Lowering {
    let result = try outputType(inputs, known: known)
    switch self {
    case .extents(let start, let end):
      let dimensions = inputs[0].dimensions[Deferred.cut(start, end, rank: inputs[0].rank)]
      let extents = try dimensions.map { Int64(try Self.number($0.extent, of: inputs[0])) }
      let constant = Constant(integers: extents, shape: [extents.count])
      return Lowering(takesOperand: false, operations: [.constant(constant)])
    case .reshape(let allowsZero):
      return Lowering(operations: [try reshape(inputs[0], integers(known, 1), allowsZero)])
    case .broadcast: return Lowering(operations: [.broadcast(Broadcast(try integers(known, 1)))])
    case .fill(let value):
      var scalar = value
      scalar.shape = []
      return Lowering(
        takesOperand: false,
        operations: [.constant(scalar), .broadcast(Broadcast(try integers(known, 0)))])
    case .slice:
      let cutting = try concreteRanges(inputs[0], known).filter {
        !$0.isWhole(of: inputs[0].dimensions[$0.axis].extent ?? -1)
      }
      return Lowering(
        operations: cutting.isEmpty ? [Self.identity(inputs[0])] : cutting.map(\.operation))
    case .pad(let mode):
      return Lowering(operations: try Self.pad(inputs[0], integers(known, 1), mode))
    case .resize(let axes):
      let operations = zip(axes, try integers(known, 1)).map { resize, size in
        var resize = resize
        resize.extent = .size(size)
        return Operation.resize(resize)
      }
      return Lowering(operations: operations.isEmpty ? [Self.identity(inputs[0])] : operations)
    case .tile: return Lowering(operations: try Self.tile(inputs[0], integers(known, 1)))
    case .range:
      guard let shape = result.shape,
        let elements = elements(known.compactMap { $0 }, shape),
        let constant = KnownTensor(result.elementType, shape, elements)?.constant
      else { throw GraphError(.invalidAttribute, "the range \(result) is too long or open") }
      return Lowering(takesOperand: false, operations: [.constant(constant)])
    }
  }

  private static func identity(_ x: TensorType) -> Operation {
    .reshape(Reshape(x.dimensions.indices.map { .copy($0) }))
  }

  private static func number(_ extent: Int?, of type: TensorType) throws -> Int {
    guard let extent else {
      throw GraphError(.invalidShape, "the extents of \(type) are not all known")
    }
    return extent
  }

  private func integers(_ known: [KnownTensor?], _ index: Int) throws -> [Int] {
    let elements = try elements(known, index)
    let integers = elements.compactMap(\.integer)
    guard integers.count == elements.count else {
      throw GraphError(
        .invalidShape, "[\(elements.map(\.label).joined(separator: ", "))] are not all known")
    }
    return integers
  }

  private func reshape(
    _ x: TensorType, _ extents: [Int], _ allowsZero: Bool
  ) throws -> Operation {
    let operation = Operation.reshape(
      Reshape(
        extents.enumerated().map { axis, extent in
          extent == -1 ? .rest : extent == 0 && !allowsZero ? .copy(axis) : .fixed(extent)
        }))
    _ = try operation.outputTypes([x])
    return operation
  }

  /// Every axis gets one before it that repeats it.
  private static func tile(_ x: TensorType, _ repeats: [Int]) throws -> [Operation] {
    let merged = try zip(repeats, x.dimensions).enumerated().map { axis, pair in
      pair.0 == 1
        ? Reshape.Extent.copy(2 * axis + 1)
        : .fixed(pair.0.multipliedSaturating(by: try number(pair.1.extent, of: x)))
    }
    return [
      .reshape(Reshape(x.dimensions.indices.flatMap { [.fixed(1), .copy($0)] })),
      .broadcast(Broadcast(repeats.flatMap { [$0, 1] })), .reshape(Reshape(merged)),
    ]
  }

  /// Slices for what is cut, then what is added.
  private static func pad(
    _ x: TensorType, _ pads: [Int], _ mode: Pad.Mode
  ) throws -> [Operation] {
    var operations: [Operation] = []
    for axis in 0..<x.rank where pads[axis] < 0 || pads[axis + x.rank] < 0 {
      let extent = try number(x.dimensions[axis].extent, of: x)
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
    return operations.isEmpty ? [identity(x)] : operations
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
