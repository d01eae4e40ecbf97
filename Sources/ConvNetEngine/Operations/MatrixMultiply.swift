import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// a·b + bias of matrices, either read transposed.
  mutating func emitMatrixMultiply(_ multiply: MatrixMultiply, epilogue: Epilogue) throws {
    let (left, right) = (shape(node.inputs[0]), shape(node.inputs[1]))
    let rows = multiply.transposesLeft ? left[1] : left[0]
    let depth = multiply.transposesLeft ? left[0] : left[1]
    let columns = multiply.transposesRight ? right[0] : right[1]
    let biasIndex = epilogue.residual == 2 || node.inputs.count < 3 ? nil : 2
    let bias = biasIndex.map { input($0) } ?? zeros(columns)
    let residual = epilogue.residual.map { input($0) }
    var a = input(0)
    if multiply.transposesLeft {
      let transposed = temporary(floats: rows * depth)
      emit(
        TransposeMatrixStep(input: a, output: transposed, rows: depth, columns: rows), reads: [a],
        writes: [transposed], suffix: "transpose")
      a = transposed
    }
    let b = input(1)
    let isTransposed = multiply.transposesRight
    let step = { (source: Buffer, target: Buffer) in
      PackStep(
        source: source, target: target, depth: depth, columns: columns, isTransposed: isTransposed)
    }
    let packed: Buffer
    if let known = pack(
      parameter: node.inputs[1], layout: isTransposed ? "matrix/transposed" : "matrix",
      floatCount: depth * columns, make: step)
    {
      packed = known
    } else {
      packed = temporary(floats: depth * columns)
      emit(step(b, packed), reads: [b], writes: [packed], suffix: "pack")
    }
    let y = try output()
    emit(
      PointwiseConvolution(
        rowCount: rows,
        product: PanelProduct(
          depth: depth, columns: columns, kernels: kernels, epilogue: epilogue,
          hasBias: biasIndex != nil),
        x: a, packed: packed, bias: bias, residual: residual, y: y),
      reads: [a, packed, bias] + [residual].compactMap { $0 }, writes: [y])
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
