import CConvNetLoops
import OpenBLAS

extension GradientSumsStep {
  /// Floats that a lane needs: rows of products, and ones.
  var blasScratchCount: Int {
    max(ChannelLayout.blasRows(layout.channels) * (stride + 1), GradientSumsStep.planeBlock)
  }

  /// The `.blas` strategy of a block's Σ dy and Σ dy·(x − m): `sgemv` of ones against dy and against the
  /// products.
  func sumByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, rows: Int, mean: UnsafePointer<Float>,
    sumG: UnsafeMutablePointer<Float>, sumGX: UnsafeMutablePointer<Float>,
    scratch products: UnsafeMutablePointer<Float>
  ) {
    let channels = layout.channels
    let most = ChannelLayout.blasRows(channels)
    let ones = products + most * stride
    cnl_fill(ones, 1, most)
    cnl_fill(sumG, 0, channels)
    cnl_fill(sumGX, 0, channels)
    for row in Swift.stride(from: 0, to: rows, by: most) {
      let count = min(most, rows - row)
      let (dy, x) = (dy + row * channels, x + row * channels)
      addColumnSumsByBLAS(dy, rows: count, channels: channels, ones: ones, to: sumG)
      cnl_combine(
        Int32(CNL_SUBTRACT.rawValue), products, channels, x, channels, 1, mean, 0, 1, count,
        channels)
      cnl_combine(
        Int32(CNL_MULTIPLY.rawValue), products, channels, products, channels, 1, dy, channels, 1,
        count, channels)
      addColumnSumsByBLAS(products, rows: count, channels: channels, ones: ones, to: sumGX)
    }
  }
}

extension GradientSumsStep {
  /// The `.blas` strategy of a part of a plane: Σ dy by `sdot` with ones, Σ dy·(x − m) by `sdot` with x − m.
  func planeSumsByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, count: Int, mean: Float,
    scratch: UnsafeMutablePointer<Float>
  ) -> (sumG: Float, sumGX: Float) {
    cnl_fill(scratch, 1, count)
    let sumG = UncheckedBLAS.sdot(count: count, x: dy, y: scratch)
    cnl_fill(scratch, -mean, count)
    UncheckedBLAS.saxpy(count: count, alpha: 1, x: x, y: scratch)
    return (sumG, UncheckedBLAS.sdot(count: count, x: dy, y: scratch))
  }
}

/// The `.blas` strategy of dx = a·dy + b·x + k: k is laid over dx, then `sgemm` with diagonal matrices
/// adds the products, or, channels first, two `saxpy` for each plane.
final class BLASNormalizeGradientStep: Step {
  let dy: Buffer
  let x: Buffer
  /// Three rows: a, b and k.
  let coefficients: Buffer
  let layout: ChannelLayout
  let rows: Pieces
  let dx: Buffer

  init(
    dy: Buffer, x: Buffer, coefficients: Buffer, layout: ChannelLayout, rows: Pieces, dx: Buffer
  ) {
    self.dy = dy
    self.x = x
    self.coefficients = coefficients
    self.layout = layout
    self.rows = rows
    self.dx = dx
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int { DiagonalProduct.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let channels = layout.channels
    let a = context.floats(coefficients)
    let (b, k) = (a + channels, a + 2 * channels)
    let range = rows.range(piece)
    guard !range.isEmpty else { return }
    switch layout {
    case .rows:
      let offset = range.lowerBound * channels
      let dx = context.floats(dx) + offset
      cnl_copy_rows(dx, channels, k, 0, range.count, channels)
      let scratch = context.scratch(lane: lane)
      DiagonalProduct.add(
        context.floats(dy) + offset, times: a, to: dx, rows: range.count, channels: channels,
        scratch: scratch)
      DiagonalProduct.add(
        context.floats(x) + offset, times: b, to: dx, rows: range.count, channels: channels,
        scratch: scratch)
    case .planes(_, _, let inner):
      let (c, offset) = (piece % channels, piece * inner)
      let dx = context.floats(dx) + offset
      cnl_fill(dx, k[c], inner)
      UncheckedBLAS.saxpy(count: inner, alpha: a[c], x: context.floats(dy) + offset, y: dx)
      UncheckedBLAS.saxpy(count: inner, alpha: b[c], x: context.floats(x) + offset, y: dx)
    }
  }
}
