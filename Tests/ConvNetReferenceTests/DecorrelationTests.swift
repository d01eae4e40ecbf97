import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Decorrelated batch normalisation in the reference, which defines it.
@Suite struct DecorrelationTests {
  /// ±5·(1, 1) and ±(1, −1) about (10, −3): Σ/m has the eigenvalues 25 and 1 along (1, 1) and (1, −1),
  /// with ε = 24 they are 49 and 25, so W divides by 7 and by 5 along these.
  static let rows = ReferenceTensor([15, 2, 5, -8, 11, -4, 9, -2], shape: [4, 2])

  @Test func takesCoMomentsOfAGroup() throws {
    let moments = try evaluateInReference(.covariance(Covariance(groupSize: 2)), Self.rows)
    #expect(moments.map(\.values) == [[4], [10, -3], [52, 48, 48, 52]])
    #expect(moments.map(\.elementType) == [.float64, .float64, .float64])
    let single = try evaluateInReference(.covariance(Covariance(groupSize: 1)), Self.rows)
    #expect(single[2].values == [52, 52] && single[2].shape == [2, 1])
  }

  @Test func whitensAHandWorkedCase() throws {
    let operation = Operation.decorrelate(Decorrelate(groupSize: 2, epsilon: 24, source: .batch))
    let statistics = try evaluateInReference(.covariance(Covariance(groupSize: 2)), Self.rows)
    let y = try evaluateInReference(
      operation, Self.rows, statistics[0], statistics[1], statistics[2])
    let (u, v) = (5.0 / 7, 1.0 / 5)
    expectClose(y[0].values, [u, u, -u, -u, v, -v, -v, v], tolerance: 1e-15)
  }

  @Test func whitensWithRunningStatistics() throws {
    let y = try evaluateInReference(
      .decorrelate(Decorrelate(groupSize: 2, epsilon: 24, source: .running)), Self.rows,
      ReferenceTensor([10, -3], shape: [2]), ReferenceTensor([13, 12, 12, 13], shape: [2, 2]))
    expectClose(y[0].values[0], 5.0 / 7)
    expectClose(y[0].values[4], 1.0 / 5)
  }

  private func expectClose(_ a: Double, _ b: Double) { #expect(abs(a - b) <= 1e-15) }
  private func expectClose(_ a: [Double], _ b: [Double], tolerance: Double) {
    ConvNetTestSupport.expectClose(a, b, tolerance: tolerance)
  }

  /// Worked by hand.
  ///
  /// G = Xᵀ·dY for dY = (1, 0) in the first row alone is (5, 0; 5, 0). In the eigenbasis (1, 1)/√2,
  /// (1, −1)/√2 that is (5, 5; 0, 0), symmetrically (5, 2½; 2½, 0). K = −1/(2·7³) for 49 and −1/(7·5·12)
  /// across. dΣ in the eigenbasis p = −5/686, q = −1/168, 0.
  @Test func takesTheGradientOfAHandWorkedCase() throws {
    let statistics = try evaluateInReference(.covariance(Covariance(groupSize: 2)), Self.rows)
    let dy = ReferenceTensor([1, 0, 0, 0, 0, 0, 0, 0], shape: [4, 2])
    let dx = try evaluateInReference(
      .decorrelateGradient(Decorrelate(groupSize: 2, epsilon: 24, source: .batch)), dy, Self.rows,
      statistics[0], statistics[1], statistics[2])
    let (p, q) = (-5.0 / 686, -1.0 / 168)
    // Back in channels: (p + 2q, p; p, p − 2q)/2, and rows of X times that, times 2/m = ½.
    let d = [(p + 2 * q) / 2, p / 2, p / 2, (p - 2 * q) / 2]
    let w = [6.0 / 35, -1.0 / 35]
    var expected: [Double] = []
    for (row, x) in [(5.0, 5.0), (-5, -5), (1, -1), (-1, 1)].enumerated() {
      let direct = row == 0 ? 0.75 : -0.25
      expected.append(direct * w[0] + 0.5 * (x.0 * d[0] + x.1 * d[2]))
      expected.append(direct * w[1] + 0.5 * (x.0 * d[1] + x.1 * d[3]))
    }
    expectClose(dx[0].values, expected, tolerance: 1e-15)
  }

  /// The layer and Σ w·y.
  private func graph(_ shape: Shape, group: Int, epsilon: Double = 0.05) throws -> Graph {
    let type = TensorType(.float32, shape)
    return try Graph(inputs: [("x", type), ("w", type)]) { values in
      let y = values[0].decorrelatedBatchNormalization(
        groupSize: group, epsilon: epsilon, name: "white")
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
  }

  private func values(_ graph: Graph, x: ReferenceTensor) throws -> [String: ReferenceTensor] {
    var values = ["x": x, "w": TestData.doubles(x.shape, in: -2...2, seed: 31)]
    for parameter in graph.parameters {
      let shape = try #require(graph.type(of: parameter.value).shape)
      values[parameter.name] = TestData.doubles(shape, in: 0.5...1.5, seed: 32)
    }
    for (name, state) in Model.initialState(of: graph) { values[name] = ReferenceTensor(state) }
    return values
  }

  @Test(
    arguments: [([12, 4], 2), ([3, 5, 6], 3), ([20, 5], 5), ([2, 3, 2, 4], 1)] as [(Shape, Int)])
  func gradientsAgreeWithFiniteDifferences(_ shape: Shape, _ group: Int) throws {
    for mode in [ExecutionMode.training, .inference] {
      let graph = try ResolveMode(mode).apply(to: graph(shape, group: group))
      try finiteDifferenceCheck(
        graph, values(graph, x: TestData.doubles(shape, seed: 33)),
        withRespectTo: ["x", "white.weight", "white.bias"])
    }
  }

  /// Σ is a multiple of the identity: the derivative of single eigenvectors does not exist, that of W does.
  @Test func equalEigenvaluesHaveAGradient() throws {
    let graph = try ResolveMode(.training).apply(to: graph([4, 2], group: 2))
    let x = ReferenceTensor([1, 1, -1, -1, 1, -1, -1, 1], shape: [4, 2])
    try finiteDifferenceCheck(graph, values(graph, x: x), withRespectTo: ["x"])
  }

  /// Whitened data are white.
  ///
  /// y has the covariance Σ₀·(Σ₀ + ε·I)⁻¹, Σ₀ without ε, whose eigenvalues are 1 − ε/(λ + ε): off the
  /// identity by ε/(λ + ε) at most. Uniform data of 60 rows have λ > 1/20, so that ε = 1e-6 gives 2e-5.
  @Test func outputIsWhite() throws {
    let x = TestData.doubles([60, 6], seed: 34)
    let statistics = try evaluateInReference(.covariance(Covariance(groupSize: 3)), x)
    let y = try evaluateInReference(
      .decorrelate(Decorrelate(groupSize: 3, epsilon: 1e-6, source: .batch)), x, statistics[0],
      statistics[1], statistics[2])[0]
    let moments = try evaluateInReference(
      .covariance(Covariance(groupSize: 3)), ReferenceTensor(y.values, shape: y.shape))
    ConvNetTestSupport.expectClose(
      moments[2].values.map { $0 / 60 }, (0..<18).map { $0 / 3 % 3 == $0 % 3 ? 1 : 0 },
      tolerance: 2e-5)
    ConvNetTestSupport.expectClose(
      moments[1].values, [Double](repeating: 0, count: 6), tolerance: 1e-14)
  }

  @Test func groupsOfOneAreBatchNormalisation() throws {
    let shape: Shape = [4, 3, 5]
    let type = TensorType(.float32, shape)
    let plain = try Graph(inputs: [("x", type), ("w", type)]) { values in
      let y = values[0].batchNormalization(epsilon: 0.05, name: "white")
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: [0, 1, 2])]
    }
    var results: [[String: ReferenceTensor]] = []
    for graph in try [graph(shape, group: 1), plain] {
      let training = try ResolveMode(.training).apply(to: graph).gradient(
        of: "loss", withRespectTo: ["x", "white.weight", "white.bias"])
      results.append(
        try Reference(unbound: training).runInDouble(
          values(training, x: TestData.doubles(shape, seed: 35))))
    }
    for name in ["y", "gradient/x", "gradient/white.weight", "gradient/white.bias"] {
      let (a, b) = try (#require(results[0][name]), #require(results[1][name]))
      ConvNetTestSupport.expectClose(a.values, b.values, tolerance: 1e-12, name)
    }
  }

  @Test func passesNaNOn() throws {
    let x = ReferenceTensor([.nan, 1, 2, 3, 4, 5, 6, 8], shape: [2, 4])
    let statistics = try evaluateInReference(.covariance(Covariance(groupSize: 2)), x)
    let y = try evaluateInReference(
      .decorrelate(Decorrelate(groupSize: 2, epsilon: 1, source: .batch)), x, statistics[0],
      statistics[1], statistics[2])[0].values
    #expect(y[0].isNaN && y[5].isNaN && !y[2].isNaN && !y[7].isNaN)
  }
}
