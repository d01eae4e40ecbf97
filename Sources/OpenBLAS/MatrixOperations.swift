import CConvNetOpenBLAS

extension BLAS {
  /// C = alpha·A·B + beta·C in Float, for A of M × K, B of K × N and C of M × N.
  ///
  /// With beta = 0 the old contents of C do not matter, not even if they are NaN; with K = 0 the
  /// result is beta·C. C must not overlap A or B. Stops when the shapes disagree.
  public static func sgemm(
    _ a: Matrix<Float>, _ b: Matrix<Float>, into c: MutableMatrix<Float>, alpha: Float = 1,
    beta: Float = 0
  ) {
    requireProduct("BLAS.sgemm", a, b, c)
    guard let a0 = a.base, let b0 = b.base, let c0 = c.base, a.columns > 0, c.rows > 0,
      c.columns > 0, alpha != 0
    else { return c.scale(by: beta) }
    ensureReady()
    cblas_sgemm(
      CblasRowMajor, a.operation, b.operation, blasint(c.rows), blasint(c.columns),
      blasint(a.columns), alpha, a0, blasint(a.leadingDimension), b0,
      blasint(b.leadingDimension), beta, c0, blasint(c.leadingDimension))
  }

  /// C = alpha·A·B + beta·C in Double, for A of M × K, B of K × N and C of M × N.
  ///
  /// With beta = 0 the old contents of C do not matter, not even if they are NaN; with K = 0 the
  /// result is beta·C. C must not overlap A or B. Stops when the shapes disagree.
  public static func dgemm(
    _ a: Matrix<Double>, _ b: Matrix<Double>, into c: MutableMatrix<Double>, alpha: Double = 1,
    beta: Double = 0
  ) {
    requireProduct("BLAS.dgemm", a, b, c)
    guard let a0 = a.base, let b0 = b.base, let c0 = c.base, a.columns > 0, c.rows > 0,
      c.columns > 0, alpha != 0
    else { return c.scale(by: beta) }
    ensureReady()
    cblas_dgemm(
      CblasRowMajor, a.operation, b.operation, blasint(c.rows), blasint(c.columns),
      blasint(a.columns), alpha, a0, blasint(a.leadingDimension), b0,
      blasint(b.leadingDimension), beta, c0, blasint(c.leadingDimension))
  }

  /// y = alpha·A·x + beta·y in Float, for A of M × N, x of N and y of M elements.
  ///
  /// With beta = 0 the old contents of y do not matter, not even if they are NaN; with N = 0 the
  /// result is beta·y. y must not overlap A or x. Stops when the shapes disagree.
  public static func sgemv(
    _ a: Matrix<Float>, _ x: Vector<Float>, into y: MutableVector<Float>, alpha: Float = 1,
    beta: Float = 0
  ) {
    guard a.columns == x.count, a.rows == y.count else {
      stop("BLAS.sgemv: \(a.shape) times \(x.count) elements does not give \(y.count).")
    }
    guard let a0 = a.base, let x0 = x.base, let y0 = y.base, a.rows > 0, a.columns > 0,
      alpha != 0
    else { return y.scale(by: beta) }
    ensureReady()
    // Versions of OpenBLAS differ in what 0·NaN gives inside gemv.
    if beta == 0 { y.scale(by: 0) }
    cblas_sgemv(
      CblasRowMajor, a.operation, blasint(a.stored.rows), blasint(a.stored.columns), alpha, a0,
      blasint(a.leadingDimension), x0, blasint(x.stride), beta == 0 ? 1 : beta, y0,
      blasint(y.stride))
  }

  /// y = alpha·A·x + beta·y in Double, for A of M × N, x of N and y of M elements.
  ///
  /// With beta = 0 the old contents of y do not matter, not even if they are NaN; with N = 0 the
  /// result is beta·y. y must not overlap A or x. Stops when the shapes disagree.
  public static func dgemv(
    _ a: Matrix<Double>, _ x: Vector<Double>, into y: MutableVector<Double>, alpha: Double = 1,
    beta: Double = 0
  ) {
    guard a.columns == x.count, a.rows == y.count else {
      stop("BLAS.dgemv: \(a.shape) times \(x.count) elements does not give \(y.count).")
    }
    guard let a0 = a.base, let x0 = x.base, let y0 = y.base, a.rows > 0, a.columns > 0,
      alpha != 0
    else { return y.scale(by: beta) }
    ensureReady()
    // Versions of OpenBLAS differ in what 0·NaN gives inside gemv.
    if beta == 0 { y.scale(by: 0) }
    cblas_dgemv(
      CblasRowMajor, a.operation, blasint(a.stored.rows), blasint(a.stored.columns), alpha, a0,
      blasint(a.leadingDimension), x0, blasint(x.stride), beta == 0 ? 1 : beta, y0,
      blasint(y.stride))
  }

  /// A += alpha·x·yᵀ in Float, for A of M × N, x of M and y of N elements.
  ///
  /// Stops when the shapes disagree.
  public static func sger(
    _ x: Vector<Float>, _ y: Vector<Float>, addingTo a: MutableMatrix<Float>, alpha: Float = 1
  ) {
    guard x.count == a.rows, y.count == a.columns else {
      stop("BLAS.sger: \(x.count) by \(y.count) elements cannot be added to \(a.shape).")
    }
    guard let x0 = x.base, let y0 = y.base, let a0 = a.base, a.rows > 0, a.columns > 0 else {
      return
    }
    ensureReady()
    cblas_sger(
      CblasRowMajor, blasint(a.rows), blasint(a.columns), alpha, x0, blasint(x.stride), y0,
      blasint(y.stride), a0, blasint(a.leadingDimension))
  }

  private static func requireProduct<T>(
    _ name: String, _ a: Matrix<T>, _ b: Matrix<T>, _ c: MutableMatrix<T>
  ) {
    guard a.columns == b.rows else {
      stop("\(name): \(a.shape) cannot be multiplied by \(b.shape).")
    }
    guard a.rows == c.rows, b.columns == c.columns else {
      stop("\(name): \(a.shape) times \(b.shape) does not give \(c.shape).")
    }
  }
}
