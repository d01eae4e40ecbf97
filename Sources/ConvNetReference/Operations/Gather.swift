import ConvNetGraph

extension Gather {
  /// y[…, i, …] = x[…, indices[i], …]; NaN, or 0 in integers, where an index is outside.
  func evaluate(_ x: ReferenceTensor, indices: ReferenceTensor, _ shape: Shape) -> [Double] {
    let outside = x.elementType.isFloatingPoint ? Double.nan : 0
    return sources(x.shape, indices).map { $0.map { x.values[$0] } ?? outside }
  }

  /// dx[…, j, …] = Σ dy[…, i, …] over the i with indices[i] = j.
  func evaluateGradient(
    dy: ReferenceTensor, indices: ReferenceTensor, _ shape: Shape
  ) -> [Double] {
    var dx = [Double](repeating: 0, count: shape.count)
    for (source, value) in zip(sources(shape, indices), dy.values) {
      if let source { dx[source] += value }
    }
    return dx
  }

  /// For every element of the result the flat index of the element of x that it repeats.
  private func sources(_ x: Shape, _ indices: ReferenceTensor) -> [Int?] {
    let axis = axis < 0 ? axis + x.rank : axis
    let (extent, inner) = (x[axis], x.dimensions[(axis + 1)...].reduce(1, *))
    var result: [Int?] = []
    for o in 0..<x.dimensions[..<axis].reduce(1, *) {
      for index in indices.integers.map({ Int($0 < 0 ? $0 + Int64(extent) : $0) }) {
        let isInside = (0..<extent).contains(index)
        for i in 0..<inner { result.append(isInside ? (o * extent + index) * inner + i : nil) }
      }
    }
    return result
  }
}
