extension TransposedConvolution {
  /// With y = adjoint(x, w): dx = convolution(dy, w), dw = filterGradient(x, dy), db = Σ dy.
  func differentiate(_ step: inout GradientStep) throws {
    let dy = step.gradient()
    // Output padding beyond a stride gives the convolution positions that x has none of.
    let left = zip(outputPadding, convolution.window.stride).map { $0 / $1 }
    var slices: [Slice] = []
    for (axis, count) in left.enumerated() where count > 0 {
      guard let extent = step.type(step.input(0)).dimensions[1 + axis].extent else {
        throw step.noGradient("an open extent has no gradient beyond a stride of output padding")
      }
      slices.append(Slice(axis: 1 + axis, start: 0, end: extent))
    }
    let wants = step.wants[0] || (step.wants[1] && !slices.isEmpty)
    let whole = wants ? step.add(.convolution(convolution), dy, step.input(1)) : dy
    step.contribute(to: 0) { step in
      slices.reduce(whole) { step.add(.slice($1), $0) }
    }
    step.contribute(to: 1) { step in
      let x = step.padded(step.input(0), like: whole, slices)
      return step.add(.convolutionFilterGradient(convolution), x, dy, step.input(1))
    }
    if step.node.inputs.count == 3 { step.contribute(to: 2) { $0.sumToLast(dy) } }
  }
}

extension GradientStep {
  /// x with zeros behind it, so that it is as long as another value: the adjoint of slices of that.
  fileprivate func padded(
    _ x: Graph.ValueID, like whole: Graph.ValueID, _ slices: [Slice]
  ) -> Graph.ValueID {
    var shapes = [whole]
    for slice in slices.dropLast() { shapes.append(add(.slice(slice), shapes[shapes.count - 1])) }
    return zip(slices, shapes).reversed().reduce(x) { add(.sliceGradient($1.0), $0, $1.1) }
  }
}
