import ConvNetGraph

extension Comparison {
  /// Whether the relation holds; false of NaN.
  private func holds(_ a: Double, _ b: Double) -> Bool {
    switch self {
    case .equal: a == b
    case .less: a < b
    case .lessOrEqual: a <= b
    case .greater: a > b
    case .greaterOrEqual: a >= b
    case .and: a != 0 && b != 0
    case .or: a != 0 || b != 0
    case .exclusiveOr: (a != 0) != (b != 0)
    }
  }

  /// y[i] = 1 where a[i] and b[i], broadcast, are so related, else 0.
  func evaluate(_ a: ReferenceTensor, _ b: ReferenceTensor, _ shape: Shape) -> [Double] {
    zip(a.stretched(to: shape), b.stretched(to: shape)).map { holds($0, $1) ? 1 : 0 }
  }
}

extension Operation {
  /// y[i] = condition[i] ? a[i] : b[i], all broadcast.
  func evaluateSelect(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let (condition, a, b) = (
      operands[0].stretched(to: shape), operands[1].stretched(to: shape),
      operands[2].stretched(to: shape)
    )
    return condition.indices.map { condition[$0] != 0 ? a[$0] : b[$0] }
  }
}
