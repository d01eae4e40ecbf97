import ConvNetLAPACK
import Testing

/// Factorisations are checked by what defines them: their product, orthogonality, triangles.
@Suite struct LAPACKTests {
  /// Integers in −8...8 in no visible order, from splitmix64 seeded by the shape.
  static func matrix<T: BinaryFloatingPoint>(_ rows: Int, _ columns: Int) -> [T] {
    (0..<rows * columns).map { i in
      var z = UInt64(rows * 1000 + columns) &+ UInt64(i + 1) &* 0x9e37_79b9_7f4a_7c15
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return T(Int((z ^ (z >> 31)) % 17) - 8)
    }
  }

  /// Row-major A·B.
  static func product<T: BinaryFloatingPoint>(
    _ a: [T], _ b: [T], _ m: Int, _ k: Int, _ n: Int
  ) -> [T] {
    var c = [T](repeating: 0, count: m * n)
    for i in 0..<m {
      for j in 0..<n {
        for l in 0..<k { c[i * n + j] += a[i * k + l] * b[l * n + j] }
      }
    }
    return c
  }

  static func transpose<T>(_ a: [T], _ m: Int, _ n: Int) -> [T] {
    (0..<n).flatMap { j in (0..<m).map { i in a[i * n + j] } }
  }

  static func difference<T: BinaryFloatingPoint>(_ a: [T], _ b: [T]) -> T {
    zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }

  @Test(arguments: [(1, 1), (5, 3), (3, 5), (8, 8), (40, 27), (27, 64)])
  func qr(rows: Int, columns: Int) throws {
    try checkQR(rows, columns, Float.self)
    try checkQR(rows, columns, Double.self)
  }

  func checkQR<T: LAPACK.Element>(_ m: Int, _ n: Int, _: T.Type) throws {
    let a: [T] = Self.matrix(m, n)
    let (q, r) = try LAPACK.qr(rows: m, columns: n, a)
    let k = min(m, n)
    #expect(q.count == m * k && r.count == k * n)
    // Householder QR is backward stable: both errors are below c·m·n·ε·‖A‖ (Higham 2002, theorem
    // 19.4), here with c = 1, whose elements are at most 8.
    let bound = T(m * n) * T.ulpOfOne
    #expect(Self.difference(Self.product(q, r, m, k, n), a) <= max(1, 8) * bound)
    var identity = [T](repeating: 0, count: k * k)
    for i in 0..<k { identity[i * k + i] = 1 }
    #expect(
      Self.difference(Self.product(Self.transpose(q, m, k), q, k, m, k), identity) <= 4 * bound)
    for i in 0..<k {
      for j in 0..<min(i, n) { #expect(r[i * n + j] == 0) }
    }
  }

  @Test func choleskyOfAKnownMatrix() throws {
    // L = (2 0 0; 1 3 0; -1 2 1), all exact.
    let a: [Double] = [4, 99, 99, 2, 10, 99, -2, 5, 6]
    #expect(try LAPACK.cholesky(order: 3, a) == [2, 0, 0, 1, 3, 0, -1, 2, 1])
    #expect(
      try LAPACK.cholesky(order: 3, a.map(Float.init)) == [2, 0, 0, 1, 3, 0, -1, 2, 1])
    #expect(try LAPACK.cholesky(order: 1, [9.0]) == [3])
  }

  @Test func wrongInputs() {
    func says(_ sentence: String) -> LAPACKError { LAPACKError(description: sentence) }
    #expect(throws: says("QR: 3 elements are not 2 × 2")) {
      try LAPACK.qr(rows: 2, columns: 2, [1, 2, 3] as [Float])
    }
    #expect(throws: says("QR: 0 elements are not 0 × 2")) {
      try LAPACK.qr(rows: 0, columns: 2, [] as [Double])
    }
    #expect(throws: says("QR: 1 elements are not \(Int.max) × 2")) {
      try LAPACK.qr(rows: .max, columns: 2, [1] as [Double])
    }
    #expect(throws: says("QR: element (1, 0) of 2 × 2 is nan")) {
      try LAPACK.qr(rows: 2, columns: 2, [1, 2, .nan, 4] as [Float])
    }
    #expect(throws: says("Cholesky: element (0, 1) of 2 × 2 is inf")) {
      try LAPACK.cholesky(order: 2, [1, .infinity, 1, 4] as [Double])
    }
    #expect(
      throws: says("Cholesky: the leading 2 × 2 part of the 2 × 2 matrix is not positive definite")
    ) { try LAPACK.cholesky(order: 2, [1, 2, 2, 1] as [Double]) }
  }
}
