extension Concatenate {
  /// Every operand gets its own part of dy.
  func differentiate(_ step: inout GradientStep) throws {
    let axis = try step.type(step.output()).normalizedAxis(axis)
    var start = 0
    for (index, input) in step.node.inputs.enumerated() {
      guard let extent = step.type(input).dimensions[axis].extent else {
        throw step.noGradient(
          "a concatenation along an open extent of \(step.type(input)) has no gradient")
      }
      step.contribute(to: index) {
        $0.add(.slice(Slice(axis: axis, start: start, end: start + extent)), $0.gradient())
      }
      start += extent
    }
  }
}
