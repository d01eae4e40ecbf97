/// Parts of a tensor by number: y[…, i…, …] = x[…, indices[i…], …].
///
/// Operands: x, and indices of any rank, int64 or int32; negative ones count from the back. An index
/// outside the axis gives NaN, or 0 in integers. `gatherGradient` is the adjoint: dy, indices, like x.
package struct Gather: Hashable, Sendable, Codable {
  package var axis: Int

  package init(axis: Int) { self.axis = axis }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    return try gatheredType(operands[0], indices: operands[1])
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 3)
    let expected = try gatheredType(operands[2], indices: operands[1])
    try Operation.expect(operands[0], toBe: expected, as: "the output's gradient")
    return operands[2]
  }

  private func gatheredType(_ x: TensorType, indices: TensorType) throws -> TensorType {
    guard indices.elementType == .int64 || indices.elementType == .int32 else {
      throw GraphError(.invalidElementType, "gathers by integers, not by \(indices)")
    }
    let axis = try x.normalizedAxis(axis)
    let dimensions =
      Array(x.dimensions[..<axis]) + indices.dimensions + Array(x.dimensions[(axis + 1)...])
    return TensorType(x.elementType, dimensions)
  }
}
