import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// USERS §9, traps 4 and 10: data far from zero, places in a batch, and statistics that change.
@Suite struct BatchNormalizationTrapTests {
  private typealias Case = PlainBatchNormalizationTests.Case

  /// Whole numbers from −2 to 2 beyond 1,500,000, which floats there tell apart by ⅛.
  private static let offset = 1_500_000.0
  private static let cases = [
    Case(shape: [400, 5], axis: -1), Case(shape: [9, 5, 6, 70], axis: -1),
    Case(shape: [400, 5], axis: 1), Case(shape: [4, 3, 70], axis: 1),
  ]

  /// Mean/deviation 10⁶ and nothing lost: y and dx are as good as near zero.
  ///
  /// Sums are exact: shifts s and m are multiples of ⅛, |x − s| ≤ 4 and |dy| ≤ 3, so that sums of up to
  /// 2048 terms dy·(x − m) and (x − s)² need 23 bits. What is left, with u = 2⁻²⁴: in y = a·(x − m) + b
  /// those of a, b, product and sum, in dx = a·dy + b·(x − m) + k those of a, b, k, two products and two
  /// sums; no term meets more than four. |μ − m| ≤ 1⁄16 goes into b and k. `.blas` computes a·x + b: the
  /// same roundings, of numbers up to a·|μ|.
  @Test(arguments: cases, PlanOptions.BatchNormalizationStrategy.allCases)
  private func trap4OutputsAndGradientsFarFromZero(
    _ c: Case, _ strategy: PlanOptions.BatchNormalizationStrategy
  ) throws {
    let noise = TestData.integers(c.shape, in: -2...2, seed: 91)
    let x = Tensor(noise.floats.map { $0 + Float(Self.offset) }, shape: c.shape)
    let dy = TestData.integers(c.shape, in: -3...3, seed: 92)
    let norm = BatchNormalization(axis: c.axis, strategy: strategy, lanes: TestLanes.all[1])
    let scales = TestData.uniform([c.channels], in: 0.5...1.5, seed: 93)
    for scale in [nil, scales] {
      let shift = scale.map { _ in TestData.uniform([c.channels], seed: 94) }
      var inputs = ["x": x, "dy": dy]
      (inputs["scale"], inputs["shift"]) = (
        scale ?? Tensor(repeating: Float(1), shape: [c.channels]), shift
      )
      let expected = try NormalizationReference(axis: c.axis, source: .batch)(inputs)
      let (y, statistics) = try norm.forward(x, scale: scale, shift: shift)
      let (dx, dScale, dShift) = try norm.backward(dy, x: x, scale: scale, statistics: statistics)
      let deviation = try #require(statistics.variance(.population).doubles.min()).squareRoot()
      let (a, farthest) = (1.5 / deviation, 4 / deviation)
      let (u, far) = (0x1p-24, strategy == .blas ? Self.offset + 2 : 0)
      expectClose(
        y, try #require(expected["y"]), tolerance: 4 * u * (a * (4 + 1.0 / 16 + far) + 1), "y")
      // |dβ|/m ≤ 3 and |dγ|/m ≤ 3·|x̂|.
      let gamma = try #require(expected["dscale"])
      let slope = a / deviation * gamma.values.reduce(0) { max($0, abs($1)) } / Double(c.samples)
      expectClose(
        dx, try #require(expected["dx"]),
        tolerance: 4 * u * (6 * a + slope * (4 + 1.0 / 16 + far)), "dx")
      // μ in Double is off by 2⁻³² at most, 2⁻⁵² of itself.
      let terms = 3 * Double(c.samples) * farthest
      expectClose(dScale, gamma, tolerance: u * terms, "dγ")
      #expect(dShift.doubles.allSatisfy { $0 == $0.rounded() }, "dβ is a sum of whole numbers")
    }
  }

  /// Where running statistics lie far from zero, too.
  @Test(arguments: cases) private func trap4InferenceFarFromZero(_ c: Case) throws {
    let noise = TestData.integers(c.shape, in: -2...2, seed: 95)
    let x = Tensor(noise.floats.map { $0 + Float(Self.offset) }, shape: c.shape)
    let running = BatchNormalization.Running(
      mean: Tensor(repeating: Float(Self.offset + 0.375), shape: [c.channels]),
      variance: TestData.uniform([c.channels], in: 0.5...1.5, seed: 96))
    let norm = BatchNormalization(axis: c.axis, lanes: TestLanes.all[1])
    let expected = try NormalizationReference(axis: c.axis, source: .running)(
      ["x": x, "dy": x, "mean": running.mean, "variance": running.variance])
    // |x − μ̂| ≤ 2.375 exactly and 1/√σ̂² ≤ √2: roundings of a and of the product.
    expectClose(
      try norm.inference(x, running: running), try #require(expected["y"]),
      tolerance: 2 * 0x1p-24 * 2.375 * 2.0.squareRoot())
  }

  /// Every sample has the bits it has alone, wherever it stands and on any lanes.
  @Test(arguments: [
    Case(shape: [7, 5], axis: -1), Case(shape: [5, 3, 17], axis: -1),
    Case(shape: [6, 3, 3, 64], axis: -1), Case(shape: [9, 2, 130], axis: -1),
    Case(shape: [5, 17], axis: 1), Case(shape: [6, 3, 5, 7], axis: 1),
  ])
  private func trap10InferenceBitsDoNotDependOnThePlaceInTheBatch(_ c: Case) throws {
    let (count, size) = (c.shape[0], c.shape.count / c.shape[0])
    let x = TestData.uniform(c.shape, in: -3...3, seed: 101).floats
    let scale = TestData.uniform([c.channels], in: 0.5...1.5, seed: 102)
    let shift = TestData.uniform([c.channels], seed: 103)
    let running = BatchNormalization.Running(
      mean: TestData.uniform([c.channels], seed: 104),
      variance: TestData.uniform([c.channels], in: 0.5...1.5, seed: 105))
    func infer(_ samples: [Int], _ lanes: Lanes) throws -> [[Float]] {
      let values = samples.flatMap { x[$0 * size..<($0 + 1) * size] }
      let shape = Shape([samples.count] + c.shape.dimensions.dropFirst())
      let y = try BatchNormalization(axis: c.axis, lanes: lanes).inference(
        Tensor(values, shape: shape), scale: scale, shift: shift, running: running
      ).floats
      return samples.indices.map { Array(y[$0 * size..<($0 + 1) * size]) }
    }
    let alone = try (0..<count).map { try infer([$0], TestLanes.all[0])[0] }
    for lanes in TestLanes.all {
      for turn in 0..<count {
        let order = (0..<count).map { ($0 + turn) % count }
        #expect(try infer(order, lanes) == order.map { alone[$0] }, "turned by \(turn)")
      }
    }
  }

  /// What inference needs of running statistics is computed once, and anew when the store has changed.
  @Test(arguments: [false, true]) func runningStatisticsArePrepared(decorrelates: Bool) throws {
    let graph = try Graph(input: .features(4)) {
      decorrelates
        ? $0.decorrelatedBatchNormalization(groupSize: 2, name: "norm")
        : $0.batchNormalization(name: "norm")
    }
    let model = try randomModel(graph, seed: 111)
    let x = TestData.uniform([3, 4], seed: 112)
    let plan = try Plan(
      model, mode: .inference, inputShapes: ["input": x.shape], lanes: TestLanes.all[0])
    #expect(
      !plan.stepDescriptions.contains { $0.contains("coefficients") || $0.contains("eigenvalues") })
    func run(_ workspace: inout Workspace) throws -> Tensor {
      try workspace.setInput("input", to: x)
      plan.run(in: &workspace)
      return try workspace.output("output")
    }
    let store = ParameterStore(model)
    var one = plan.makeWorkspace(for: store)
    var other = plan.makeWorkspace(for: store)
    let before = try run(&one)
    store.setState("norm.running_mean", to: TestData.uniform([4], in: 1...2, seed: 113))
    let after = try run(&one)
    #expect(after != before)
    let shared = try run(&other)
    #expect(shared == after)
    var fresh = plan.makeWorkspace(for: ParameterStore(store.snapshot()))
    let anew = try run(&fresh)
    #expect(anew == after)
  }
}
