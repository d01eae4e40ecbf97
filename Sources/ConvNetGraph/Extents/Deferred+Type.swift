extension Deferred {
  /// The type of the result, from what is known of the operands.
  func outputType(_ inputs: [TensorType], known: [KnownTensor?]) throws -> TensorType {
    switch self {
    case .extents(let start, let end):
      let x = try Operation.take(inputs, count: 1)[0]
      return TensorType(.int64, [.fixed(Deferred.cut(start, end, rank: x.rank).count)])
    case .reshape(let allowsZero):
      let x = try Operation.take(inputs, count: 2)[0]
      return TensorType(
        x.elementType, try reshaped(x, to: elements(known, 1), allowsZero: allowsZero))
    case .broadcast:
      let x = try Operation.take(inputs, count: 2)[0]
      let target = TensorType(x.elementType, try dimensions(known, 1))
      return TensorType(x.elementType, try TensorType.broadcast([x, target]))
    case .fill(let value):
      _ = try Operation.take(inputs, count: 1)
      return TensorType(value.elementType, try dimensions(known, 0))
    case .slice:
      let x = try Operation.take(inputs, count: 5)[0]
      return try slicedType(x, known)
    case .pad:
      let x = try Operation.take(inputs, count: 2)[0]
      return try paddedType(x, elements(known, 1))
    case .resize(let axes):
      let x = try Operation.take(inputs, count: 2)[0]
      let sizes = try dimensions(known, 1)
      guard sizes.count == axes.count else {
        throw GraphError(.invalidShape, "\(sizes.count) sizes do not fit \(axes.count) axes")
      }
      var result = x
      for (resize, size) in zip(axes, sizes) {
        result.dimensions[try x.normalizedAxis(resize.axis)] = size
      }
      return result
    case .tile:
      let x = try Operation.take(inputs, count: 2)[0]
      let repeats = try dimensions(known, 1)
      guard repeats.count == x.rank else {
        throw GraphError(.invalidShape, "\(repeats.count) repeats do not fit \(x)")
      }
      return TensorType(x.elementType, zip(x.dimensions, repeats).map { .product([$0, $1]) })
    case .range:
      let start = try Operation.take(inputs, count: 3)[0]
      let bounds = try (0..<3).map { try elements(known, $0) }
      guard bounds.allSatisfy({ $0.count == 1 }) else {
        throw GraphError(.invalidShape, "a range takes scalars")
      }
      let labels = bounds.map(\.[0].label).joined(separator: ",")
      return TensorType(
        start.elementType, [try rangeCount(bounds.map(\.[0])) ?? .symbol("range(\(labels))")])
    }
  }

  /// The elements of a small result that is itself arithmetic on extents.
  func elements(_ known: [KnownTensor], _ shape: Shape) -> [KnownTensor.Element]? {
    switch self {
    case .broadcast: return known[0].stretched(to: shape)
    case .fill(let value):
      guard let element = KnownTensor(value)?.elements.first else { return nil }
      return [KnownTensor.Element](repeating: element, count: shape.count)
    case .range:
      guard let start = known[0].elements.first, let step = known[2].elements.first else {
        return nil
      }
      if let start = start.integer, let step = step.integer,
        !known[0].elementType.isFloatingPoint
      {
        return (0..<shape.count).map { .integer(Int64(start &+ $0 &* step)) }
      }
      guard let start = start.number, let step = step.number else { return nil }
      return (0..<shape.count).map { .real(start + Double($0) * step) }
    case .slice:
      guard known[0].shape.rank == 1, let range = ranges(known[0].type, known.map { $0 })?.first
      else { return nil }
      return range.positions.map { known[0].elements[$0] }
    case .extents, .reshape, .pad, .resize, .tile: return nil
    }
  }

  /// The positions `start` up to `end` among a rank, both cut to it.
  package static func cut(_ start: Int, _ end: Int?, rank: Int) -> Range<Int> {
    func clamp(_ position: Int) -> Int {
      min(max(position < 0 ? position + rank : position, 0), rank)
    }
    let first = clamp(start)
    return first..<max(first, clamp(end ?? rank))
  }

  // MARK: Operands

  func elements(_ known: [KnownTensor?], _ index: Int) throws -> [KnownTensor.Element] {
    guard let tensor = known[index] else {
      throw GraphError(
        .invalidShape, "needs operand \(index) when the plan is made, and it depends on data")
    }
    return tensor.elements
  }

  /// An operand as extents, none negative.
  private func dimensions(_ known: [KnownTensor?], _ index: Int) throws -> [Dimension] {
    try elements(known, index).map { element in
      guard let dimension = element.dimension else {
        throw GraphError(.invalidShape, "an extent of \(element.label)")
      }
      return dimension
    }
  }

  // MARK: Types

  /// The extents after a reshape: what is left for −1 are the operand's extents that are not among the
  /// others.
  private func reshaped(
    _ x: TensorType, to elements: [KnownTensor.Element], allowsZero: Bool
  ) throws -> [Dimension] {
    let misfit = GraphError(
      .invalidShape,
      "\(x) cannot be reshaped to [\(elements.map(\.label).joined(separator: ", "))]")
    var result: [Dimension?] = []
    for (axis, element) in elements.enumerated() {
      switch element {
      case .integer(-1):
        guard !result.contains(nil) else { throw misfit }
        result.append(nil)
      case .integer(0) where !allowsZero:
        guard axis < x.rank else { throw misfit }
        result.append(x.dimensions[axis])
      default:
        guard let dimension = element.dimension else { throw misfit }
        result.append(dimension)
      }
    }
    // Equal extents cancel, by name and by number.
    var left = x.dimensions
    var others: [Dimension] = []
    for dimension in result.compactMap({ $0 }) {
      if let index = left.firstIndex(of: dimension) {
        left.remove(at: index)
      } else {
        others.append(dimension)
      }
    }
    let (count, divisor) = (Dimension.product(left), Dimension.product(others))
    guard result.contains(nil) else {
      if let count = count.extent, let divisor = divisor.extent, count != divisor { throw misfit }
      return result.compactMap { $0 }
    }
    let rest: Dimension
    switch (count, divisor) {
    case (.fixed(let count), .fixed(let divisor)):
      guard divisor > 0, count % divisor == 0 else { throw misfit }
      rest = .fixed(count / divisor)
    case (_, .fixed(1)): rest = count
    default: rest = .symbol("(\(count)/\(divisor))")
    }
    return result.map { $0 ?? rest }
  }

  private func slicedType(_ x: TensorType, _ known: [KnownTensor?]) throws -> TensorType {
    let operands = try (1..<5).map { try elements(known, $0) }
    guard Set(operands.map(\.count)).count == 1 else {
      throw GraphError(.invalidShape, "starts, ends, axes and steps of a slice differ in number")
    }
    if let ranges = ranges(x, known) {
      var result = x
      for range in ranges { result.dimensions[range.axis] = .fixed(range.count) }
      return result
    }
    var result = x
    for index in operands[0].indices {
      guard let number = operands[2][index].integer else {
        throw GraphError(.invalidShape, "the axes of a slice depend on extents")
      }
      let axis = try x.normalizedAxis(number)
      let (start, end, step) = (operands[0][index], operands[1][index], operands[3][index])
      let isWhole =
        start == .integer(0) && step == .integer(1) && (end.integer ?? 0) >= Int(Int32.max)
      if isWhole { continue }
      if start == .integer(0), step == .integer(1), case .symbol(let name) = end {
        // A cut to an extent that is another's, such as the beginning of a table of positions.
        result.dimensions[axis] = .symbol(name)
      } else {
        result.dimensions[axis] = .symbol(
          "slice(\(x.dimensions[axis]),\(start.label),\(end.label),\(step.label))")
      }
    }
    return result
  }

  private func paddedType(_ x: TensorType, _ pads: [KnownTensor.Element]) throws -> TensorType {
    guard pads.count == 2 * x.rank else {
      throw GraphError(.invalidShape, "\(pads.count) paddings do not fit \(x)")
    }
    var result = x
    for axis in 0..<x.rank {
      let (before, after) = (pads[axis], pads[axis + x.rank])
      if let before = before.integer, let after = after.integer {
        guard before.magnitude <= 1 << 24, after.magnitude <= 1 << 24 else {
          throw GraphError(.invalidAttribute, "paddings \(before) and \(after) are too large")
        }
        let sum = before + after
        if let extent = x.dimensions[axis].extent {
          guard extent + sum >= 0 else {
            throw GraphError(.invalidShape, "paddings \(before) and \(after) cut all of \(x)")
          }
          result.dimensions[axis] = .fixed(extent + sum)
        } else if sum > 0 {
          result.dimensions[axis] = .sum([x.dimensions[axis], .fixed(sum)])
        } else if sum < 0 {
          result.dimensions[axis] = .symbol("\(x.dimensions[axis])\(sum)")
        }
      } else {
        result.dimensions[axis] = .symbol(
          "pad(\(x.dimensions[axis]),\(before.label),\(after.label))")
      }
    }
    return result
  }

  private func rangeCount(_ bounds: [KnownTensor.Element]) throws -> Dimension? {
    let numbers = bounds.compactMap(\.number)
    guard numbers.count == 3 else {
      let isCount = bounds[0] == .integer(0) && bounds[2] == .integer(1)
      return isCount ? bounds[1].dimension : nil
    }
    let count = max(((numbers[1] - numbers[0]) / numbers[2]).rounded(.up), 0)
    guard numbers[2] != 0, count <= Double(Constant.limit) else {
      throw GraphError(
        .invalidAttribute, "a range from \(numbers[0]) to \(numbers[1]) by \(numbers[2])")
    }
    return .fixed(Int(count))
  }
}

extension KnownTensor {
  var type: TensorType { TensorType(elementType, shape) }
}
