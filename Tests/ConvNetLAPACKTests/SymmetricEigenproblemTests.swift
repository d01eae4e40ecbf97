import ConvNetLAPACK
import Testing

@Suite struct SymmetricEigenproblemTests {
  @Test func aKnownMatrix() throws {
    // (2 1; 1 2) has 1 with (1, −1)/√2 and 3 with (1, 1)/√2; what is above the diagonal is not read.
    let result = try LAPACK.symmetricEigenproblem(order: 2, [2, 99, 1, 2])
    let half = 0.5.squareRoot()
    for (value, expected) in zip(result.values, [1.0, 3]) { #expect(abs(value - expected) < 1e-15) }
    for (element, expected) in zip(result.vectors, [half, half, half, half]) {
      #expect(abs(abs(element) - expected) < 1e-15)
    }
    #expect(result.vectors[0] * result.vectors[1] < 0 && result.vectors[2] * result.vectors[3] > 0)
    #expect(try LAPACK.symmetricEigenproblem(order: 1, [-7]).values == [-7])
  }

  /// dsyev is backward stable: computed eigenvalues and vectors are those of A + E, ‖E‖ ≤ p(n)·ε·‖A‖, and
  /// V is orthogonal within p(n)·ε (LAPACK Users' Guide, section 4.7); p(n) = n² has room, ‖A‖ ≤ 8·n for
  /// elements of at most 8.
  @Test(arguments: [1, 2, 3, 8, 17, 40, 65]) func reconstructs(_ n: Int) throws {
    let square: [Double] = LAPACKTests.matrix(n, n)
    var a = square
    for i in 0..<n {
      for j in 0..<n { a[i * n + j] = square[max(i, j) * n + min(i, j)] }
    }
    let result = try LAPACK.symmetricEigenproblem(order: n, a)
    #expect(result.values == result.values.sorted() && result.values.count == n)
    let v = result.vectors
    let transposed = LAPACKTests.transpose(v, n, n)
    let bound = Double(n * n) * Double.ulpOfOne
    var identity = [Double](repeating: 0, count: n * n)
    for i in 0..<n { identity[i * n + i] = 1 }
    #expect(
      LAPACKTests.difference(LAPACKTests.product(v, transposed, n, n, n), identity) <= bound)
    var scaled = v
    for i in 0..<n {
      for j in 0..<n { scaled[i * n + j] *= result.values[i] }
    }
    let product = LAPACKTests.product(transposed, scaled, n, n, n)
    #expect(LAPACKTests.difference(product, a) <= bound * 8 * Double(n))
  }

  @Test func equalEigenvalues() throws {
    let result = try LAPACK.symmetricEigenproblem(order: 3, [5, 0, 0, 0, 5, 0, 0, 0, 5])
    #expect(result.values == [5, 5, 5])
    let zero = try LAPACK.symmetricEigenproblem(
      order: 4, [Double](repeating: 0, count: 16))
    #expect(zero.values == [0, 0, 0, 0])
  }

  @Test func wrongInputs() {
    #expect(throws: LAPACKError(description: "Eigenvalues: 3 elements are not 2 × 2")) {
      try LAPACK.symmetricEigenproblem(order: 2, [1, 2, 3])
    }
    #expect(throws: LAPACKError(description: "Eigenvalues: 0 elements are not 0 × 0")) {
      try LAPACK.symmetricEigenproblem(order: 0, [])
    }
    #expect(throws: LAPACKError(description: "Eigenvalues: element (1, 1) of 2 × 2 is nan")) {
      try LAPACK.symmetricEigenproblem(order: 2, [1, 0, 0, .nan])
    }
  }
}
