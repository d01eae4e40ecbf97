extension Decorrelate {
  /// dx with the terms that pass through mean and covariance where these are the batch's; running
  /// statistics are constants.
  func differentiate(_ step: inout GradientStep) throws {
    try checkStatistics(step)
    step.contribute(to: 0) {
      $0.addAll(.decorrelateGradient(self), [$0.gradient()] + $0.node.inputs)[0]
    }
  }

  /// The rule for dx holds only for batch statistics of x itself in the same groups, and for running
  /// statistics that are constants.
  private func checkStatistics(_ step: GradientStep) throws {
    guard source == .batch else {
      guard step.wants[1...2].contains(true) else { return }
      throw step.noGradient("running statistics are not learned by gradient")
    }
    let covariance = step.graph.nodes.last { $0.outputs == Array(step.node.inputs[1...3]) }
    guard case .covariance(let attributes)? = covariance?.operation,
      covariance?.inputs == [step.input(0)], attributes.groupSize == groupSize
    else {
      throw step.noGradient("a decorrelation by the covariance of another value has no gradient")
    }
  }
}
