import ConvNetGraph

extension MatrixMultiply {
  /// c[…,i,j] = bias[j] + Σ a[…,i,k]·b[…,k,j], where a matrix that is read transposed has its strides
  /// swapped and matrices that are too few repeat.
  func evaluate(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let (rows, columns) = (shape[shape.rank - 2], shape[shape.rank - 1])
    let (a, b) = (operands[0], operands[1])
    let depth = a.shape[a.shape.rank - (transposesLeft ? 2 : 1)]
    let (aRow, aColumn) = transposesLeft ? (1, rows) : (depth, 1)
    let (bRow, bColumn) = transposesRight ? (1, depth) : (columns, 1)
    let bias = operands.count == 3 ? operands[2].values : [Double](repeating: 0, count: columns)
    let matrices = Shape(shape.dimensions.dropLast(2))
    let starts = [a, b].map {
      Shape($0.shape.dimensions.dropLast(2)).indices(stretchedTo: matrices)
    }
    var c = [Double](repeating: 0, count: shape.count)
    a.values.withUnsafeBufferPointer { a in
      b.values.withUnsafeBufferPointer { b in
        for matrix in 0..<matrices.count {
          let (aStart, bStart) = (
            starts[0][matrix] * rows * depth, starts[1][matrix] * depth * columns
          )
          for i in 0..<rows {
            for j in 0..<columns {
              var sum = bias[j]
              for k in 0..<depth {
                sum += a[aStart + i * aRow + k * aColumn] * b[bStart + k * bRow + j * bColumn]
              }
              c[(matrix * rows + i) * columns + j] = sum
            }
          }
        }
      }
    }
    return c
  }
}
