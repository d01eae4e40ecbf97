import ConvNetGraph

extension Resize {
  /// y[…, o, …] = Σ weights[t]·x[…, indices[t], …] over the taps t of position o.
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    let axis = axis < 0 ? axis + shape.rank : axis
    return taps(input: x.shape[axis], output: shape[axis]).evaluate(x, axis: axis)
  }

  /// dx = Tᵀ·dy for the matrix T of the taps.
  func evaluateGradient(dy: ReferenceTensor, _ shape: Shape) -> [Double] {
    let axis = axis < 0 ? axis + shape.rank : axis
    return taps(input: shape[axis], output: dy.shape[axis]).transposed(count: shape[axis])
      .evaluate(dy, axis: axis)
  }
}

extension ResizeTaps {
  fileprivate func evaluate(_ x: ReferenceTensor, axis: Int) -> [Double] {
    let inner = x.shape.dimensions[(axis + 1)...].reduce(1, *)
    let outer = x.shape.dimensions[..<axis].reduce(1, *)
    var y: [Double] = []
    for block in 0..<outer {
      for o in 0..<outputs {
        for i in 0..<inner {
          let range = starts[o]..<starts[o + 1]
          y.append(
            range.reduce(range.isEmpty ? empty : 0) {
              $0 + weights[$1] * x.values[(block * x.shape[axis] + indices[$1]) * inner + i]
            })
        }
      }
    }
    return y
  }
}
