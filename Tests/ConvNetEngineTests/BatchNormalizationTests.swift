import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

@Suite struct BatchNormalizationTests {
  static let options = PlanOptions.BatchNormalizationStrategy.allCases.map {
    PlanOptions(batchNormalization: $0)
  }

  struct Case: CustomTestStringConvertible {
    var shape: Shape
    var axis: Int
    var testDescription: String { "\(shape) axis \(axis)" }
    var channels: Int { shape[axis < 0 ? axis + shape.rank : axis] }
    var samples: Int { shape.count / channels }
  }

  /// Channel counts around the vector widths, rows around the block of 128, channels last and first.
  static let cases: [Case] = [
    Case(shape: [2, 1], axis: -1), Case(shape: [5, 3], axis: -1),
    Case(shape: [3, 4, 5, 16], axis: -1),
    Case(shape: [2, 9, 8, 17], axis: -1), Case(shape: [130, 7], axis: -1),
    Case(shape: [3, 11, 12, 33], axis: 3), Case(shape: [4, 6, 64], axis: -1),
    Case(shape: [2, 2, 3, 4, 6], axis: -1), Case(shape: [3, 5, 4, 6], axis: 1),
    Case(shape: [2, 3, 50], axis: 1), Case(shape: [260, 130], axis: -1),
    Case(shape: [300, 300], axis: -1), Case(shape: [1000, 6], axis: -1),
  ]

  /// A block adds up at most 128 terms (x − s)ᵏ in float, each rounded twice: a relative error below 130·u;
  /// `.blas` adds such sums of up to 64 neighbouring rows by halves: six more roundings.
  ///
  /// u = 2⁻²⁴ (Higham 2002, section 4.2). With |x| ≤ 8 and s a mean of some x, Σ|x − s| ≤ 16·m and
  /// Σ(x − s)² ≤ 2·64·m.
  @Test(arguments: cases) func momentsAgree(_ c: Case) throws {
    let x = TestData.integers(c.shape, in: -8...8, seed: 5)
    try checkOperation(
      .batchMoments(BatchMoments(axis: c.axis)), [x], options: Self.options, differentiates: false,
      tolerance: { $0 == "y2" ? 136 * 0x1p-24 * 128 * Double(c.samples) : 136 * 0x1p-24 * 16 })
  }

  /// Forward: y = a·x + b with |a·x|, |b| ≤ A = max γ/√(σ²+ε)·(max|x| + |μ|), three roundings in float.
  @Test(arguments: cases, [StatisticsSource.batch, .running])
  func normalizeAgrees(_ c: Case, source: StatisticsSource) throws {
    let graph = try layerGraph(c, source: source)
    try compare(graph, c, seed: 21)
  }

  /// γ/√(σ²+ε) at most 1.5/√(1/2): dy of whole numbers up to 3, x̂ up to 4.
  private func compare(_ graph: Graph, _ c: Case, seed: UInt64) throws {
    let gradient = try graph.gradient(
      of: "loss", withRespectTo: ["x", "scale", "shift"])
    let weights = TestData.integers(c.shape, in: -3...3, seed: seed + 9)
    let inputs: [String: Tensor] = [
      "x": TestData.uniform(c.shape, in: -2...2, seed: seed), "w": weights,
      "scale": TestData.uniform([c.channels], in: 0.5...1.5, seed: seed + 1),
      "shift": TestData.uniform([c.channels], seed: seed + 2),
      "mean": TestData.uniform([c.channels], seed: seed + 3),
      "variance": TestData.uniform([c.channels], in: 0.5...1.5, seed: seed + 4),
    ].filter { gradient.value(named: $0.key) != nil }
    // Two samples may lie close together: 1/√(σ²+ε) is what errors are multiplied by.
    let gain = 1.5 * largestInverseDeviation(c, inputs)
    let terms = Double(c.samples).squareRoot() + 8
    let bound = Tolerance.bound(terms: Int(terms), maxA: 4 * max(gain, 1), maxB: 3 * max(gain, 1))
    for options in Self.options {
      try checkGraph(gradient, inputs, options: options) { name in
        name == "gradient/scale" || name == "gradient/shift"
          ? bound * Double(c.samples).squareRoot() : bound
      }
    }
  }

  private func largestInverseDeviation(_ c: Case, _ inputs: [String: Tensor]) -> Double {
    guard inputs["variance"] == nil, let x = inputs["x"]?.doubles else { return 2.squareRoot() }
    let axis = c.axis < 0 ? c.axis + c.shape.rank : c.axis
    let inner = c.shape.dimensions[(axis + 1)...].reduce(1, *)
    var largest = 0.0
    for channel in 0..<c.channels {
      let values = x.indices.filter { $0 / inner % c.channels == channel }.map { x[$0] }
      let mean = values.reduce(0, +) / Double(values.count)
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
      largest = max(largest, 1 / (variance + 1e-5).squareRoot())
    }
    return largest
  }

  private func layerGraph(_ c: Case, source: StatisticsSource) throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(.float32, c.shape))
    let w = builder.addInput("w", TensorType(.float32, c.shape))
    let row: Shape = [c.channels]
    let affine = ["scale", "shift"].map { builder.addInput($0, TensorType(.float32, row)) }
    let statistics =
      source == .batch
      ? builder.add(.batchMoments(BatchMoments(axis: c.axis)), [x])
      : ["mean", "variance"].map { builder.addInput($0, TensorType(.float32, row)) }
    let normalize = Normalize(
      axis: c.axis, epsilon: 1e-5, source: source, hasScale: true, hasShift: true)
    let y = builder.add(.normalize(normalize), [x] + statistics + affine)[0]
    let weighted = builder.add(.combine(.multiply), y, w)
    builder.addOutput("y", y)
    builder.addOutput(
      "loss", builder.add(.reduce(Reduce(.sum, axes: Array(0..<c.shape.rank))), weighted))
    return try builder.finish()
  }

  @Test func trap1OneSamplePerChannelIsAnError() throws {
    let graph = try Graph(input: .features(4)) { $0.batchNormalization(name: "norm") }
    let training = try ResolveMode(.training).apply(to: graph)
    let error = #expect(throws: PlanError.self) {
      try Plan(training, inputShapes: ["input": [1, 4]])
    }
    #expect(error?.code == .singleSample)
    #expect(error?.place == "norm")
    _ = try Plan(ResolveMode(.inference).apply(to: graph), inputShapes: ["input": [1, 4]])
  }

  /// Mean/deviation of 10⁴, a constant channel, one outlier.
  @Test(arguments: options) func trap4DifficultData(_ options: PlanOptions) throws {
    let rows = 500
    var values = TestData.uniform([rows, 4], seed: 8).floats
    for row in 0..<rows {
      values[row * 4] += 10_000
      values[row * 4 + 1] = 3.25
      values[row * 4 + 2] = row == 77 ? 1e6 : values[row * 4 + 2]
    }
    let x = Tensor(values, shape: [rows, 4])
    let graph = try operationGraph(
      .batchMoments(BatchMoments(axis: -1)), [TensorType(.float32, x.shape)])
    let results = try runEngine(graph, ["x0": x], options: options, lanes: TestLanes.all[1])
    let (mean, m2) = (try #require(results["y1"]).doubles, try #require(results["y2"]).doubles)
    for channel in 0..<4 {
      let column = (0..<rows).map { Double(values[$0 * 4 + channel]) }
      let exactMean = column.reduce(0, +) / Double(rows)
      let exact = column.reduce(0) { $0 + ($1 - exactMean) * ($1 - exactMean) }
      #expect(m2[channel] >= 0)
      if channel == 1 {
        #expect(mean[channel] == 3.25 && m2[channel] == 0)
      } else {
        // A block of 128 float sums: relative error at most 128·ε, in practice a few ε.
        #expect(abs(m2[channel] - exact) <= 128 * 0x1p-23 * exact)
        #expect(
          abs(mean[channel] - exactMean) <= 128 * 0x1p-24 * (exact / Double(rows)).squareRoot())
      }
    }
  }
}
