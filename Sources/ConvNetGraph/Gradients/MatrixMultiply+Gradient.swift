extension MatrixMultiply {
  /// For C = A·B: dA = dC·Bᵀ and dB = Aᵀ·dC; an operand that is stored transposed gets the transpose of
  /// its product, (X·Y)ᵀ = Yᵀ·Xᵀ, so that no matrix is ever transposed in memory.
  func differentiate(_ step: inout GradientStep) {
    let (dc, a, b) = (step.gradient(), step.input(0), step.input(1))
    step.contribute(to: 0) {
      transposesLeft
        ? $0.product(b, transposed: transposesRight, dc, transposed: true)
        : $0.product(dc, transposed: false, b, transposed: !transposesRight)
    }
    step.contribute(to: 1) {
      transposesRight
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
}
