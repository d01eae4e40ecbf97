import ConvNetGraph

extension MatrixMultiply {
  /// c[i,j] = bias[j] + Σ a[i,k]·b[k,j], where a matrix that is read transposed has its strides swapped.
  func evaluate(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let (rows, columns) = (shape[0], shape[1])
    let (a, b) = (operands[0], operands[1])
    let depth = a.shape[transposesLeft ? 0 : 1]
    let (aRow, aColumn) = transposesLeft ? (1, rows) : (depth, 1)
    let (bRow, bColumn) = transposesRight ? (1, depth) : (columns, 1)
    let bias = operands.count == 3 ? operands[2].values : [Double](repeating: 0, count: columns)
    var c = [Double](repeating: 0, count: shape.count)
    a.values.withUnsafeBufferPointer { a in
      b.values.withUnsafeBufferPointer { b in
        for i in 0..<rows {
          for j in 0..<columns {
            var sum = bias[j]
            for k in 0..<depth { sum += a[i * aRow + k * aColumn] * b[k * bRow + j * bColumn] }
            c[i * columns + j] = sum
          }
        }
      }
    }
    return c
  }
}
