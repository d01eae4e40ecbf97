import CConvNetLoops
import OpenBLAS

/// The `.blas` strategy of the reductions: per block of rows, `sgemv` of ones against the centred block
/// and against its squares.
final class BLASMomentsStep: Step {
  let x: Buffer
  let rows: Pieces
  let channels: Int
  /// Per piece a row of means and one of M2.
  let parts: Buffer

  init(x: Buffer, rows: Pieces, channels: Int, parts: Buffer) {
    self.x = x
    self.rows = rows
    self.channels = channels
    self.parts = parts
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int { (5 * stride + block * stride + block) * 4 }

  private var stride: Int { (channels + 15) / 16 * 16 }
  private var block: Int { ChannelLayout.blockRows }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let shift = context.scratch(lane: lane)
    let (sum, square) = (shift + stride, shift + 2 * stride)
    let centred = shift + 5 * stride
    let ones = centred + block * stride
    cnl_fill(ones, 1, block)
    let mean = context.doubles(parts) + piece * 2 * channels
    let m2 = mean + channels
    mean.update(repeating: 0, count: 2 * channels)
    guard !range.isEmpty else { return }
    let x = context.floats(x) + range.lowerBound * channels
    let first = min(block, range.count)
    columnSums(x, rows: first, ones: ones, into: shift)
    UncheckedBLAS.sscal(count: channels, alpha: 1 / Float(first), x: shift)
    var row = 0
    while row < range.count {
      let count = min(block, range.count - row)
      let source = x + row * channels
      cnl_combine(
        Int32(CNL_SUBTRACT.rawValue), centred, channels, source, channels, 1, shift, 0, 1, count,
        channels)
      columnSums(centred, rows: count, ones: ones, into: sum)
      cnl_map(Int32(CNL_SQUARE.rawValue), 0, 0, centred, centred, count * channels)
      columnSums(centred, rows: count, ones: ones, into: square)
      cnl_moments_merge(mean, m2, Double(row), sum, square, shift, Double(count), channels)
      row += count
    }
  }

  /// sums = onesᵀ·x, cleared first because what beta = 0 does to NaN is up to OpenBLAS's version.
  private func columnSums(
    _ x: UnsafePointer<Float>, rows: Int, ones: UnsafePointer<Float>,
    into sums: UnsafeMutablePointer<Float>
  ) {
    cnl_fill(sums, 0, channels)
    UncheckedBLAS.sgemv(
      transpose: true, rows: rows, columns: channels, a: x, lda: channels, x: ones, beta: 1, y: sums
    )
  }
}

/// The `.blas` strategy of scale and shift: β is laid over the rows, then `sgemm` adds x times the
/// diagonal matrix of γ/√(σ²+ε).
final class BLASScaleShiftStep: Step {
  let x: Buffer
  /// Two rows: a and b of y = a·x + b.
  let coefficients: Buffer
  let rows: Pieces
  let channels: Int
  let y: Buffer

  init(x: Buffer, coefficients: Buffer, rows: Pieces, channels: Int, y: Buffer) {
    self.x = x
    self.coefficients = coefficients
    self.rows = rows
    self.channels = channels
    self.y = y
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int { channels * channels * 4 }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let a = context.floats(coefficients)
    let b = a + channels
    let diagonal = context.scratch(lane: lane)
    cnl_fill(diagonal, 0, channels * channels)
    for c in 0..<channels { diagonal[c * channels + c] = a[c] }
    let y = context.floats(y) + range.lowerBound * channels
    cnl_copy_rows(y, channels, b, 0, range.count, channels)
    UncheckedBLAS.sgemm(
      m: range.count, n: channels, k: channels,
      a: context.floats(x) + range.lowerBound * channels, lda: channels, b: diagonal,
      ldb: channels, beta: 1, c: y, ldc: channels)
  }
}
