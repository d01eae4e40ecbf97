import ConvNetGraph

extension ONNXOperators {
  /// Products of matrices.
  static let matrix: [String: ONNXOperator] = [
    "Gemm": one { try gemm($0) },
    "MatMul": one { try matrixMultiply($0) },
  ]

  /// alpha·A·B + beta·C, with A and B perhaps transposed.
  private static func gemm(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let alpha = try node.float("alpha", default: 1)
    let beta = try node.float("beta", default: 1)
    let right: [Int]? = try node.bool("transB") ? [1, 0] : nil
    var operands = [
      try node.input(0), try node.input(1, role: .denseWeight, permutedBy: right),
    ]
    let product = MatrixMultiply(transposesLeft: try node.bool("transA"))
    guard node.has(2), beta != 0 else {
      return try node.scaled(node.add(.matrixMultiply(product), operands)[0], by: alpha)
    }
    let bias = try node.input(2, role: .bias)
    let columns = node.builder.type(of: operands[1]).dimensions.last
    if alpha == 1, beta == 1, node.builder.type(of: bias).dimensions == [columns].compactMap({ $0 })
    {
      operands.append(bias)
      return try node.add(.matrixMultiply(product), operands)[0]
    }
    let y = try node.scaled(node.add(.matrixMultiply(product), operands)[0], by: alpha)
    return try node.combine(.add, y, node.scaled(bias, by: beta))
  }

  /// Vectors count as matrices of one row, or one column on the right.
  private static func matrixMultiply(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    var (a, b) = (try node.input(0), try node.input(1, role: .denseWeight))
    let (left, right) = (node.rank(a), node.rank(b))
    if left == 1 { a = try node.add(.reshape(Reshape([.fixed(1), .copy(0)])), a) }
    if right == 1 { b = try node.add(.reshape(Reshape([.copy(0), .fixed(1)])), b) }
    var y = try node.add(.matrixMultiply(MatrixMultiply()), a, b)
    let rank = node.rank(y)
    if right == 1 {
      y = try node.add(.reshape(Reshape((0..<(rank - 1)).map { .copy($0) })), y)
    }
    if left == 1 {
      let row = node.rank(y) - (right == 1 ? 1 : 2)
      let kept = (0..<node.rank(y)).filter { $0 != row }
      y = try node.add(.reshape(Reshape(kept.map { .copy($0) })), y)
    }
    return y
  }
}

extension ONNXNodeImporter {
  /// x·factor.
  func scaled(_ x: Graph.ValueID, by factor: Double) throws -> Graph.ValueID {
    factor == 1 ? x : try map(.affine(scale: factor, offset: 0), x)
  }
}
