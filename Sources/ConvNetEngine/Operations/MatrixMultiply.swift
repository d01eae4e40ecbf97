import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// a·b + bias of matrices, either read transposed.
  mutating func emitMatrixMultiply(_ multiply: MatrixMultiply, epilogue: Epilogue) throws {
    let matrices = BatchedMatrices(
      multiply, left: shape(node.inputs[0]), right: shape(node.inputs[1]),
      result: shape(node.outputs[0]))
    let biasIndex = epilogue.residual == 2 || node.inputs.count < 3 ? nil : 2
    let bias = biasIndex.map { input($0) } ?? zeros(matrices.columns)
    let residual = epilogue.residual.map { input($0) }
    let a = try leftMatrices(multiply)
    let packed = packedMatrices(matrices, isTransposed: multiply.transposesRight)
    let product = PanelProduct(
      depth: matrices.depth, columns: matrices.columns, kernels: kernels, epilogue: epilogue,
      hasBias: biasIndex != nil)
    let reads = [a, packed, bias] + [residual].compactMap { $0 }
    if matrices.rightCount == 1, matrices.left == Array(matrices.left.indices) {
      // Rows of all matrices are those of one.
      let rows = PointwiseConvolution.rows(matrices.left.count * matrices.rows, product)
      let sums = blockSums(counts: rows.sizes)
      let y = try output()
      emit(
        PointwiseConvolution(
          rows: rows, product: product, x: a, packed: packed, bias: bias, residual: residual,
          sums: sums, y: y),
        reads: reads + sums.reads, writes: [y] + sums.writes)
    } else {
      let y = try output()
      emit(
        BatchedProduct(
          matrices, product: product, a: a, packed: packed, bias: bias, residual: residual, y: y),
        reads: reads, writes: [y])
    }
  }

  /// The left operand's matrices, transposed where they are stored so.
  private mutating func leftMatrices(_ multiply: MatrixMultiply) throws -> Buffer {
    let (shape, a) = (shape(node.inputs[0]), input(0))
    guard multiply.transposesLeft else { return a }
    guard shape.rank == 2 else {
      let last = shape.rank - 1
      let order = Array(0..<(last - 1)) + [last, last - 1]
      return emitTransposed(a, shape: shape, Transpose(order), byteCount: 4)
    }
    let transposed = temporary(floats: shape.count)
    emit(
      TransposeMatrixStep(input: a, output: transposed, rows: shape[0], columns: shape[1]),
      reads: [a], writes: [transposed], suffix: "transpose")
    return transposed
  }

  /// The right operand's panels: of a parameter packed when it changes, of any other value in every run.
  private mutating func packedMatrices(_ matrices: BatchedMatrices, isTransposed: Bool) -> Buffer {
    let step = { (source: Buffer, target: Buffer) in
      PackStep(
        source: source, target: target, depth: matrices.depth, columns: matrices.columns,
        isTransposed: isTransposed, matrices: matrices.rightCount)
    }
    let count = matrices.rightCount * matrices.depth * matrices.columns
    if let packed = pack(
      parameter: node.inputs[1], layout: isTransposed ? "matrix/transposed" : "matrix",
      floatCount: count, make: step)
    {
      return packed
    }
    let (b, packed) = (input(1), temporary(floats: count))
    emit(step(b, packed), reads: [b], writes: [packed], suffix: "pack")
    return packed
  }
}

/// Products of many matrices with every number known.
struct BatchedMatrices: Sendable {
  let rows: Int
  let depth: Int
  let columns: Int
  /// Which matrices make each of the results.
  let left: [Int]
  let right: [Int]
  /// How many matrices the right operand has.
  let rightCount: Int

  init(_ multiply: MatrixMultiply, left: Shape, right: Shape, result: Shape) {
    rows = result[result.rank - 2]
    columns = result[result.rank - 1]
    depth = left[left.rank - (multiply.transposesLeft ? 2 : 1)]
    rightCount = right.dimensions.dropLast(2).reduce(1, *)
    let matrices = Shape(result.dimensions.dropLast(2))
    self.left = Self.sources(Shape(left.dimensions.dropLast(2)), stretchedTo: matrices)
    self.right = Self.sources(Shape(right.dimensions.dropLast(2)), stretchedTo: matrices)
  }

  /// For every element of a shape that another stretches to, the element that it repeats.
  private static func sources(_ shape: Shape, stretchedTo result: Shape) -> [Int] {
    let (strides, missing) = (shape.strides, result.rank - shape.rank)
    return result.dimensions.enumerated().reduce([0]) { indices, axis in
      let isOwn = axis.offset >= missing && shape[axis.offset - missing] > 1
      let stride = isOwn ? strides[axis.offset - missing] : 0
      return indices.flatMap { start in (0..<axis.element).map { start + $0 * stride } }
    }
  }
}

/// Products of matrix by matrix, in bands of rows.
final class BatchedProduct: Step {
  let matrices: BatchedMatrices
  let product: PanelProduct
  let rows: Pieces
  let a: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let y: Buffer

  init(
    _ matrices: BatchedMatrices, product: PanelProduct, a: Buffer, packed: Buffer, bias: Buffer,
    residual: Buffer?, y: Buffer
  ) {
    self.matrices = matrices
    self.product = product
    self.a = a
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.y = y
    let block = product.kernels.rows(depth: matrices.depth)
    rows = Pieces(matrices.rows, size: 4 * block, unit: block)
  }

  var pieces: Int { matrices.left.count * rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let (matrix, rows) = (piece / rows.count, rows.range(piece % rows.count))
    let a =
      context.floats(a)
      + (matrices.left[matrix] * matrices.rows + rows.lowerBound) * matrices.depth
    let offset = (matrix * matrices.rows + rows.lowerBound) * matrices.columns
    product.run(
      panels: 0..<product.panelCount, rows: rows.count, a: a, lda: matrices.depth,
      b: context.floats(packed) + matrices.right[matrix] * product.packedCount,
      c: context.floats(y) + offset, ldc: matrices.columns, bias: context.floats(bias),
      residual: residual.map { context.floats($0) + offset })
  }
}

/// The transpose of a matrix, in bands of rows.
final class TransposeMatrixStep: Step {
  let input: Buffer
  let output: Buffer
  let columns: Int
  let rows: Pieces

  init(input: Buffer, output: Buffer, rows: Int, columns: Int) {
    self.input = input
    self.output = output
    self.columns = columns
    self.rows = Pieces(rows, size: max(16, (32 << 10) / max(columns, 1)), unit: 16)
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    cnl_transpose(
      context.floats(output) + range.lowerBound, rows.total,
      context.floats(input) + range.lowerBound * columns, columns, range.count, columns)
  }
}
