import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

@Suite struct WhiteningTests {
  /// Rows of correlated features: integers times a lower triangular matrix of ones.
  static func data(_ rows: Int, _ features: Int, seed: UInt64) -> Tensor {
    var x = TestData.integers([rows, features], in: -4...4, seed: seed).floats
    for row in 0..<rows {
      for j in 1..<max(features, 1) { x[row * features + j] += x[row * features + j - 1] + 1 }
    }
    return Tensor(x, shape: [rows, features])
  }

  static func covariance(_ x: Tensor) -> (mean: [Double], matrix: [Double]) {
    let (rows, n) = (x.shape[0], x.count / x.shape[0])
    let values = x.doubles
    var mean = [Double](repeating: 0, count: n)
    var matrix = [Double](repeating: 0, count: n * n)
    for row in 0..<rows { for j in 0..<n { mean[j] += values[row * n + j] / Double(rows) } }
    for row in 0..<rows {
      for i in 0..<n {
        let xi = values[row * n + i] - mean[i]
        for j in 0..<n {
          matrix[i * n + j] += xi * (values[row * n + j] - mean[j]) / Double(rows)
        }
      }
    }
    return (mean, matrix)
  }

  /// ±3·(1, 1) and ±(1, −1) about (5, 7): variances 9 and 1 along these axes.
  static let known = Tensor([8, 10, 2, 4, 6, 6, 4, 8] as [Float], shape: [4, 2])

  @Test func aKnownCase() throws {
    let half = 0.5.squareRoot()
    let expected: [Whitening.Kind: [Double]] = [
      .pca: [half / 3, half / 3, half, -half], .zca: [2.0 / 3, -1.0 / 3, -1.0 / 3, 2.0 / 3],
      // Σ = (5 4; 4 5) = L·Lᵀ with L = (√5 0; 4/√5 3/√5), L⁻¹ = (1/√5 0; −4/(3·√5) √5/3).
      .cholesky: [1 / 5.0.squareRoot(), 0, -4 / (3 * 5.0.squareRoot()), 5.0.squareRoot() / 3],
    ]
    for kind in Whitening.Kind.allCases {
      let whitening = try Whitening.fit(data: Self.known, kind: kind, epsilon: 0)
      #expect(whitening.mean == [5, 7] && whitening.components == 2 && whitening.kind == kind)
      var matrix = whitening.matrix
      // Both elements of the axis (1, −1) have the largest magnitude; rounding chooses.
      if kind == .pca, matrix[2] < 0 { matrix = matrix[..<2] + matrix[2...].map { -$0 } }
      expectClose(matrix, try #require(expected[kind]), tolerance: 1e-14, "\(kind)")
    }
    // ε is added to the variance along every axis: 9 + 16 and 1 + 16 … of which the first is 5².
    let damped = try Whitening.fit(data: Self.known, kind: .pca, epsilon: 16, components: 1)
    expectClose(damped.matrix, [half / 5, half / 5], tolerance: 1e-15)
  }

  /// Float64 leaves n²·2⁻⁵² of the condition number (LAPACK's bound, as in its test), rounding y to
  /// float32 moves a product of two by 2·2⁻²⁴·max|y|², and the mean of such products as much.
  static func bound(_ y: Tensor, _ features: Int, condition: Double) -> Double {
    let largest = y.doubles.map(abs).max() ?? 0
    return Double(Float.ulpOfOne) * largest * largest
      + Double(features * features) * Double.ulpOfOne * condition
  }

  @Test(arguments: Whitening.Kind.allCases, [1, 2, 5, 19])
  func covarianceIsTheIdentity(_ kind: Whitening.Kind, _ features: Int) throws {
    let x = Self.data(600, features, seed: 61)
    let whitening = try Whitening.fit(data: x, kind: kind, epsilon: 0)
    let y = try whitening.apply(to: x)
    #expect(y.shape == [600, features])
    let (mean, matrix) = Self.covariance(y)
    // The sums have variances up to 7·n², the least is above 1.
    let bound = Self.bound(y, features, condition: 7 * Double(features * features))
    expectClose(mean, [Double](repeating: 0, count: features), tolerance: bound)
    expectClose(
      matrix, (0..<features * features).map { $0 / features == $0 % features ? 1 : 0 },
      tolerance: bound, "\(kind)")
    // Back: float32 rounding of y times the inverse, whose row sums of squares are variances.
    let range = x.doubles.map(abs).max() ?? 0
    let back = try whitening.inverse(of: y)
    expectClose(
      back.doubles, x.doubles,
      tolerance: Tolerance.bound(terms: features + 1, maxA: 1, maxB: max(range, 8)), "\(kind)")
  }

  /// Of all W with Wᵀ·W = Σ⁻¹ the symmetric one has the least Σ|W·(x − μ) − (x − μ)|².
  @Test func zcaIsClosestToTheData() throws {
    let x = Self.data(400, 6, seed: 62)
    var distances: [Whitening.Kind: Double] = [:]
    for kind in Whitening.Kind.allCases {
      let whitening = try Whitening.fit(data: x, kind: kind, epsilon: 0)
      let (y, values) = (try whitening.apply(to: x).doubles, x.doubles)
      distances[kind] = values.indices.reduce(0) { sum, i in
        let difference = y[i] - (values[i] - whitening.mean[i % 6])
        return sum + difference * difference
      }
      guard kind == .zca else { continue }
      let w = whitening.matrix
      let transposed = (0..<36).map { w[$0 % 6 * 6 + $0 / 6] }
      // Both products sum six terms of at most 1 in Double.
      expectClose(w, transposed, tolerance: 36 * Double.ulpOfOne)
    }
    let zca = try #require(distances[.zca])
    #expect(try zca < #require(distances[.pca]) && zca < #require(distances[.cholesky]))
  }

  @Test func componentsAreTheLargest() throws {
    // Three features on a plane: the third axis has variance 0.
    let flat = Self.known.floats
    let x = Tensor((0..<4).flatMap { [flat[2 * $0], flat[2 * $0 + 1], 4] }, shape: [4, 3])
    let whitening = try Whitening.fit(data: x, kind: .pca, epsilon: 0, components: 2)
    #expect(whitening.features == 3 && whitening.components == 2)
    let y = try whitening.apply(to: x)
    #expect(y.shape == [4, 2])
    // Nothing was lost with the axis along which nothing varies.
    expectClose(
      try whitening.inverse(of: y).doubles, x.doubles,
      tolerance: Tolerance.bound(terms: 3, maxA: 2, maxB: 3))
    for kind in Whitening.Kind.allCases {
      #expect(throws: TrainingError.self) { try Whitening.fit(data: x, kind: kind, epsilon: 0) }
      #expect(try Whitening.fit(data: x, kind: kind).matrix.allSatisfy { $0.isFinite })
    }
  }

  @Test func takesImagesAndBytes() throws {
    let bytes = Tensor(
      TestData.integers([40, 2, 3, 1], in: 0...255, seed: 63).floats.map { UInt8($0) },
      shape: [40, 2, 3, 1])
    let whitening = try Whitening.fit(data: bytes, epsilon: 0.5)
    let fromFloats = try Whitening.fit(data: bytes.converted(to: .float32), epsilon: 0.5)
    #expect(whitening == fromFloats && whitening.features == 6)
    #expect(try whitening.apply(to: bytes).shape == [40, 2, 3, 1])
    let flat = try bytes.converted(to: .float64).reshaped(to: [40, 6])
    #expect(
      try whitening.apply(to: flat).elements(of: Float.self)
        == whitening.apply(to: bytes).elements(of: Float.self))
  }

  @Test func wrongInputs() throws {
    func code(_ body: () throws -> Whitening) -> TrainingError.Code? {
      do { _ = try body() } catch { return (error as? TrainingError)?.code }
      return nil
    }
    let x = Self.known
    #expect(code { try .fit(data: x, kind: .zca, components: 1) } == .invalidOption)
    #expect(code { try .fit(data: x, kind: .pca, components: 3) } == .invalidOption)
    #expect(code { try .fit(data: x, epsilon: -1) } == .invalidOption)
    #expect(code { try .fit(data: x, epsilon: .nan) } == .invalidOption)
    #expect(code { try .fit(data: Tensor([1, 2] as [Float], shape: [1, 2])) } == .invalidData)
    #expect(code { try .fit(data: Tensor([1, 2] as [Float])) } == .invalidData)
    #expect(code { try .fit(data: Tensor([1, 2] as [Int64], shape: [2, 1])) } == .invalidData)
    #expect(
      code { try .fit(data: Tensor([1, .nan] as [Float], shape: [2, 1])) } == .notFinite)
    let whitening = try Whitening.fit(data: x)
    #expect(throws: TrainingError.self) { try whitening.apply(to: Tensor(zeros: [3, 5])) }
    #expect(throws: TrainingError.self) { try whitening.inverse(of: Tensor(zeros: [3, 1])) }
  }
}
