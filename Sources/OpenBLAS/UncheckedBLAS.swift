package import CConvNetOpenBLAS

/// OpenBLAS without checks, for modules of this package that have checked their shapes in a plan.
///
/// The caller has called ``BLAS/bootstrap(kernel:)`` before, and `limitCallingThread()` on each of
/// its threads. All matrices are row-major, strides of vectors are 1, sizes fit `blasint`.
package enum UncheckedBLAS {
  /// The integer of this build of BLAS: 32 bits, or 64 in the builds named so.
  package typealias Index = blasint

  /// C[m×n] = A[m×k]·B[k×n] + beta·C: the form that the engine's panels use.
  @inlinable @inline(__always)
  package static func sgemm(
    m: Int, n: Int, k: Int, a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
    beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Index(truncatingIfNeeded: m),
      Index(truncatingIfNeeded: n), Index(truncatingIfNeeded: k), 1, a,
      Index(truncatingIfNeeded: lda), b, Index(truncatingIfNeeded: ldb), beta, c,
      Index(truncatingIfNeeded: ldc))
  }

  /// C[m×n] = alpha·op(A)·op(B) + beta·C; m, n and k are those of op(A) and op(B).
  @inlinable @inline(__always)
  package static func sgemm(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Float = 1,
    a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
    beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans,
      transposeB ? CblasTrans : CblasNoTrans, Index(truncatingIfNeeded: m),
      Index(truncatingIfNeeded: n), Index(truncatingIfNeeded: k), alpha, a,
      Index(truncatingIfNeeded: lda), b, Index(truncatingIfNeeded: ldb), beta, c,
      Index(truncatingIfNeeded: ldc))
  }

  /// C[m×n] = alpha·op(A)·op(B) + beta·C in Double; m, n and k are those of op(A) and op(B).
  @inlinable @inline(__always)
  package static func dgemm(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, alpha: Double = 1,
    a: UnsafePointer<Double>, lda: Int, b: UnsafePointer<Double>, ldb: Int,
    beta: Double, c: UnsafeMutablePointer<Double>, ldc: Int
  ) {
    cblas_dgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans,
      transposeB ? CblasTrans : CblasNoTrans, Index(truncatingIfNeeded: m),
      Index(truncatingIfNeeded: n), Index(truncatingIfNeeded: k), alpha, a,
      Index(truncatingIfNeeded: lda), b, Index(truncatingIfNeeded: ldb), beta, c,
      Index(truncatingIfNeeded: ldc))
  }

  /// y = alpha·op(A)·x + beta·y; A is stored as rows × columns.
  ///
  /// What beta = 0 does to a NaN in y depends on the version of OpenBLAS; clear y and pass 1
  /// instead.
  @inlinable @inline(__always)
  package static func sgemv(
    transpose: Bool, rows: Int, columns: Int, alpha: Float = 1, a: UnsafePointer<Float>, lda: Int,
    x: UnsafePointer<Float>, beta: Float, y: UnsafeMutablePointer<Float>
  ) {
    cblas_sgemv(
      CblasRowMajor, transpose ? CblasTrans : CblasNoTrans, Index(truncatingIfNeeded: rows),
      Index(truncatingIfNeeded: columns), alpha, a, Index(truncatingIfNeeded: lda), x, 1, beta,
      y, 1)
  }

  /// y += alpha·x.
  @inlinable @inline(__always)
  package static func saxpy(
    count: Int, alpha: Float, x: UnsafePointer<Float>, y: UnsafeMutablePointer<Float>
  ) {
    cblas_saxpy(Index(truncatingIfNeeded: count), alpha, x, 1, y, 1)
  }

  /// Σ xᵢ·yᵢ.
  @inlinable @inline(__always)
  package static func sdot(
    count: Int, x: UnsafePointer<Float>, y: UnsafePointer<Float>
  ) -> Float {
    cblas_sdot(Index(truncatingIfNeeded: count), x, 1, y, 1)
  }
}
