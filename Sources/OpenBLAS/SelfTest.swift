import CConvNetOpenBLAS

/// A short numeric test of the kernels in use, against plain loops.
///
/// The data are small integers, so that every sum is exact in Float and the order of additions,
/// fused operations and blocking cannot show: any difference is a wrong kernel.
enum SelfTest {
  private struct Product {
    var m: Int, n: Int, k: Int
    var transposeA = false, transposeB = false
    var alpha: Float = 1, beta: Float = 0
  }

  /// Odd sizes, sizes that straddle vectors, one past the limit of the small-matrix kernels (10⁶
  /// multiply-adds), all transposes, an empty sum, and both kinds of beta.
  private static let products: [Product] = {
    var all = [
      Product(m: 1, n: 1, k: 1), Product(m: 96, n: 64, k: 31), Product(m: 101, n: 100, k: 100),
      Product(m: 5, n: 7, k: 0), Product(m: 5, n: 7, k: 0, beta: 2),
    ]
    for transposes in 0..<4 {
      for (m, n, k) in [(3, 5, 7), (17, 33, 19), (4, 70, 2)] {
        for beta: Float in [0, 1, -3] {
          all.append(
            Product(
              m: m, n: n, k: k, transposeA: transposes & 1 != 0, transposeB: transposes & 2 != 0,
              alpha: beta == 1 ? 1 : 2, beta: beta))
        }
      }
    }
    return all
  }()

  static func run() -> BLAS.KernelReport.SelfTest {
    var random = SmallIntegers()
    for p in products where !check(p, &random) {
      let transposes = "\(p.transposeA ? "Aᵀ" : "A")·\(p.transposeB ? "Bᵀ" : "B")"
      return .failed(
        "sgemm \(transposes) of \(p.m)×\(p.k) by \(p.k)×\(p.n), alpha \(p.alpha), "
          + "beta \(p.beta), gave a wrong result.")
    }
    var count = products.count
    for (rows, columns) in [(1, 1), (7, 13), (33, 18), (64, 100)] {
      for transpose in [false, true] {
        guard checkVector(rows, columns, transpose, &random) else {
          return .failed("sgemv of \(rows)×\(columns)\(transpose ? "ᵀ" : "") gave a wrong result.")
        }
        count += 1
      }
    }
    return .passed(cases: count)
  }

  private static func check(_ p: Product, _ random: inout SmallIntegers) -> Bool {
    let a = random.array(p.m * p.k)
    let b = random.array(p.k * p.n)
    // Where beta = 0 the old contents must not matter, not even if they are no numbers.
    let old = p.beta == 0 ? [Float](repeating: .nan, count: p.m * p.n) : random.array(p.m * p.n)
    var c = old
    UncheckedBLAS.sgemm(
      transposeA: p.transposeA, transposeB: p.transposeB, m: p.m, n: p.n, k: p.k, alpha: p.alpha,
      a: a, lda: max(1, p.transposeA ? p.m : p.k), b: b, ldb: max(1, p.transposeB ? p.k : p.n),
      beta: p.beta, c: &c, ldc: p.n)
    let (aRow, aColumn) = p.transposeA ? (1, p.m) : (p.k, 1)
    let (bRow, bColumn) = p.transposeB ? (1, p.k) : (p.n, 1)
    return a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        for i in 0..<p.m {
          for j in 0..<p.n {
            var sum: Float = 0
            for l in 0..<p.k { sum += a[i * aRow + l * aColumn] * b[l * bRow + j * bColumn] }
            let expected = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * old[i * p.n + j])
            if c[i * p.n + j] != expected { return false }
          }
        }
        return true
      }
    }
  }

  private static func checkVector(
    _ rows: Int, _ columns: Int, _ transpose: Bool, _ random: inout SmallIntegers
  ) -> Bool {
    let a = random.array(rows * columns)
    let (inputs, outputs) = transpose ? (rows, columns) : (columns, rows)
    let x = random.array(inputs)
    let old = random.array(outputs)
    var y = old
    UncheckedBLAS.sgemv(
      transpose: transpose, rows: rows, columns: columns, alpha: 2, a: a, lda: columns, x: x,
      beta: 1, y: &y)
    let (outputStep, inputStep) = transpose ? (1, columns) : (columns, 1)
    for i in 0..<outputs {
      var sum: Float = 0
      for l in 0..<inputs { sum += a[i * outputStep + l * inputStep] * x[l] }
      if y[i] != 2 * sum + old[i] { return false }
    }
    return true
  }
}

/// A fixed sequence of integers in −4...4, by Knuth's 64-bit linear congruence.
struct SmallIntegers {
  private var state: UInt64 = 1

  mutating func next() -> Float {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Float(Int(state >> 33) % 9 - 4)
  }

  mutating func array(_ count: Int) -> [Float] { (0..<count).map { _ in next() } }
}
