import CConvNetOpenBLAS

extension BLAS {
  /// y += alpha·x.
  ///
  /// Stops when the counts differ.
  public static func saxpy(_ alpha: Float, _ x: Vector<Float>, addingTo y: MutableVector<Float>) {
    requireEqual("BLAS.saxpy", x.count, y.count)
    guard let x0 = x.base, let y0 = y.base, x.count > 0 else { return }
    ensureReady()
    cblas_saxpy(blasint(x.count), alpha, x0, blasint(x.stride), y0, blasint(y.stride))
  }

  /// y = alpha·x + beta·y; with beta = 0 the old contents of y do not matter, not even if they are
  /// NaN.
  ///
  /// Stops when the counts differ.
  public static func saxpby(
    _ alpha: Float, _ x: Vector<Float>, _ beta: Float, _ y: MutableVector<Float>
  ) {
    requireEqual("BLAS.saxpby", x.count, y.count)
    guard let x0 = x.base, let y0 = y.base, x.count > 0 else { return }
    ensureReady()
    // Versions of OpenBLAS differ in what 0·NaN gives.
    if beta == 0 { y.scale(by: 0) }
    cblas_saxpby(
      blasint(x.count), alpha, x0, blasint(x.stride), beta == 0 ? 1 : beta, y0,
      blasint(y.stride))
  }

  /// x = alpha·x; alpha = 0 gives zeros, whatever was there.
  public static func sscal(_ alpha: Float, _ x: MutableVector<Float>) {
    guard alpha != 0 else { return x.scale(by: 0) }
    guard let x0 = x.base, x.count > 0 else { return }
    ensureReady()
    cblas_sscal(blasint(x.count), alpha, x0, blasint(x.stride))
  }

  /// Σ xᵢ·yᵢ; zero for empty vectors.
  ///
  /// Stops when the counts differ.
  public static func sdot(_ x: Vector<Float>, _ y: Vector<Float>) -> Float {
    requireEqual("BLAS.sdot", x.count, y.count)
    guard let x0 = x.base, let y0 = y.base, x.count > 0 else { return 0 }
    ensureReady()
    return cblas_sdot(blasint(x.count), x0, blasint(x.stride), y0, blasint(y.stride))
  }

  /// √Σ xᵢ²; zero for an empty vector.
  public static func snrm2(_ x: Vector<Float>) -> Float {
    guard let x0 = x.base, x.count > 0 else { return 0 }
    ensureReady()
    return cblas_snrm2(blasint(x.count), x0, blasint(x.stride))
  }

  /// y = x.
  ///
  /// Stops when the counts differ.
  public static func scopy(_ x: Vector<Float>, to y: MutableVector<Float>) {
    requireEqual("BLAS.scopy", x.count, y.count)
    guard let x0 = x.base, let y0 = y.base, x.count > 0 else { return }
    ensureReady()
    cblas_scopy(blasint(x.count), x0, blasint(x.stride), y0, blasint(y.stride))
  }

  /// B = alpha·A, where A may be ``Matrix/transposed``; B must not overlap A.
  ///
  /// Stops when the shapes differ.
  public static func somatcopy(
    _ a: Matrix<Float>, to b: MutableMatrix<Float>, alpha: Float = 1
  ) {
    guard a.rows == b.rows, a.columns == b.columns else {
      stop("BLAS.somatcopy: \(a.shape) cannot be copied to \(b.shape).")
    }
    guard alpha != 0 else { return b.scale(by: 0) }
    guard let a0 = a.base, let b0 = b.base, a.rows > 0, a.columns > 0 else { return }
    ensureReady()
    cblas_somatcopy(
      CblasRowMajor, a.operation, blasint(a.stored.rows), blasint(a.stored.columns), alpha, a0,
      blasint(a.leadingDimension), b0, blasint(b.leadingDimension))
  }

  private static func requireEqual(_ name: String, _ x: Int, _ y: Int) {
    if x != y { stop("\(name): the vectors have \(x) and \(y) elements.") }
  }
}
