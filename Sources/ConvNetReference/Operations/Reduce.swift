import ConvNetGraph

extension Reduce {
  /// y = Σx, Σx/n, max x or min x over the reduced axes.
  ///
  /// A maximum or minimum with a NaN among its numbers is NaN; the mean of no numbers is 0/0.
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    let targets = targets(x.shape)
    var y = [Double?](repeating: nil, count: shape.count)
    for (index, value) in zip(targets, x.values) {
      guard let old = y[index] else {
        y[index] = value
        continue
      }
      y[index] =
        switch reduction {
        case .sum, .mean: old + value
        case .maximum: BinaryFunction.maximum.value(old, value)
        case .minimum: BinaryFunction.minimum.value(old, value)
        }
    }
    let divisor = reduction == .mean ? Double(x.shape.count) / Double(shape.count) : 1
    return y.map { ($0 ?? 0) / divisor }
  }

  /// The adjoint: dx = dy of the sum that x is part of, divided by n for a mean.
  func evaluateExpansion(_ dy: ReferenceTensor, _ shape: Shape) -> [Double] {
    let divisor = reduction == .mean ? Double(shape.count) / Double(dy.shape.count) : 1
    return targets(shape).map { dy.values[$0] / divisor }
  }

  /// For every element of x the flat index of the result it is part of.
  private func targets(_ x: Shape) -> [Int] {
    let reduced = Set(axes.map { $0 < 0 ? $0 + x.rank : $0 })
    let kept = Shape(x.dimensions.indices.map { reduced.contains($0) ? 1 : x[$0] })
    return kept.indices(stretchedTo: x)
  }
}
