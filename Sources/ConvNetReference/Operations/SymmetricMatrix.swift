/// A symmetric matrix as its eigenvalues and eigenvectors, A = Σ λₖ·dₖ·dₖᵀ, found by Jacobi's method.
struct SymmetricMatrix {
  /// λ, in no order.
  var values: [Double]
  /// The eigenvectors, one a column, n × n.
  var vectors: [Double]

  /// Diagonalises the n × n elements of a symmetric matrix.
  ///
  /// Each rotation by θ with tan 2θ = 2·a_pq/(a_qq − a_pp) makes a_pq = 0 and the sum of the squares beside
  /// the diagonal smaller by 2·a_pq²; sweeps over all (p, q) converge quadratically in the end (Golub & Van
  /// Loan 2013, section 8.5), mostly within ten. NaN stays NaN.
  init(_ elements: [Double], order n: Int) {
    var a = elements
    var v = [Double](repeating: 0, count: n * n)
    for i in 0..<n { v[i * n + i] = 1 }
    for _ in 0..<32 {
      var rotated = false
      for p in 0..<n {
        for q in p + 1..<n {
          // Too small beside both diagonal elements to change them: 0 to working precision.
          let smaller = min(a[p * n + p].magnitude, a[q * n + q].magnitude)
          if a[p * n + q].magnitude <= 0x1p-60 * smaller { continue }
          rotated = true
          Self.rotate(&a, &v, p, q, n)
        }
      }
      if !rotated { break }
    }
    values = (0..<n).map { a[$0 * n + $0] }
    vectors = v
  }

  /// A ← JᵀAJ and V ← VJ with the rotation J in the plane (p, q) that makes a_pq = 0.
  private static func rotate(
    _ a: inout [Double], _ v: inout [Double], _ p: Int, _ q: Int, _ n: Int
  ) {
    guard a[p * n + q] != 0 else { return }
    let tau = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q])
    let t = (tau < 0 ? -1 : 1) / (tau.magnitude + (1 + tau * tau).squareRoot())
    let c = 1 / (1 + t * t).squareRoot()
    let s = t * c
    for k in 0..<n {
      let (x, y) = (a[k * n + p], a[k * n + q])
      (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y)
    }
    for k in 0..<n {
      let (x, y) = (a[p * n + k], a[q * n + k])
      (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y)
    }
    (a[p * n + q], a[q * n + p]) = (0, 0)
    for k in 0..<n {
      let (x, y) = (v[k * n + p], v[k * n + q])
      (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y)
    }
  }

  private var order: Int { values.count }

  /// f(A) = D·diag(f(λ))·Dᵀ.
  func map(_ function: (Double) -> Double) -> [Double] {
    let (n, f) = (order, values.map(function))
    return Self.elements(n) { i, j in
      (0..<n).reduce(0) { $0 + vectors[i * n + $1] * f[$1] * vectors[j * n + $1] }
    }
  }

  /// D·(K ∘ (Dᵀ·B·D))·Dᵀ for a matrix B and a table K of pairs of eigenvalues.
  func inEigenbasis(_ b: [Double], times table: (Double, Double) -> Double) -> [Double] {
    let (n, d) = (order, vectors)
    let inner = Self.elements(n) { i, j in
      var sum = 0.0
      for k in 0..<n {
        for l in 0..<n { sum += d[k * n + i] * b[k * n + l] * d[l * n + j] }
      }
      return sum * table(values[i], values[j])
    }
    return Self.elements(n) { i, j in
      var sum = 0.0
      for k in 0..<n {
        for l in 0..<n { sum += d[i * n + k] * inner[k * n + l] * d[j * n + l] }
      }
      return sum
    }
  }

  private static func elements(_ n: Int, _ element: (Int, Int) -> Double) -> [Double] {
    var result = [Double](repeating: 0, count: n * n)
    for i in 0..<n {
      for j in 0..<n { result[i * n + j] = element(i, j) }
    }
    return result
  }
}
