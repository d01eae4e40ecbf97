import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// y = adjoint of a convolution, applied to x, + b: what the gradient of its input is made by.
  mutating func emitTransposedConvolution(_ transposed: TransposedConvolution) throws {
    let window = transposed.convolution.window
    if window.rank == 3 { return try emitVolume(transposed) }
    let (x, y) = (shape(node.inputs[0]), shape(node.outputs[0]))
    guard window.rank < 3 else {
      throw unsupported("transposed convolution over \(window.rank) spatial dimensions")
    }
    let shape = ConvolutionShape(
      axes: try transposed.axes(input: Array(x.dimensions[1..<(x.rank - 1)])), images: x[0],
      channels: y[y.rank - 1], filters: x[x.rank - 1], groups: transposed.convolution.groups)
    try emitAdjoint(shape, bias: node.inputs.count == 3 ? input(2) : nil)
  }

  /// Adds a bias to every row of what has been computed.
  mutating func emitBias(_ bias: Buffer, to y: Buffer, rows: Int, columns: Int) {
    emit(
      BiasStep(y: y, bias: bias, rows: rows, columns: columns), reads: [y, bias], writes: [y],
      suffix: "bias")
  }
}

/// A row added to every row of a matrix.
final class BiasStep: Step {
  let y: Buffer
  let bias: Buffer
  let columns: Int
  let rows: Pieces

  init(y: Buffer, bias: Buffer, rows: Int, columns: Int) {
    self.y = y
    self.bias = bias
    self.columns = columns
    self.rows = Pieces(rows, size: max(1, (16 << 10) / max(columns, 1)))
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    cnl_bias_clamp(
      context.floats(y) + range.lowerBound * columns, columns, context.floats(bias), -.infinity,
      .infinity, range.count, columns)
  }
}
