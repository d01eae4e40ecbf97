import CConvNetLoops
import OpenBLAS

extension NormalizeStep {
  /// The `.blas` strategy of rows: b is laid over them, then `sgemm` adds x times the diagonal matrix of
  /// a = γ/√(σ²+ε).
  ///
  /// 0·∞ is NaN: a value that is not finite makes the other channels of its row and block NaN.
  func scaleByBLAS(
    _ x: UnsafePointer<Float>, _ rows: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    to y: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
  ) {
    cnl_copy_rows(y, layout.channels, b, 0, rows, layout.channels)
    DiagonalProduct.add(
      x, times: a, to: y, rows: rows, channels: layout.channels, scratch: scratch)
  }

  /// The `.blas` strategy of a plane: `saxpy` onto one filled with b, which passes over y once less than
  /// `sscal` of a copy and `saxpy` of ones.
  func scalePlaneByBLAS(
    _ x: UnsafePointer<Float>, _ count: Int, _ a: Float, _ b: Float,
    to y: UnsafeMutablePointer<Float>
  ) {
    cnl_fill(y, b, count)
    UncheckedBLAS.saxpy(count: count, alpha: a, x: x, y: y)
  }
}

extension NormalizeGradientStep {
  /// The `.blas` strategy of dx = a·dy + b·x + k over rows: k is laid over dx, then `sgemm` with diagonal
  /// matrices adds the products.
  func combineByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, _ rows: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ k: UnsafePointer<Float>, to dx: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>
  ) {
    cnl_copy_rows(dx, layout.channels, k, 0, rows, layout.channels)
    DiagonalProduct.add(
      dy, times: a, to: dx, rows: rows, channels: layout.channels, scratch: scratch)
    DiagonalProduct.add(
      x, times: b, to: dx, rows: rows, channels: layout.channels, scratch: scratch)
  }

  /// The `.blas` strategy of a plane: two `saxpy` onto one filled with k.
  func combinePlaneByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, _ count: Int, _ a: Float, _ b: Float,
    _ k: Float, to dx: UnsafeMutablePointer<Float>
  ) {
    cnl_fill(dx, k, count)
    UncheckedBLAS.saxpy(count: count, alpha: a, x: dy, y: dx)
    UncheckedBLAS.saxpy(count: count, alpha: b, x: x, y: dx)
  }
}

/// y += x·diag(a) by `sgemm`, a diagonal block at a time.
enum DiagonalProduct {
  /// Channels of one diagonal block.
  private static let width = 32

  static let scratchByteCount = width * width * 4

  static func add(
    _ x: UnsafePointer<Float>, times a: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>,
    rows: Int, channels: Int, scratch diagonal: UnsafeMutablePointer<Float>
  ) {
    for first in stride(from: 0, to: channels, by: width) {
      let width = min(width, channels - first)
      cnl_fill(diagonal, 0, width * width)
      for c in 0..<width { diagonal[c * width + c] = a[first + c] }
      UncheckedBLAS.sgemm(
        m: rows, n: width, k: width, a: x + first, lda: channels, b: diagonal, ldb: width, beta: 1,
        c: y + first, ldc: channels)
    }
  }
}
