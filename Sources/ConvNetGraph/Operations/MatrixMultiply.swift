/// a·b of matrices, either read transposed, with an optional bias `[columns]` added to every row.
///
/// A dense layer is x `[N, in]` times w `[in, out]`. Axes before the last two number matrices and are
/// broadcast, so that x may as well be `[N, L, in]`.
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
    guard a.rank >= 2, b.rank >= 2 else {
      throw GraphError(.invalidShape, "multiplies matrices, not \(a) and \(b)")
    }
    var left = Array(a.dimensions.suffix(2))
    var right = Array(b.dimensions.suffix(2))
    if transposesLeft { left.reverse() }
    if transposesRight { right.reverse() }
    guard left[1] == right[0] else {
      throw GraphError(.invalidShape, "matrices \(a) and \(b) do not fit together")
    }
    if operands.count == 3 {
      try Operation.expect(operands[2], toBe: TensorType([right[1]]), as: "a bias")
    }
    let matrices = try TensorType.broadcast([a, b].map { TensorType($0.dimensions.dropLast(2)) })
    return TensorType(matrices + [left[0], right[1]])
  }
}
