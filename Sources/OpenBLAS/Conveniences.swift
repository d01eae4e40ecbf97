// The same operations on spans and arrays that hold exactly one dense matrix or vector.

extension BLAS {
  /// A·B for dense row-major arrays, A of `rows × inner` and B of `inner × columns`.
  ///
  /// Stops when an array does not have exactly that many elements.
  public static func sgemm(
    _ a: [Float], _ b: [Float], rows: Int, inner: Int, columns: Int
  ) -> [Float] {
    let isSize = rows >= 0 && inner >= 0 && columns >= 0
    guard isSize, isProduct(rows, inner, a.count), isProduct(inner, columns, b.count) else {
      stop(
        "BLAS.sgemm: arrays of \(a.count) and \(b.count) elements are not "
          + "\(rows) × \(inner) and \(inner) × \(columns).")
    }
    let count = rows.multipliedReportingOverflow(by: columns)
    guard !count.overflow else {
      stop("BLAS.sgemm: the result of \(rows) × \(columns) is larger than memory.")
    }
    return [Float](unsafeUninitializedCapacity: count.partialValue) { c, initialized in
      c.initialize(repeating: 0)
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          let c = UnsafeMutableBufferPointer(rebasing: c.prefix(count.partialValue))
          sgemm(
            Matrix(a, rows: rows, columns: inner), Matrix(b, rows: inner, columns: columns),
            into: MutableMatrix(c, rows: rows, columns: columns))
        }
      }
      initialized = count.partialValue
    }
  }

  /// A·x for dense row-major arrays, A of `rows × x.count`.
  ///
  /// Stops when A does not have exactly that many elements.
  public static func sgemv(_ a: [Float], _ x: [Float], rows: Int) -> [Float] {
    guard rows >= 0, isProduct(rows, x.count, a.count) else {
      stop("BLAS.sgemv: \(a.count) elements are not \(rows) × \(x.count).")
    }
    var y = [Float](repeating: 0, count: rows)
    a.withUnsafeBufferPointer { a in
      x.withUnsafeBufferPointer { x in
        y.withUnsafeMutableBufferPointer { y in
          sgemv(Matrix(a, rows: rows, columns: x.count), Vector(x), into: MutableVector(y))
        }
      }
    }
    return y
  }

  /// y += alpha·x.
  ///
  /// Stops when the counts differ.
  public static func saxpy(
    _ alpha: Float, _ x: Span<Float>, addingTo y: inout MutableSpan<Float>
  ) {
    x.withUnsafeBufferPointer { x in
      y.withUnsafeMutableBufferPointer { y in
        saxpy(alpha, Vector(x), addingTo: MutableVector(y))
      }
    }
  }

  /// x = alpha·x; alpha = 0 gives zeros, whatever was there.
  public static func sscal(_ alpha: Float, _ x: inout MutableSpan<Float>) {
    x.withUnsafeMutableBufferPointer { sscal(alpha, MutableVector($0)) }
  }

  /// Σ xᵢ·yᵢ; zero for empty vectors.
  ///
  /// Stops when the counts differ.
  public static func sdot(_ x: Span<Float>, _ y: Span<Float>) -> Float {
    x.withUnsafeBufferPointer { x in
      y.withUnsafeBufferPointer { y in sdot(Vector(x), Vector(y)) }
    }
  }

  /// √Σ xᵢ²; zero for an empty vector.
  public static func snrm2(_ x: Span<Float>) -> Float {
    x.withUnsafeBufferPointer { snrm2(Vector($0)) }
  }

  private static func isProduct(_ x: Int, _ y: Int, _ count: Int) -> Bool {
    let product = x.multipliedReportingOverflow(by: y)
    return !product.overflow && product.partialValue == count
  }
}
