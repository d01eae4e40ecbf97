import ConvNetGraph

extension Window {
  /// Calls a closure with the flat indices of x and y, both channels last, for every tap that meets the
  /// image.
  fileprivate func forEachPair(
    x: Shape, y: Shape, _ body: (_ x: Int, _ y: Int) -> Void
  ) {
    let input = Array(x.dimensions[1..<(x.rank - 1)])
    let inputArea = input.reduce(1, *)
    let outputArea = y.dimensions[1..<(y.rank - 1)].reduce(1, *)
    let channels = x[x.rank - 1]
    for n in 0..<x[0] {
      forEachTap(input: input) { o, i, _ in
        for c in 0..<channels {
          body((n * inputArea + i) * channels + c, (n * outputArea + o) * channels + c)
        }
      }
    }
  }

  /// For every window the flat index of its first maximum in row-major order; NaN counts as a maximum.
  private func winners(_ x: ReferenceTensor, y: Shape) -> [Int] {
    var winners = [Int](repeating: -1, count: y.count)
    forEachPair(x: x.shape, y: y) { i, o in
      let best = winners[o] < 0 ? -.infinity : x.values[winners[o]]
      if winners[o] < 0 || x.values[i] > best || (x.values[i].isNaN && !best.isNaN) {
        winners[o] = i
      }
    }
    return winners
  }

  /// y[o] = max x[i] over the window's taps that meet the image: padding never wins.
  func evaluateMaximum(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    winners(x, y: shape).map { x.values[$0] }
  }

  /// dx[i] = Σ dy[o] over the windows o whose first maximum is i.
  func evaluateMaximumGradient(dy: ReferenceTensor, x: ReferenceTensor) -> [Double] {
    var dx = [Double](repeating: 0, count: x.values.count)
    for (o, winner) in winners(x, y: dy.shape).enumerated() { dx[winner] += dy.values[o] }
    return dx
  }
}

extension AveragePool {
  /// y[o] = Σ x[i] over the window's taps that meet the image, divided by their number, or by that of taps
  /// that meet the image or its padding where this counts.
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    let divisors = divisors(x: x.shape, y: shape)
    var y = [Double](repeating: 0, count: shape.count)
    window.forEachPair(x: x.shape, y: shape) { y[$1] += x.values[$0] / divisors[$1] }
    return y
  }

  /// dx[i] = Σ dy[o]/divisor[o] over the windows o that i is part of.
  func evaluateGradient(dy: ReferenceTensor, _ shape: Shape) -> [Double] {
    let divisors = divisors(x: shape, y: dy.shape)
    var dx = [Double](repeating: 0, count: shape.count)
    window.forEachPair(x: shape, y: dy.shape) { dx[$0] += dy.values[$1] / divisors[$1] }
    return dx
  }

  private func divisors(x: Shape, y: Shape) -> [Double] {
    var divisors = [Double](repeating: countsPadding ? 1 : 0, count: y.count)
    guard countsPadding else {
      window.forEachPair(x: x, y: y) { divisors[$1] += 1 }
      return divisors
    }
    for index in 0..<window.rank {
      guard let axis = try? window.axis(index, input: x[1 + index]) else {
        fatalError("A window \(window.kernel) was checked and does not fit \(x).")
      }
      let inner = y.dimensions[(2 + index)...].reduce(1, *)
      for o in divisors.indices {
        divisors[o] *= Double(axis.taps(at: o / inner % axis.output, countingPadding: true))
      }
    }
    return divisors
  }
}
