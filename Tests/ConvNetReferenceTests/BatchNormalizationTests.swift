import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct BatchNormalizationTests {
  @Test func takesMomentsOfAChannel() throws {
    // Channel 0: 1, 3, 5, 7 with mean 4 and M2 = 9 + 1 + 1 + 9; channel 1: 2, 2, 2, 6 with 3 and 12.
    let x = ReferenceTensor([1, 2, 3, 2, 5, 2, 7, 6], shape: [2, 1, 2, 2])
    let moments = try evaluateInReference(.batchMoments(BatchMoments(axis: -1)), x)
    #expect(moments[0].values == [4])
    #expect(moments[1].values == [4, 3])
    #expect(moments[2].values == [20, 12])
    #expect(moments.map(\.elementType) == [.float64, .float64, .float64])
  }

  @Test func takesMomentsAlongAnyAxis() throws {
    let x = ReferenceTensor([1, 3, 10, 30, 5, 7, 50, 70], shape: [2, 2, 2])
    let moments = try evaluateInReference(.batchMoments(BatchMoments(axis: 1)), x)
    #expect(moments.map(\.values) == [[4], [4, 40], [20, 2000]])
  }

  @Test(arguments: [0, 1]) func definesMomentsOfSmallBatches(_ count: Int) throws {
    let x = ReferenceTensor([Double](repeating: 3, count: count * 2), shape: [count, 2])
    let moments = try evaluateInReference(.batchMoments(BatchMoments(axis: -1)), x)
    #expect(moments.map(\.values) == [[Double(count)], count == 0 ? [0, 0] : [3, 3], [0, 0]])
  }

  @Test func trap4KeepsDigitsFarFromZero() throws {
    // Two-pass: 1e8 ± 1 has M2 = 2 exactly, where E[x²] − E[x]² would have lost it.
    let x = ReferenceTensor([1e8 - 1, 1e8 + 1], shape: [2, 1])
    #expect(
      try evaluateInReference(.batchMoments(BatchMoments(axis: -1)), x).map(\.values)
        == [[2], [1e8], [2]])
  }

  @Test func trap1NormalisesWithThePopulationVariance() throws {
    // σ² = 20/4 = 5 and ε = 4: x̂ = (x − 4)/3, and y = 6·x̂ + 1 = 2·(x − 4) + 1.
    let x = ReferenceTensor([1, 3, 5, 7], shape: [4, 1])
    let y = try evaluateInReference(
      .normalize(
        Normalize(axis: -1, epsilon: 4, source: .batch, hasScale: true, hasShift: true)),
      x, double([4], []), double([4], [1]), double([20], [1]),
      ReferenceTensor([6], shape: [1]), ReferenceTensor([1], shape: [1]))
    #expect(y[0].values == [-5, -1, 3, 7])
  }

  @Test func normalisesWithRunningStatistics() throws {
    let x = ReferenceTensor([1, 10, 3, 20], shape: [2, 2])
    let y = try evaluateInReference(
      .normalize(
        Normalize(axis: 1, epsilon: 0, source: .running, hasScale: false, hasShift: true)),
      x, ReferenceTensor([1, 10], shape: [2]), ReferenceTensor([4, 25], shape: [2]),
      ReferenceTensor([0, 100], shape: [2]))
    #expect(y[0].values == [0, 100, 1, 102])
  }

  @Test func trap4GivesAConstantChannelItsShift() throws {
    let graph = try network(TensorType([4, 2]))
    let values = try values(graph, x: ReferenceTensor([3, 1, 3, 2, 3, 3, 3, 4], shape: [4, 2]))
    let results = try Reference(unbound: ResolveMode(.training).apply(to: graph))
      .runInDouble(values)
    let y = try #require(results["y"]).values
    let shift = try #require(values["norm.bias"]).values[0]
    #expect([0, 2, 4, 6].allSatisfy { y[$0] == shift })
  }

  @Test func sumsGradients() throws {
    // x̂ = −1, 1 (mean 2, M2 = 2, m = 2, ε = 0); dβ = 3 + 5, dγ = −3 + 5.
    let sums = try evaluateInReference(
      .normalizeGradientSums(
        NormalizeGradient(axis: -1, epsilon: 0, source: .batch, hasScale: true)),
      ReferenceTensor([3, 5], shape: [2, 1]), ReferenceTensor([1, 3], shape: [2, 1]),
      double([2], []), double([2], [1]), double([2], [1]))
    #expect(sums.map(\.values) == [[8], [2]])
  }

  @Test func trap3SubtractsTheMeansInTraining() throws {
    // x = 0, 0, 3, 3, …: mean 1.5, M2 = 9, σ = 1.5, x̂ = −1, −1, 1, 1. dy = 1, 2, 3, 6:
    // dβ/m = 3, dγ/m = (−1 − 2 + 3 + 6)/4 = 1.5; dx = γ/σ·(dy − 3 − 1.5·x̂), γ/σ = 2.
    let dx = try evaluateInReference(
      .normalizeGradientInput(
        NormalizeGradient(axis: -1, epsilon: 0, source: .batch, hasScale: true)),
      ReferenceTensor([1, 2, 3, 6], shape: [4, 1]), ReferenceTensor([0, 0, 3, 3], shape: [4, 1]),
      double([4], []), double([1.5], [1]), double([9], [1]), double([12], [1]), double([6], [1]),
      ReferenceTensor([3], shape: [1]))
    #expect(dx[0].values == [-1, 1, -3, 3])
  }

  @Test func trap3OnlyScalesWithRunningStatistics() throws {
    let dx = try evaluateInReference(
      .normalizeGradientInput(
        NormalizeGradient(axis: -1, epsilon: 0, source: .running, hasScale: true)),
      ReferenceTensor([1, 2, 3, 6], shape: [4, 1]), ReferenceTensor([0, 0, 3, 3], shape: [4, 1]),
      ReferenceTensor([7], shape: [1]), ReferenceTensor([4], shape: [1]),
      ReferenceTensor([3], shape: [1]))
    #expect(dx[0].values == [1.5, 3, 4.5, 9])
  }

  @Test(arguments: [[6, 3], [2, 5, 2], [2, 3, 2, 4], [2, 2, 3, 2, 1]] as [Shape])
  func trap3HasAGradientThroughTheBatch(_ shape: Shape) throws {
    for (scale, shift) in [(true, true), (true, false), (false, true), (false, false)] {
      let graph = try ResolveMode(.training).apply(
        to: network(TensorType(.float32, shape), scale: scale, shift: shift))
      try finiteDifferenceCheck(
        graph, values(graph, x: TestData.doubles(shape, seed: 4)),
        withRespectTo: ["x"] + graph.parameters.map(\.name))
    }
  }

  @Test func trap3HasAGradientWithRunningStatistics() throws {
    let graph = try ResolveMode(.inference).apply(to: network(TensorType([3, 2, 2])))
    try finiteDifferenceCheck(
      graph, values(graph, x: TestData.doubles([3, 2, 2], seed: 4)),
      withRespectTo: ["x", "norm.weight", "norm.bias"])
  }

  @Test func hasAGradientAlongTheFirstChannelAxis() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType([2, 3, 2, 2]))
    let w = builder.addInput("w", TensorType([2, 3, 2, 2]))
    let scale = builder.addParameter("scale", [3], role: .normalizationScale)
    let moments = builder.add(.batchMoments(BatchMoments(axis: 1)), [x])
    let normalize = Normalize(
      axis: -3, epsilon: 1e-3, source: .batch, hasScale: true, hasShift: false)
    let y = builder.add(.normalize(normalize), [x] + moments + [scale])[0]
    let sum = Reduce(.sum, axes: [0, 1, 2, 3])
    builder.addOutput("loss", builder.add(.reduce(sum), builder.add(.combine(.multiply), y, w)))
    try finiteDifferenceCheck(
      builder.finish(),
      [
        "x": TestData.doubles([2, 3, 2, 2], seed: 1), "w": TestData.doubles([2, 3, 2, 2], seed: 2),
        "scale": TestData.doubles([3], in: 0.5...1.5, seed: 3),
      ], withRespectTo: ["x", "scale"])
  }

  // MARK: Building blocks

  private func double(_ values: [Double], _ shape: Shape) -> ReferenceTensor {
    ReferenceTensor(values, shape: shape, elementType: .float64)
  }

  /// Batch norm of `x`, as `y`, and the loss Σ w·y.
  private func network(
    _ type: TensorType, scale: Bool = true, shift: Bool = true
  ) throws -> Graph {
    try Graph(inputs: [("x", type), ("w", type)]) { values in
      let y = values[0].batchNormalization(
        epsilon: 1e-3, scale: scale, shift: shift, name: "norm")
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
  }

  private func values(_ graph: Graph, x: ReferenceTensor) throws -> [String: ReferenceTensor] {
    var values = ["x": x, "w": TestData.doubles(x.shape, seed: 5)]
    for parameter in graph.parameters {
      let shape = try #require(graph.type(of: parameter.value).shape)
      values[parameter.name] = TestData.doubles(shape, in: 0.5...1.5, seed: 6)
    }
    for (name, tensor) in Model.initialState(of: graph) {
      values[name] = ReferenceTensor(tensor)
    }
    return values
  }
}
