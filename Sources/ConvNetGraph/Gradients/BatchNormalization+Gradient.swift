extension Normalize {
  /// dβ = Σ dy, dγ = Σ dy·x̂, and dx with the terms that pass through mean and variance (Ioffe & Szegedy
  /// 2015, section 3) where these are the batch's; running statistics are constants.
  func differentiate(_ step: inout GradientStep) throws {
    let wantsInput = step.wants[0]
    var mask: Graph.ValueID?
    if wantsInput || step.wants[1...statisticsCount].contains(true) {
      mask = try statisticsMask(step)
    }
    let wantsSums = [shiftIndex, scaleIndex].compactMap { $0 }.contains { step.wants[$0] }
    let gradient = NormalizeGradient(
      axis: axis, epsilon: epsilon, source: source, hasScale: hasScale, hasMask: mask != nil)
    let operands = [step.gradient()] + step.node.inputs[...statisticsCount]
    var sums: [Graph.ValueID] = []
    if wantsSums || (wantsInput && source == .batch) {
      sums = step.addAll(.normalizeGradientSums(gradient), operands)
    }
    for (index, sum) in [(shiftIndex, 0), (scaleIndex, 1)] {
      guard let index else { continue }
      step.contribute(to: index) { $0.add(.cast(.float32), sums[sum]) }
    }
    step.contribute(to: 0) { step in
      step.addAll(
        .normalizeGradientInput(gradient),
        operands + (source == .batch ? sums : [])
          + [scaleIndex.map { step.input($0) }, mask].compactMap { $0 })[0]
    }
  }

  /// The mask of the batch statistics, if any.
  ///
  /// The rule for dx holds only for batch statistics of x itself along the same axis, and for running
  /// statistics that are constants; others are refused.
  private func statisticsMask(_ step: GradientStep) throws -> Graph.ValueID? {
    guard source == .batch else {
      guard step.wants[1...2].contains(true) else { return nil }
      throw step.noGradient("running statistics are not learned by gradient")
    }
    let x = step.input(0)
    let moments = step.graph.nodes.last { $0.outputs == Array(step.node.inputs[1...3]) }
    guard case .batchMoments(let attributes)? = moments?.operation, moments?.inputs.first == x,
      try step.type(x).normalizedAxis(attributes.axis) == step.type(x).normalizedAxis(axis)
    else {
      throw step.noGradient("a normalisation by moments of another value has no gradient")
    }
    return moments?.inputs.dropFirst().first
  }
}

extension BatchMoments {
  /// What reaches the moments through `Normalize` is part of its dx; any other use is refused.
  func differentiate(_ step: inout GradientStep) throws {
    throw step.noGradient("batch moments have a gradient only through the normalisation they serve")
  }
}
