extension Pad {
  /// Every element gets the gradients of its copies.
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.add(.padGradient(self), $0.gradient(), $0.input(0)) }
  }

  /// The adjoint of the adjoint: padding again, with 0 where a constant stood.
  func differentiateGradient(_ step: inout GradientStep) {
    var linear = self
    if case .constant = mode { linear.mode = .constant(0) }
    step.contribute(to: 0) { $0.add(.pad(linear), $0.gradient()) }
  }
}
