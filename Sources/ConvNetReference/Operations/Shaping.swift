import ConvNetGraph

extension Concatenate {
  /// Operand after operand, in each position of the axes before the joined one.
  func evaluate(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let axis = axis < 0 ? axis + shape.rank : axis
    let outer = shape.dimensions[..<axis].reduce(1, *)
    var result: [Double] = []
    for o in 0..<outer {
      for operand in operands {
        let run = operand.shape.dimensions[axis...].reduce(1, *)
        result += operand.values[(o * run)..<((o + 1) * run)]
      }
    }
    return result
  }
}

extension Slice {
  /// y[…, j, …] = x[…, start + j·step, …].
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    sources(x.shape, slice: shape).map { x.values[$0] }
  }

  /// dx[…, start + j·step, …] = dy[…, j, …], and 0 elsewhere.
  func evaluateGradient(dy: ReferenceTensor, _ shape: Shape) -> [Double] {
    var dx = [Double](repeating: 0, count: shape.count)
    for (index, value) in zip(sources(shape, slice: dy.shape), dy.values) { dx[index] = value }
    return dx
  }

  /// For every element of the slice its flat index in x.
  private func sources(_ x: Shape, slice: Shape) -> [Int] {
    let axis = axis < 0 ? axis + x.rank : axis
    var strides = x.strides
    strides[axis] *= stride
    return slice.indices(strides: strides).map { $0 + start * x.strides[axis] }
  }
}

extension Transpose {
  /// Axis i of the result walks along axis permutation[i] of x.
  func evaluate(_ x: ReferenceTensor, _ shape: Shape) -> [Double] {
    let strides = x.shape.strides
    return shape.indices(strides: permutation.map { strides[$0] }).map { x.values[$0] }
  }
}

extension ReferenceTensor {
  /// The values in another element type: integers are cut towards zero and saturate, NaN becomes 0 in
  /// them; float32 is not rounded here.
  func cast(to type: ElementType) -> [Double] {
    guard !type.isFloatingPoint else { return values }
    return Tensor(doubles: values, shape: shape, elementType: type).doubles
  }
}
