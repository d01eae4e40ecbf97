extension Gather {
  /// Every part gets the sum of the gradients of its copies.
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) {
      $0.add(.gatherGradient(self), $0.gradient(), $0.input(1), $0.input(0))
    }
  }

  /// The adjoint of the adjoint: the same parts again.
  func differentiateGradient(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.add(.gather(self), $0.gradient(), $0.input(1)) }
  }
}
