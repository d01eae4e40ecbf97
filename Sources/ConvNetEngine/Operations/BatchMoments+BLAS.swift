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
    let first = min(ChannelLayout.shiftRows, range.count)
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
/// diagonal matrix of γ/√(σ²+ε), in diagonal blocks of 32 channels, outside which it is zero.
///
/// 0·∞ is NaN: a value that is not finite makes the other channels of its row and block NaN.
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
  var scratchByteCount: Int { Self.width * Self.width * 4 }

  /// Channels of one diagonal block.
  private static let width = 32

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let a = context.floats(coefficients)
    let b = a + channels
    let diagonal = context.scratch(lane: lane)
    let x = context.floats(x) + range.lowerBound * channels
    let y = context.floats(y) + range.lowerBound * channels
    cnl_copy_rows(y, channels, b, 0, range.count, channels)
    for first in stride(from: 0, to: channels, by: Self.width) {
      let width = min(Self.width, channels - first)
      cnl_fill(diagonal, 0, width * width)
      for c in 0..<width { diagonal[c * width + c] = a[first + c] }
      UncheckedBLAS.sgemm(
        m: range.count, n: width, k: width, a: x + first, lda: channels, b: diagonal, ldb: width,
        beta: 1, c: y + first, ldc: channels)
    }
  }
}
