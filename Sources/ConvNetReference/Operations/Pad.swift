import ConvNetGraph

extension Pad {
  /// y[i] = x[source(i)], or the constant where there is no source.
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    var constant = 0.0
    if case .constant(let value) = mode {
      constant = ReferenceTensor([value], shape: []).cast(to: x.elementType)[0]
    }
    return sources(x.shape, shape).map { $0.map { x.values[$0] } ?? constant }
  }

  /// dx[j] = Σ dy[i] over the i with source(i) = j.
  func evaluateGradient(dy: ReferenceTensor, _ shape: Shape) -> [Double] {
    var dx = [Double](repeating: 0, count: shape.count)
    for (source, value) in zip(sources(shape, dy.shape), dy.values) {
      if let source { dx[source] += value }
    }
    return dx
  }

  /// For every element of the padded tensor the flat index of the element of x that it repeats.
  private func sources(_ x: Shape, _ padded: Shape) -> [Int?] {
    var result: [Int?] = [0]
    for axis in x.dimensions.indices {
      let positions = (0..<padded[axis]).map { source(of: $0, axis: axis, extent: x[axis]) }
      result = result.flatMap { start in
        positions.map { position in
          guard let start, let position else { return nil }
          return start + position * x.strides[axis]
        }
      }
    }
    return result
  }
}
