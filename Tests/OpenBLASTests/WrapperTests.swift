import OpenBLAS
import Testing

/// Every operation against plain loops on small integers, where each sum is exact.
@Suite struct WrapperTests {
  /// A matrix in memory with rows further apart than they are long; the gaps hold NaN.
  struct Stored<T: BinaryFloatingPoint> {
    var rows: Int
    var columns: Int
    var leading: Int
    var elements: [T]

    init(_ rows: Int, _ columns: Int, gap: Int, _ next: (Int) -> T) {
      self.rows = rows
      self.columns = columns
      leading = max(1, columns + gap)
      elements = [T](repeating: .nan, count: rows * leading)
      for i in 0..<rows {
        for j in 0..<columns { elements[i * leading + j] = next(i * columns + j) }
      }
    }

    subscript(i: Int, j: Int) -> T {
      get { elements[i * leading + j] }
      set { elements[i * leading + j] = newValue }
    }

    func read<R>(_ body: (BLAS.Matrix<T>) -> R) -> R {
      elements.withUnsafeBufferPointer {
        body(BLAS.Matrix($0, rows: rows, columns: columns, leadingDimension: leading))
      }
    }

    mutating func write(_ body: (BLAS.MutableMatrix<T>) -> Void) {
      elements.withUnsafeMutableBufferPointer {
        body(BLAS.MutableMatrix($0, rows: rows, columns: columns, leadingDimension: leading))
      }
    }

    /// Equal elements, and gaps untouched.
    func matches(_ expected: (Int, Int) -> T) -> Bool {
      (0..<rows).allSatisfy { i in
        (0..<leading).allSatisfy { j in
          let found = elements[i * leading + j]
          return j < columns ? found == expected(i, j) : found.isNaN
        }
      }
    }
  }

  static func integer<T: BinaryFloatingPoint>(_ seed: Int) -> (Int) -> T {
    { index in T((index &* 7919 &+ seed &* 104_729) % 11 - 5) }
  }

  static let shapes = [
    (1, 1, 1), (2, 3, 4), (7, 5, 3), (17, 16, 15), (1, 33, 9), (9, 1, 33), (0, 3, 2), (3, 0, 2),
    (3, 4, 0), (0, 0, 0), (31, 65, 17),
  ]

  @Test(arguments: 0..<4, [0, 3])
  func gemm(transposes: Int, gap: Int) {
    for (m, n, k) in Self.shapes {
      for (alpha, beta) in [(1, 0), (2, 1), (-1, -3), (0, 2), (3, 0)] as [(Double, Double)] {
        let trace = Comment(
          rawValue: "transposes \(transposes), gap \(gap), \(m)×\(n)×\(k), \(alpha), \(beta)")
        check(
          m, n, k, transposes, gap, Float(alpha), Float(beta), trace
        ) { BLAS.sgemm($0, $1, into: $2, alpha: Float(alpha), beta: Float(beta)) }
        check(m, n, k, transposes, gap, alpha, beta, trace) {
          BLAS.dgemm($0, $1, into: $2, alpha: alpha, beta: beta)
        }
      }
    }
  }

  func check<T: BinaryFloatingPoint>(
    _ m: Int, _ n: Int, _ k: Int, _ transposes: Int, _ gap: Int, _ alpha: T, _ beta: T,
    _ trace: Comment, _ gemm: (BLAS.Matrix<T>, BLAS.Matrix<T>, BLAS.MutableMatrix<T>) -> Void
  ) {
    let (ta, tb) = (transposes & 1 != 0, transposes & 2 != 0)
    let a = Stored<T>(ta ? k : m, ta ? m : k, gap: gap, Self.integer(1))
    let b = Stored<T>(tb ? n : k, tb ? k : n, gap: gap, Self.integer(2))
    let old = Stored<T>(m, n, gap: gap, Self.integer(3))
    var c = beta == 0 ? Stored<T>(m, n, gap: gap) { _ in .nan } : old
    a.read { a in
      b.read { b in
        c.write { gemm(ta ? a.transposed : a, tb ? b.transposed : b, $0) }
      }
    }
    #expect(
      c.matches { i, j in
        var sum: T = 0
        for l in 0..<k { sum += (ta ? a[l, i] : a[i, l]) * (tb ? b[j, l] : b[l, j]) }
        return alpha * sum + (beta == 0 ? 0 : beta * old[i, j])
      }, trace)
  }

  @Test(arguments: [false, true], [1, 3])
  func gemv(transpose: Bool, stride: Int) {
    for (rows, columns) in [(1, 1), (5, 8), (33, 17), (4, 0), (0, 4)] {
      for (alpha, beta) in [(1, 0), (-2, 3), (0, 2), (0, 0)] as [(Double, Double)] {
        let trace = Comment(
          rawValue: "transpose \(transpose), stride \(stride), \(rows)×\(columns), \(beta)")
        check(rows, columns, transpose, stride, Float(alpha), Float(beta), trace) {
          BLAS.sgemv($0, $1, into: $2, alpha: Float(alpha), beta: Float(beta))
        }
        check(rows, columns, transpose, stride, alpha, beta, trace) {
          BLAS.dgemv($0, $1, into: $2, alpha: alpha, beta: beta)
        }
      }
    }
  }

  func check<T: BinaryFloatingPoint>(
    _ rows: Int, _ columns: Int, _ transpose: Bool, _ stride: Int, _ alpha: T, _ beta: T,
    _ trace: Comment, _ gemv: (BLAS.Matrix<T>, BLAS.Vector<T>, BLAS.MutableVector<T>) -> Void
  ) {
    let a = Stored<T>(rows, columns, gap: 2, Self.integer(4))
    let (inputs, outputs) = transpose ? (rows, columns) : (columns, rows)
    // A strided vector is a column of a matrix.
    let x = Stored<T>(inputs, 1, gap: stride - 1, Self.integer(5))
    let old = Stored<T>(outputs, 1, gap: stride - 1, Self.integer(6))
    var y = beta == 0 ? Stored<T>(outputs, 1, gap: stride - 1) { _ in .nan } : old
    a.read { a in
      x.elements.withUnsafeBufferPointer { x in
        y.elements.withUnsafeMutableBufferPointer { y in
          gemv(
            transpose ? a.transposed : a, BLAS.Vector(x, stride: stride),
            BLAS.MutableVector(y, stride: stride))
        }
      }
    }
    #expect(
      y.matches { i, _ in
        var sum: T = 0
        for l in 0..<inputs { sum += (transpose ? a[l, i] : a[i, l]) * x[l, 0] }
        return alpha * sum + (beta == 0 ? 0 : beta * old[i, 0])
      }, trace)
  }

  @Test(arguments: [(1, 1), (5, 8), (33, 17), (0, 4), (4, 0)])
  func ger(rows: Int, columns: Int) {
    let old = Stored<Float>(rows, columns, gap: 3, Self.integer(7))
    let x = (0..<rows).map(Self.integer(8) as (Int) -> Float)
    let y = (0..<columns).map(Self.integer(9) as (Int) -> Float)
    var a = old
    x.withUnsafeBufferPointer { x in
      y.withUnsafeBufferPointer { y in
        a.write { BLAS.sger(BLAS.Vector(x), BLAS.Vector(y), addingTo: $0, alpha: 2) }
      }
    }
    #expect(a.matches { i, j in old[i, j] + 2 * x[i] * y[j] })
  }

  @Test(arguments: [false, true], [0, 1, -3] as [Float])
  func omatcopy(transpose: Bool, alpha: Float) {
    for (rows, columns) in [(1, 1), (5, 8), (33, 17), (0, 4), (4, 0)] {
      let a = Stored<Float>(rows, columns, gap: 1, Self.integer(10))
      let (m, n) = transpose ? (columns, rows) : (rows, columns)
      var b = Stored<Float>(m, n, gap: 4) { _ in .nan }
      a.read { a in
        b.write { BLAS.somatcopy(transpose ? a.transposed : a, to: $0, alpha: alpha) }
      }
      #expect(
        b.matches { i, j in alpha * (transpose ? a[j, i] : a[i, j]) }, "\(rows) × \(columns)")
    }
  }

  @Test(arguments: [0, 1, 7, 64, 131], [1, 2])
  func vectors(count: Int, stride: Int) {
    let x = Stored<Float>(count, 1, gap: stride - 1, Self.integer(11))
    let y = Stored<Float>(count, 1, gap: stride - 1, Self.integer(12))
    let nan = Stored<Float>(count, 1, gap: stride - 1) { _ in .nan }
    func apply(
      to start: Stored<Float>, _ body: (BLAS.Vector<Float>, BLAS.MutableVector<Float>) -> Void
    ) -> Stored<Float> {
      var result = start
      x.elements.withUnsafeBufferPointer { x in
        result.elements.withUnsafeMutableBufferPointer { y in
          body(BLAS.Vector(x, stride: stride), BLAS.MutableVector(y, stride: stride))
        }
      }
      return result
    }
    #expect(
      apply(to: y) { BLAS.saxpy(3, $0, addingTo: $1) }.matches { i, _ in 3 * x[i, 0] + y[i, 0] })
    #expect(
      apply(to: y) { BLAS.saxpby(3, $0, -2, $1) }
        .matches { i, _ in 3 * x[i, 0] - 2 * y[i, 0] })
    #expect(apply(to: nan) { BLAS.saxpby(3, $0, 0, $1) }.matches { i, _ in 3 * x[i, 0] })
    #expect(apply(to: nan) { BLAS.scopy($0, to: $1) }.matches { i, _ in x[i, 0] })
    #expect(apply(to: y) { BLAS.sscal(-2, $1) }.matches { i, _ in -2 * y[i, 0] })
    #expect(apply(to: nan) { BLAS.sscal(0, $1) }.matches { _, _ in 0 })
    let dot = (0..<count).reduce(into: Float(0)) { $0 += x[$1, 0] * y[$1, 0] }
    _ = apply(to: y) { x, y in
      #expect(BLAS.sdot(x, BLAS.Vector(y)) == dot)
      let square = BLAS.sdot(x, x)
      // Exact square, so the error is that of one root and of a sum no worse than count roundings.
      let bound = square.squareRoot() * Float(count + 2) * Float.ulpOfOne
      #expect(abs(BLAS.snrm2(x) - square.squareRoot()) <= bound)
    }
  }

  @Test func spansAndArrays() {
    #expect(
      BLAS.sgemm([1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 1, 1], rows: 2, inner: 3, columns: 2)
        == [4, 5, 10, 11])
    #expect(BLAS.sgemm([], [], rows: 2, inner: 0, columns: 2) == [0, 0, 0, 0])
    #expect(BLAS.sgemm([], [1], rows: 0, inner: 1, columns: 1) == [])
    #expect(BLAS.sgemv([1, 2, 3, 4], [1, 2], rows: 2) == [5, 11])
    let x: [Float] = [3, 4]
    var y: [Float] = [1, 1]
    #expect(BLAS.sdot(x.span, y.span) == 7)
    #expect(BLAS.snrm2(x.span) == 5)
    var span = y.mutableSpan
    BLAS.saxpy(2, x.span, addingTo: &span)
    BLAS.sscal(2, &span)
    #expect(y == [14, 18])
  }

  @Test func unchecked() {
    BLAS.bootstrap()
    let a = (0..<6).map(Float.init)
    let b = (0..<12).map(Float.init)
    var c = [Float](repeating: 1, count: 8)
    UncheckedBLAS.sgemm(m: 2, n: 4, k: 3, a: a, lda: 3, b: b, ldb: 4, beta: 1, c: &c, ldc: 4)
    #expect(c == [21, 24, 27, 30, 57, 69, 81, 93])
    var y: [Float] = [1, 2]
    UncheckedBLAS.saxpy(count: 2, alpha: 2, x: a, y: &y)
    #expect(y == [1, 4])
    #expect(UncheckedBLAS.sdot(count: 2, x: y, y: [3, 5]) == 23)
  }
}
