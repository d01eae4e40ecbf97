extension Reduce {
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) { step in
      switch reduction {
      case .sum, .mean: step.add(.expand(self), step.gradient(), step.input(0))
      case .maximum, .minimum: extremeGradient(step)
      }
    }
  }

  /// Elements that are equal to the extreme share its gradient evenly.
  private func extremeGradient(_ step: GradientStep) -> Graph.ValueID {
    let x = step.input(0)
    let sum = Reduce(.sum, axes: axes, keepsAxes: keepsAxes)
    let extreme = step.add(.expand(sum), step.output(), x)
    let isExtreme = step.add(.combine(.equal), x, extreme)
    let share = step.add(.combine(.divide), step.gradient(), step.add(.reduce(sum), isExtreme))
    return step.multiply(isExtreme, step.add(.expand(sum), share, x))
  }
}
