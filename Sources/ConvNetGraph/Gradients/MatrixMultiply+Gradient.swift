extension MatrixMultiply {
  /// For C = A·B: dA = dC·Bᵀ and dB = Aᵀ·dC; an operand that is stored transposed gets the transpose of
  /// its product, (X·Y)ᵀ = Yᵀ·Xᵀ, so that no matrix is ever transposed in memory.
  ///
  /// One matrix for many gets the sum over them. Where B is that and A is stored as it is, rows of all
  /// matrices are those of one.
  func differentiate(_ step: inout GradientStep) {
    let (dc, a, b) = (step.gradient(), step.input(0), step.input(1))
    step.contributeBroadcast(to: 0) {
      transposesLeft
        ? $0.product(b, transposed: transposesRight, dc, transposed: true)
        : $0.product(dc, transposed: false, b, transposed: !transposesRight)
    }
    let isFlat = step.type(b).rank == 2 && step.type(a).rank > 2 && !transposesLeft
    step.contributeBroadcast(to: 1) {
      let (a, dc) = isFlat ? ($0.rows(a), $0.rows(dc)) : (a, dc)
      return transposesRight
        ? $0.product(dc, transposed: true, a, transposed: transposesLeft)
        : $0.product(a, transposed: !transposesLeft, dc, transposed: false)
    }
    if step.node.inputs.count == 3 {
      step.contribute(to: 2) { $0.sumToLast(dc) }
    }
  }
}

extension GradientStep {
  fileprivate func product(
    _ a: Graph.ValueID, transposed left: Bool, _ b: Graph.ValueID, transposed right: Bool
  ) -> Graph.ValueID {
    add(.matrixMultiply(MatrixMultiply(transposesLeft: left, transposesRight: right)), a, b)
  }

  /// All matrices below one another.
  fileprivate func rows(_ x: Graph.ValueID) -> Graph.ValueID {
    add(.reshape(Reshape([.rest, .copy(type(x).rank - 1)])), x)
  }
}
