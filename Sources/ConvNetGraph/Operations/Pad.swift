/// A tensor with positions added around it.
///
/// Operand x; `padGradient` is the adjoint, of dy and like x.
package struct Pad: Hashable, Sendable, Codable {
  /// What stands in the added positions.
  package enum Mode: Hashable, Sendable, Codable {
    /// One number; in integers and truth values its integer.
    case constant(Double)
    /// The tensor mirrored at its edge elements, which are not repeated.
    case reflect
    /// The nearest element of the tensor.
    case edge
    /// The tensor repeated.
    case wrap
  }

  /// Positions added before each axis.
  package var before: [Int]
  /// Positions added after each axis.
  package var after: [Int]
  package var mode: Mode

  package init(before: [Int], after: [Int], mode: Mode = .constant(0)) {
    self.before = before
    self.after = after
    self.mode = mode
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    try paddedType(Operation.take(inputs, count: 1)[0])
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2)
    try Operation.expect(operands[0], toBe: paddedType(operands[1]), as: "the output's gradient")
    return operands[1]
  }

  /// Where the element at a position of the padded axis comes from; nil for the constant.
  ///
  /// Padding is no wider than the type rule allows, so that one reflection or one turn is enough.
  package func source(of position: Int, axis: Int, extent: Int) -> Int? {
    let index = position - before[axis]
    if (0..<extent).contains(index) { return index }
    return switch mode {
    case .constant: nil
    case .reflect: index < 0 ? -index : 2 * (extent - 1) - index
    case .edge: index < 0 ? 0 : extent - 1
    case .wrap: index < 0 ? index + extent : index - extent
    }
  }

  private func paddedType(_ x: TensorType) throws -> TensorType {
    let limit = 1 << 24
    guard before.count == x.rank, after.count == x.rank,
      (before + after).allSatisfy({ (0...limit).contains($0) })
    else {
      throw GraphError(.invalidAttribute, "padding \(before) and \(after) does not fit \(x)")
    }
    var result = x
    for (axis, dimension) in x.dimensions.enumerated() {
      let most = max(before[axis], after[axis])
      guard most > 0 else { continue }
      if let extent = dimension.extent {
        let room =
          switch mode {
          case .constant: Int.max
          case .reflect: extent - 1
          case .edge: extent > 0 ? Int.max : 0
          case .wrap: extent
          }
        guard most <= room else {
          throw GraphError(
            .invalidShape, "padding \(before) and \(after) reaches past the elements of \(x)")
        }
      }
      result.dimensions[axis] = .sum([dimension, .fixed(before[axis] + after[axis])])
    }
    return result
  }
}
