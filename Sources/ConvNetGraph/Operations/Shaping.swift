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

/// A part of a tensor along one axis: the elements at `start`, `start` + `step` and so on that come before
/// `end`.
///
/// A negative step walks down: 0 ≤ `start` is the highest element, and `end`, which is not reached, the one
/// below the lowest, −1 for all of them. `Slice(axis: 0, start: n − 1, end: -1, step: -1)` reverses n.
package struct Slice: Hashable, Sendable, Codable {
  package var axis: Int
  package var start: Int
  package var end: Int
  package var step: Int

  package init(axis: Int, start: Int, end: Int, step: Int = 1) {
    self.axis = axis
    self.start = start
    self.end = end
    self.step = step
  }

  /// Reads a slice; one without a step takes neighbours, as all did once.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    axis = try container.decode(Int.self, forKey: .axis)
    start = try container.decode(Int.self, forKey: .start)
    end = try container.decode(Int.self, forKey: .end)
    step = try container.decodeIfPresent(Int.self, forKey: .step) ?? 1
  }

  /// How many elements the slice has.
  package var count: Int {
    let distance = step > 0 ? end - start : start - end
    return distance > 0 ? (distance - 1) / Int(clamping: step.magnitude) + 1 : 0
  }

  /// From one element to the next; 1 where there is no next one.
  package var stride: Int { count > 1 ? step : 1 }

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
    // The distance of both ends stays within the integers.
    let isRange = step > 0 ? 0 <= start && start <= end : -1 <= end && end <= start && start < .max
    guard step != 0, isRange else {
      throw GraphError(
        .invalidAttribute, "a slice from \(start) to \(end) by \(step) is not a range")
    }
    let last = step > 0 ? end : start + 1
    if let extent = x.dimensions[axis].extent, last > extent {
      throw GraphError(.invalidShape, "a slice up to \(last) passes axis \(axis) of \(x)")
    }
    var result = x
    result.dimensions[axis] = .fixed(count)
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
