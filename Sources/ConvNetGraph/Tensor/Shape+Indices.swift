extension Shape {
  /// For every element of a shape that this one stretches to, the flat index of the element it repeats.
  package func indices(stretchedTo shape: Shape) -> [Int] {
    let missing = shape.rank - rank
    let own = strides
    let strides = shape.dimensions.indices.map { axis in
      axis < missing || dimensions[axis - missing] == 1 ? 0 : own[axis - missing]
    }
    return shape.indices(strides: strides)
  }

  /// For every element of this shape, in row-major order, the sum of its indices times strides.
  package func indices(strides: [Int]) -> [Int] {
    // The axes beside an empty one may be of any extent.
    guard !dimensions.contains(0) else { return [] }
    var indices = [0]
    for (extent, stride) in zip(dimensions, strides) {
      indices = indices.flatMap { start in (0..<extent).map { start + $0 * stride } }
    }
    return indices
  }
}
