/// Tensors joined along one axis.
package struct Concatenate: Hashable, Sendable, Codable {
  package var axis: Int

  package init(axis: Int) { self.axis = axis }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    guard let first = inputs.first else {
      throw GraphError(.malformedGraph, "a concatenation takes at least one operand")
    }
    let axis = try first.normalizedAxis(axis)
    for other in inputs.dropFirst() {
      var aligned = other
      guard other.rank == first.rank else {
        throw GraphError(.invalidShape, "cannot concatenate \(first) and \(other)")
      }
      aligned.dimensions[axis] = first.dimensions[axis]
      guard aligned == first else {
        throw GraphError(
          .invalidShape, "cannot concatenate \(first) and \(other) along axis \(axis)")
      }
    }
    var result = first
    result.dimensions[axis] = .sum(inputs.map { $0.dimensions[axis] })
    return result
  }
}

/// A part of a tensor along one axis, from `start` up to and without `end`.
package struct Slice: Hashable, Sendable, Codable {
  package var axis: Int
  package var start: Int
  package var end: Int

  package init(axis: Int, start: Int, end: Int) {
    self.axis = axis
    self.start = start
    self.end = end
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    try slicedType(Operation.take(inputs, count: 1)[0])
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    try Operation.expect(operands[0], toBe: slicedType(operands[1]), as: "the slice's gradient")
    return operands[1]
  }

  private func slicedType(_ x: TensorType) throws -> TensorType {
    let axis = try x.normalizedAxis(axis)
    guard start >= 0, start <= end else {
      throw GraphError(.invalidAttribute, "a slice from \(start) to \(end) is not a range")
    }
    if let extent = x.dimensions[axis].extent, end > extent {
      throw GraphError(.invalidShape, "a slice up to \(end) passes axis \(axis) of \(x)")
    }
    var result = x
    result.dimensions[axis] = .fixed(end - start)
    return result
  }
}

/// The same elements, in the same order, under another shape.
package struct Reshape: Hashable, Sendable, Codable {
  /// One extent of the result.
  package enum Extent: Hashable, Sendable, Codable {
    /// A number.
    case fixed(Int)
    /// The extent of the operand's axis of this number; each axis at most once.
    case copy(Int)
    /// Whatever is left; at most once.
    case rest
  }

  package var extents: [Extent]

  package init(_ extents: [Extent]) { self.extents = extents }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.take(inputs, count: 1)[0]
    guard extents.count(where: { $0 == .rest }) <= 1 else {
      throw GraphError(.invalidAttribute, "a reshape can leave one extent open, not several")
    }
    // An axis that is copied leaves the pool, so that an extent of 0 can be copied; the rest is what
    // the pool holds, divided by the extents given as numbers.
    var copied: Set<Int> = []
    var fixed = 1
    var known: [Dimension?] = []
    for extent in extents {
      switch extent {
      case .fixed(let number):
        guard number >= 0 else {
          throw GraphError(.invalidAttribute, "a reshape to an extent of \(number)")
        }
        known.append(.fixed(number))
        fixed = fixed.multipliedReportingOverflow(by: number).partialValue
      case .copy(let axis):
        let axis = try x.normalizedAxis(axis)
        guard copied.insert(axis).inserted else { throw mismatch(x) }
        known.append(x.dimensions[axis])
      case .rest: known.append(nil)
      }
    }
    let left = x.dimensions.indices.filter { !copied.contains($0) }.map { x.dimensions[$0] }
    let symbols = left.filter { $0.extent == nil }
    let count = left.compactMap(\.extent).reduce(1, *)
    let rest: Dimension
    if known.contains(nil) {
      guard fixed > 0, count % fixed == 0 else { throw mismatch(x) }
      rest = .product(symbols + [.fixed(count / fixed)])
    } else {
      guard symbols.isEmpty, fixed == count else { throw mismatch(x) }
      rest = .fixed(1)
    }
    return TensorType(x.elementType, known.map { $0 ?? rest })
  }

  /// The type of a reshape to the shape of a second operand.
  static func outputType(like inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    if let from = operands[0].shape, let to = operands[1].shape, from.count != to.count {
      throw GraphError(.invalidShape, "\(operands[0]) cannot take the shape of \(operands[1])")
    }
    return TensorType(operands[0].elementType, operands[1].dimensions)
  }

  private func mismatch(_ x: TensorType) -> GraphError {
    GraphError(.invalidShape, "\(x) cannot be reshaped to \(extents)")
  }
}

/// Axes in another order: axis i of the result is axis `permutation[i]` of the operand.
package struct Transpose: Hashable, Sendable, Codable {
  package var permutation: [Int]

  package init(_ permutation: [Int]) { self.permutation = permutation }

  /// The permutation that undoes this one.
  package var inverse: Transpose {
    var inverse = permutation
    for (to, from) in permutation.enumerated() { inverse[from] = to }
    return Transpose(inverse)
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.take(inputs, count: 1)[0]
    guard permutation.sorted() == Array(0..<x.rank) else {
      throw GraphError(.invalidAttribute, "\(permutation) is not an order of the axes of \(x)")
    }
    return TensorType(x.elementType, permutation.map { x.dimensions[$0] })
  }
}
