/// a·b of two matrices, either read transposed, with an optional bias `[columns]` added to every row.
///
/// A dense layer is x `[N, in]` times w `[in, out]`.
package struct MatrixMultiply: Hashable, Sendable, Codable {
  package var transposesLeft: Bool
  package var transposesRight: Bool

  package init(transposesLeft: Bool = false, transposesRight: Bool = false) {
    self.transposesLeft = transposesLeft
    self.transposesRight = transposesRight
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2...3)
    let (a, b) = (operands[0], operands[1])
    guard a.rank == 2, b.rank == 2 else {
      throw GraphError(.invalidShape, "multiplies matrices, not \(a) and \(b)")
    }
    let left = transposesLeft ? a.dimensions.reversed() : a.dimensions
    let right = transposesRight ? b.dimensions.reversed() : b.dimensions
    guard left[1] == right[0] else {
      throw GraphError(.invalidShape, "matrices \(a) and \(b) do not fit together")
    }
    if operands.count == 3 {
      try Operation.expect(operands[2], toBe: TensorType([right[1]]), as: "a bias")
    }
    return TensorType([left[0], right[1]])
  }
}
