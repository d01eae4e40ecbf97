import CConvNetOpenBLAS

extension BLAS {
  /// The shape of a matrix in memory, checked against the buffer that holds it.
  struct Layout {
    /// Stops unless rows × columns with this leading dimension lie within `count` elements.
    static func check(
      _ type: String, rows: Int, columns: Int, leadingDimension: Int, count: Int
    ) {
      guard rows >= 0, columns >= 0, leadingDimension >= max(1, columns) else {
        stop(
          "\(type): \(rows) × \(columns) cannot have the leading dimension \(leadingDimension).")
      }
      guard max(rows, leadingDimension) <= Int(blasint.max) else {
        stop(
          "\(type): \(rows) × \(columns) with leading dimension \(leadingDimension) "
            + "is larger than BLAS can address.")
      }
      if rows == 0 || columns == 0 { return }
      let (whole, overflow) = (rows - 1).multipliedReportingOverflow(by: leadingDimension)
      let needed = whole.addingReportingOverflow(columns)
      guard !overflow, !needed.overflow, needed.partialValue <= count else {
        stop(
          "\(type): \(rows) × \(columns) with leading dimension \(leadingDimension) "
            + "does not fit in a buffer of \(count) elements.")
      }
    }

    /// Stops unless `count` elements `stride` apart lie within a buffer.
    static func check(_ type: String, count: Int, stride: Int, bufferCount: Int) {
      guard count >= 0, stride >= 1, max(count, stride) <= Int(blasint.max) else {
        stop("\(type): \(count) elements with stride \(stride) make no vector.")
      }
      if count == 0 { return }
      let (last, overflow) = (count - 1).multipliedReportingOverflow(by: stride)
      guard !overflow, last < bufferCount else {
        stop(
          "\(type): \(count) elements with stride \(stride) "
            + "do not fit in a buffer of \(bufferCount) elements.")
      }
    }
  }

  /// A matrix to read: a view of row-major memory that the caller keeps alive.
  public struct Matrix<Element: BinaryFloatingPoint> {
    /// The number of rows, as the operation sees it (after transposing).
    public let rows: Int
    /// The number of columns, as the operation sees it (after transposing).
    public let columns: Int
    /// The distance in elements between the starts of two rows in memory.
    public let leadingDimension: Int
    /// Whether the memory holds the transpose of what the operation sees.
    public let isTransposed: Bool
    let base: UnsafePointer<Element>?

    /// A view of `rows × columns` elements of a buffer, its rows `leadingDimension` (else
    /// `columns`) apart.
    ///
    /// Stops when the buffer is too small, a size is negative, the leading dimension is 0 or below
    /// `columns`, or a size is beyond BLAS's integers.
    public init(
      _ buffer: UnsafeBufferPointer<Element>, rows: Int, columns: Int,
      leadingDimension: Int? = nil
    ) {
      let leading = leadingDimension ?? max(1, columns)
      Layout.check(
        "BLAS.Matrix", rows: rows, columns: columns, leadingDimension: leading,
        count: buffer.count)
      self.init(base: buffer.baseAddress, rows, columns, leading, false)
    }

    /// A view for reading of a matrix that can be written.
    public init(_ matrix: MutableMatrix<Element>) {
      self.init(
        base: UnsafePointer(matrix.base), matrix.rows, matrix.columns, matrix.leadingDimension,
        false)
    }

    private init(
      base: UnsafePointer<Element>?, _ rows: Int, _ columns: Int, _ leading: Int,
      _ isTransposed: Bool
    ) {
      self.base = base
      self.rows = rows
      self.columns = columns
      self.leadingDimension = leading
      self.isTransposed = isTransposed
    }

    /// The transpose of this matrix; nothing is moved.
    public var transposed: Self {
      Self(base: base, columns, rows, leadingDimension, !isTransposed)
    }

    var shape: String { "\(rows) × \(columns)" }
    var operation: CBLAS_TRANSPOSE { isTransposed ? CblasTrans : CblasNoTrans }
    /// The shape in memory, which cblas_?gemv and cblas_?omatcopy want.
    var stored: (rows: Int, columns: Int) { isTransposed ? (columns, rows) : (rows, columns) }
  }

  /// A matrix to write: a view of row-major memory that the caller keeps alive and nobody else
  /// uses.
  public struct MutableMatrix<Element: BinaryFloatingPoint> {
    /// The number of rows.
    public let rows: Int
    /// The number of columns.
    public let columns: Int
    /// The distance in elements between the starts of two rows in memory.
    public let leadingDimension: Int
    let base: UnsafeMutablePointer<Element>?

    /// A view of `rows × columns` elements of a buffer, its rows `leadingDimension` (else
    /// `columns`) apart.
    ///
    /// Stops when the buffer is too small, a size is negative, the leading dimension is 0 or below
    /// `columns`, or a size is beyond BLAS's integers.
    public init(
      _ buffer: UnsafeMutableBufferPointer<Element>, rows: Int, columns: Int,
      leadingDimension: Int? = nil
    ) {
      let leading = leadingDimension ?? max(1, columns)
      Layout.check(
        "BLAS.MutableMatrix", rows: rows, columns: columns, leadingDimension: leading,
        count: buffer.count)
      self.base = buffer.baseAddress
      self.rows = rows
      self.columns = columns
      self.leadingDimension = leading
    }

    var shape: String { "\(rows) × \(columns)" }

    /// C = factor·C, where 0 overwrites whatever was there.
    func scale(by factor: Element) {
      guard let base, factor != 1 else { return }
      for i in 0..<rows {
        let row = base + i * leadingDimension
        for j in 0..<columns { row[j] = factor == 0 ? 0 : factor * row[j] }
      }
    }
  }

  /// A vector to read: a view of memory that the caller keeps alive.
  public struct Vector<Element: BinaryFloatingPoint> {
    /// The number of elements.
    public let count: Int
    /// The distance between two elements in memory, at least 1.
    public let stride: Int
    let base: UnsafePointer<Element>?

    /// A view of `count` elements (all that fit, unless given) of a buffer, `stride` apart.
    ///
    /// Stops when the buffer is too small, `count` is negative, `stride` is below 1, or one of them is
    /// beyond BLAS's integers.
    public init(_ buffer: UnsafeBufferPointer<Element>, count: Int? = nil, stride: Int = 1) {
      self.count = count ?? (buffer.count + max(1, stride) - 1) / max(1, stride)
      self.stride = stride
      self.base = buffer.baseAddress
      Layout.check(
        "BLAS.Vector", count: self.count, stride: stride, bufferCount: buffer.count)
    }

    /// A view for reading of a vector that can be written.
    public init(_ vector: MutableVector<Element>) {
      count = vector.count
      stride = vector.stride
      base = UnsafePointer(vector.base)
    }
  }

  /// A vector to write: a view of memory that the caller keeps alive and nobody else uses.
  public struct MutableVector<Element: BinaryFloatingPoint> {
    /// The number of elements.
    public let count: Int
    /// The distance between two elements in memory, at least 1.
    public let stride: Int
    let base: UnsafeMutablePointer<Element>?

    /// A view of `count` elements (all that fit, unless given) of a buffer, `stride` apart.
    ///
    /// Stops when the buffer is too small, `count` is negative, `stride` is below 1, or one of them is
    /// beyond BLAS's integers.
    public init(_ buffer: UnsafeMutableBufferPointer<Element>, count: Int? = nil, stride: Int = 1) {
      self.count = count ?? (buffer.count + max(1, stride) - 1) / max(1, stride)
      self.stride = stride
      self.base = buffer.baseAddress
      Layout.check(
        "BLAS.MutableVector", count: self.count, stride: stride, bufferCount: buffer.count)
    }

    /// y = factor·y, where 0 overwrites whatever was there.
    func scale(by factor: Element) {
      guard let base, factor != 1 else { return }
      for i in 0..<count { base[i * stride] = factor == 0 ? 0 : factor * base[i * stride] }
    }
  }
}
