// y = x ∗ w is bilinear, and so are its two gradients: with the trilinear form
// ⟨dy, x ∗ w⟩ = ⟨x, inputGradient(dy, w)⟩ = ⟨w, filterGradient(dy, x)⟩, each of the three operations is
// the derivative of the form in one argument, and its own gradients are the other two.

extension Convolution {
  /// dx, dw, and db = Σ dy over all axes but the last.
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) {
      $0.add(.convolutionInputGradient(self), $0.gradient(), $0.input(1), $0.input(0))
    }
    step.contribute(to: 1) {
      $0.add(.convolutionFilterGradient(self), $0.gradient(), $0.input(0), $0.input(1))
    }
    if step.node.inputs.count == 3 {
      step.contribute(to: 2) { $0.sumToLast($0.gradient()) }
    }
  }

  /// dx = inputGradient(dy, w): for g the gradient of dx, d(dy) = g ∗ w and dw = filterGradient(dy, g).
  func differentiateInputGradient(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.add(.convolution(self), $0.gradient(), $0.input(1)) }
    step.contribute(to: 1) {
      $0.add(.convolutionFilterGradient(self), $0.input(0), $0.gradient(), $0.input(1))
    }
  }

  /// dw = filterGradient(dy, x): for g the gradient of dw, d(dy) = x ∗ g and dx = inputGradient(dy, g).
  func differentiateFilterGradient(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.add(.convolution(self), $0.input(1), $0.gradient()) }
    step.contribute(to: 1) {
      $0.add(.convolutionInputGradient(self), $0.input(0), $0.gradient(), $0.input(1))
    }
  }
}
