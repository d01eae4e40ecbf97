extension Operation {
  /// Each operand gets dy where it was taken and 0 elsewhere, summed over the copies of what was stretched.
  func differentiateSelect(_ step: inout GradientStep) {
    func zero(_ step: GradientStep) -> Graph.ValueID {
      let type = step.type(step.gradient()).elementType
      return step.add(.constant(Constant(numbers: [0], shape: [], elementType: type)))
    }
    step.contributeBroadcast(to: 1) { $0.add(.select, $0.input(0), $0.gradient(), zero($0)) }
    step.contributeBroadcast(to: 2) { $0.add(.select, $0.input(0), zero($0), $0.gradient()) }
  }
}
