extension Resize {
  /// y = T·x + what stands outside: dx = Tᵀ·dy.
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.add(.resizeGradient(self), $0.gradient(), $0.input(0)) }
  }

  /// dx = Tᵀ·dy is linear in dy: its gradient is T.
  func differentiateGradient(_ step: inout GradientStep) {
    var linear = self
    if case .crop(let start, let end, _) = coordinates {
      linear.coordinates = .crop(start: start, end: end, outside: 0)
    }
    step.contribute(to: 0) { $0.add(.resize(linear), $0.gradient()) }
  }
}
