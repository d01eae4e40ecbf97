import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Decorrelated batch normalisation in the engine.
@Suite struct DecorrelationTests {
  private func graph(_ shape: Shape, group: Int, mode: ExecutionMode) throws -> Graph {
    let type = TensorType(.float32, shape)
    let graph = try Graph(inputs: [("x", type), ("w", type)]) { values in
      let y = values[0].decorrelatedBatchNormalization(
        groupSize: group, epsilon: 1 / 16, scale: false, shift: false, name: "white")
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
    return try ResolveMode(mode).apply(to: graph).gradient(of: "loss", withRespectTo: ["x"])
  }

  /// The largest sum of magnitudes in a row of any group's W, which bounds λ^(−1/2), and the largest
  /// magnitude and sum for G = Xᵀ·dY/m.
  private func sizes(
    _ x: Tensor, dy: Tensor, group: Int
  ) throws -> (whitening: Double, gradient: Double, centred: Double) {
    let channels = x.shape[x.shape.rank - 1]
    let statistics = try evaluateInReference(
      .covariance(Covariance(groupSize: group)), ReferenceTensor(x))
    let mean = statistics[1].values
    var probes: [Double] = []
    for i in 0..<group {
      for c in 0..<channels { probes.append(mean[c] + (c % group == i ? 1 : 0)) }
    }
    let w = try evaluateInReference(
      .decorrelate(Decorrelate(groupSize: group, epsilon: 1 / 16, source: .batch)),
      ReferenceTensor(probes, shape: [group, channels]), statistics[0], statistics[1],
      statistics[2])[0].values
    var (rowSum, gradientSum, centred) = (0.0, 0.0, 0.0)
    let (values, outer) = (x.doubles, dy.doubles)
    let rows = x.count / channels
    for first in stride(from: 0, to: channels, by: group) {
      for i in 0..<group {
        rowSum = max(rowSum, (0..<group).reduce(0) { $0 + abs(w[i * channels + first + $1]) })
        var sums = [Double](repeating: 0, count: group)
        for row in 0..<rows {
          let difference = values[row * channels + first + i] - mean[first + i]
          centred = max(centred, abs(difference))
          for j in 0..<group { sums[j] += difference * outer[row * channels + first + j] }
        }
        gradientSum = max(gradientSum, sums.reduce(0) { $0 + abs($1) } / Double(rows))
      }
    }
    return (rowSum, gradientSum * Double(group).squareRoot(), centred)
  }

  static let cases: [(Shape, Int)] = [
    ([16, 4], 2), ([3, 7, 6], 3), ([4, 9, 9, 16], 16), ([200, 17], 17), ([2, 65, 5, 12], 4),
    ([2, 3, 2, 4, 3], 1), ([130, 33], 11),
  ]

  /// Forward and backward, within bounds by the data's own W and G.
  ///
  /// y sums g products of x − μ and W, dx g products of dy with W and g of x − μ with
  /// S = (2/m)·dΣ, where ‖dΣ‖ ≤ max|K|·‖G‖ and max|K| = λ^(−3/2)/2 of the smallest λ: |S| ≤ R³·‖G‖/m,
  /// R the largest row sum of W. Statistics are exact to Double or as good as that.
  @Test(arguments: cases) func agreesWithTheReference(_ shape: Shape, _ group: Int) throws {
    let x = TestData.integers(shape, in: -4...4, seed: 51)
    let w = TestData.integers(shape, in: -3...3, seed: 52)
    let size = try sizes(x, dy: w, group: group)
    let forward = Tolerance.bound(terms: group + 1, maxA: size.centred, maxB: size.whitening)
    let slope = size.whitening * size.whitening * size.whitening * size.gradient
    let backward =
      Tolerance.bound(terms: group + 1, maxA: 6, maxB: size.whitening)
      + Tolerance.bound(terms: group + 1, maxA: size.centred, maxB: slope)
    for fuses in [true, false] {
      let graph = try graph(shape, group: group, mode: .training)
      let values = ["x": x, "w": w].merging(Model.initialState(of: graph)) { a, _ in a }
      try checkStateful(graph, values, options: PlanOptions(fusesEpilogues: fuses)) {
        $0 == "y" ? forward : backward
      }
    }
  }

  @Test(arguments: cases) func agreesWithTheReferenceInInference(_ shape: Shape, _ g: Int) throws {
    let channels = shape[shape.rank - 1]
    let graph = try graph(shape, group: g, mode: .inference)
    // A·Aᵀ of an A of small integers is a covariance; λ ≥ ε = 1/16 gives |W| ≤ 4.
    let a = TestData.integers([channels, g], in: -1...1, seed: 53).doubles
    var covariance = [Double](repeating: 0, count: channels * g)
    for c in 0..<channels {
      for j in 0..<g {
        let k = c - c % g + j
        for l in 0..<g { covariance[c * g + j] += a[c * g + l] * a[k * g + l] }
      }
    }
    let values = [
      "x": TestData.integers(shape, in: -4...4, seed: 54),
      "w": TestData.integers(shape, in: -3...3, seed: 55),
      "white.running_mean": TestData.integers([channels], in: -2...2, seed: 56),
      "white.running_cov": Tensor(covariance.map { Float($0) }, shape: [channels, g]),
      "white.num_batches_tracked": Tensor(scalar: Int64(3)),
    ]
    try checkStateful(graph, values) { _ in Tolerance.bound(terms: g + 1, maxA: 6, maxB: 4) }
  }

  /// As `checkGraph`, for a graph with state.
  private func checkStateful(
    _ graph: Graph, _ values: [String: Tensor], options: PlanOptions = PlanOptions(),
    tolerance: (String) -> Double
  ) throws {
    let expected = try Reference(unbound: graph)
      .runInDouble(values.mapValues { ReferenceTensor($0) })
    let model = try Model(
      graph: graph, parameters: [:],
      state: values.filter { name, _ in graph.states.contains { $0.name == name } })
    var bits: [String: Tensor] = [:]
    for lanes in TestLanes.all {
      let plan = try Plan(graph, inputShapes: [:], lanes: lanes, options: options)
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      for input in graph.inputs {
        try workspace.setInput(input.name, to: #require(values[input.name]))
      }
      plan.run(in: &workspace)
      plan.run(in: &workspace)
      for name in ["y", "gradient/x"] {
        let result = try workspace.output(name)
        if let first = bits[name] {
          #expect(first == result, "\(name): other bits on \(lanes.count) lanes than on one")
        } else {
          bits[name] = result
          expectClose(result, try #require(expected[name]), tolerance: tolerance(name), name)
        }
      }
    }
  }

  /// Forward of plain data in training mode.
  private func whitened(_ x: Tensor, group: Int, epsilon: Double = 1e-5) throws -> [Double] {
    let graph = try Graph(input: TensorType(.float32, x.shape)) {
      $0.decorrelatedBatchNormalization(
        groupSize: group, epsilon: epsilon, scale: false, shift: false,
        tracksRunningStatistics: false)
    }
    let plan = try Plan(
      Model(graph: graph, parameters: [:], state: [:]), mode: .training, inputShapes: [:],
      lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(
      for: ParameterStore(try Model(graph: graph, parameters: [:], state: [:])))
    try workspace.setInput("input", to: x)
    plan.run(in: &workspace)
    return try workspace.output("output").doubles
  }

  /// The covariance of y is off the identity by ε/(λ + ε) and by the float32 rounding of y, which moves
  /// an element by 2·max|y|·δ with δ the bound of y; data of variance 1/3 at 1e4 from zero, in steps that
  /// float32 has there.
  @Test func outputIsWhiteFarFromZero() throws {
    let (rows, channels, g) = (256, 8, 4)
    let x = Tensor(
      TestData.integers([rows, channels], in: -512...512, seed: 57).floats.map { 1e4 + $0 / 1024 },
      shape: [rows, channels])
    let y = try whitened(x, group: g)
    let largest = y.map(abs).max() ?? 0
    let bound = 1e-5 / 0.02 + 2 * largest * Tolerance.bound(terms: g + 1, maxA: 0.5, maxB: 7)
    let covariance = try evaluateInReference(
      .covariance(Covariance(groupSize: g)), ReferenceTensor(y, shape: [rows, channels]))[2]
    expectClose(
      covariance.values.map { $0 / Double(rows) },
      (0..<channels * g).map { $0 / g % g == $0 % g ? 1 : 0 }, tolerance: bound)
  }

  @Test func anEmptyBatchIsWhitenedToNothing() throws {
    #expect(try whitened(Tensor(zeros: [0, 4]), group: 2).isEmpty)
  }

  /// Equal channels make Σ singular: ε alone keeps it regular, and rounding must not make λ negative.
  @Test func singularCovariancesStayFinite() throws {
    let column = TestData.uniform([64, 1], in: -3...3, seed: 58).floats
    let x = Tensor(column.flatMap { [$0, $0, 2, $0] }, shape: [64, 4])
    let y = try whitened(x, group: 4)
    #expect(y.allSatisfy { $0.isFinite })
    // A constant channel is 0 but for the rounding of W: the eigenproblem is that of Σ + E with
    // ‖E‖ ≤ g²·2⁻⁵²·‖Σ‖, which moves W by max|K|·‖E‖, K = ε^(−3/2)/2, and y by 3·|x − μ| of that.
    let move = 1 / (1e-5 * 1e-5.squareRoot()) / 2 * 16 * Double.ulpOfOne * 27
    #expect((0..<64).allSatisfy { abs(y[$0 * 4 + 2]) <= 18 * move })
  }

  @Test func passesNaNOnWithinItsGroup() throws {
    var values = TestData.uniform([32, 4], in: -1...1, seed: 59).floats
    values[5] = .nan
    let y = try whitened(Tensor(values, shape: [32, 4]), group: 2)
    for (index, value) in y.enumerated() { #expect(value.isNaN == (index % 4 < 2)) }
  }

  @Test func refusesASingleSample() throws {
    let graph = try Graph(input: TensorType([1, 4])) {
      $0.decorrelatedBatchNormalization(groupSize: 2, name: "white")
    }
    #expect(throws: PlanError.self) {
      try Plan(
        randomModel(graph, seed: 1), mode: .training, inputShapes: [:], lanes: TestLanes.all[0])
    }
  }
}
