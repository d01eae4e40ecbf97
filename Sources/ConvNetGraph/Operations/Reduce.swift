/// What a reduction makes of many numbers.
public enum Reduction: String, Hashable, Sendable, Codable {
  /// Their sum.
  case sum
  /// Their mean.
  case mean
  /// The largest; NaN where one is NaN.
  case maximum
  /// The smallest; NaN where one is NaN.
  case minimum
}

/// A reduction over some axes of float32 or float64.
package struct Reduce: Hashable, Sendable, Codable {
  package var reduction: Reduction
  /// The axes to reduce; negative ones count from the back.
  package var axes: [Int]
  /// Whether a reduced axis stays, with extent 1.
  package var keepsAxes: Bool

  package init(_ reduction: Reduction, axes: [Int], keepsAxes: Bool = false) {
    self.reduction = reduction
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  /// The axes to reduce of a type, counted from the front, in rising order.
  package func normalizedAxes(of type: TensorType) throws -> [Int] {
    let positive = try axes.map { try type.normalizedAxis($0) }.sorted()
    guard Set(positive).count == positive.count else {
      throw GraphError(.invalidAttribute, "axes \(axes) name one axis of \(type) twice")
    }
    return positive
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.take(inputs, count: 1)[0]
    guard x.elementType.isFloatingPoint else {
      throw GraphError(.invalidElementType, "reduces floating-point operands, not \(x)")
    }
    return try reducedType(x)
  }

  func expandedType(_ inputs: [TensorType]) throws -> TensorType {
    guard reduction == .sum || reduction == .mean else {
      throw GraphError(
        .invalidAttribute, "expands a sum or a mean, which a \(reduction.rawValue) is not")
    }
    let operands = try Operation.take(inputs, count: 2)
    try Operation.expect(operands[0], toBe: reducedType(operands[1]), as: "the reduced operand")
    return operands[1]
  }

  private func reducedType(_ x: TensorType) throws -> TensorType {
    let reduced = try Set(normalizedAxes(of: x))
    if reduction == .maximum || reduction == .minimum {
      for axis in reduced where x.dimensions[axis] == .fixed(0) {
        throw GraphError(.invalidShape, "an empty axis of \(x) has no \(reduction.rawValue)")
      }
    }
    var dimensions: [Dimension] = []
    for (axis, dimension) in x.dimensions.enumerated() {
      if !reduced.contains(axis) {
        dimensions.append(dimension)
      } else if keepsAxes {
        dimensions.append(.fixed(1))
      }
    }
    return TensorType(x.elementType, dimensions)
  }
}
