/// Relations of two numbers or truth values, applied to broadcast operands of one type.
///
/// The result is `bool`. NaN is equal to nothing and in no order.
package enum Comparison: String, Hashable, Sendable, Codable {
  case equal, less, lessOrEqual, greater, greaterOrEqual
  /// Logic of truth values.
  case and, or, exclusiveOr

  /// Whether the operands are truth values.
  package var isLogical: Bool {
    switch self {
    case .equal, .less, .lessOrEqual, .greater, .greaterOrEqual: false
    case .and, .or, .exclusiveOr: true
    }
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    guard operands[0].elementType == operands[1].elementType,
      !isLogical || operands[0].elementType == .bool
    else {
      throw GraphError(
        .invalidElementType, "\(rawValue) cannot compare \(operands[0]) and \(operands[1])")
    }
    return TensorType(.bool, try TensorType.broadcast(operands))
  }
}

extension Operation {
  /// condition ? a : b, all three broadcast; a and b of one type.
  func selectType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 3)
    guard operands[0].elementType == .bool, operands[1].elementType == operands[2].elementType
    else {
      throw GraphError(
        .invalidElementType,
        "selects by bool from two operands of one type, not by \(operands[0]) from "
          + "\(operands[1]) and \(operands[2])")
    }
    return TensorType(operands[1].elementType, try TensorType.broadcast(operands))
  }
}

extension TensorType {
  /// The extents of operands stretched to one another: shapes are aligned at their last axes, an extent
  /// of 1 stretches (the rule of NumPy and ONNX).
  static func broadcast(_ operands: [TensorType]) throws -> [Dimension] {
    let rank = operands.map(\.rank).max() ?? 0
    var result = [Dimension](repeating: .fixed(1), count: rank)
    for operand in operands {
      for (offset, dimension) in operand.dimensions.reversed().enumerated() {
        let axis = rank - 1 - offset
        if result[axis] == dimension || dimension == .fixed(1) { continue }
        guard result[axis] == .fixed(1) else {
          let list = operands.map(\.description).joined(separator: " and ")
          throw GraphError(.invalidShape, "shapes \(list) cannot be broadcast together")
        }
        result[axis] = dimension
      }
    }
    return result
  }
}
