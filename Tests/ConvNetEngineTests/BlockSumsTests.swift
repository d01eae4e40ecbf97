import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Sums for batch norm taken where a result is made, and normalisations computed where they are loaded.
@Suite struct BlockSumsTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var strategy: String
    /// The input, and the filter without its channels.
    var input: Shape
    var filter: Shape
    var groups = 1
    var testDescription: String { "\(strategy) \(input) \(filter) \(groups) groups" }
  }

  /// Several parts, parts of tile rows, several panels, groups, channels around vector widths.
  static let cases: [Case] = [
    Case(strategy: "pointwise", input: [9, 10, 10, 3], filter: [1, 1, 70]),
    Case(strategy: "im2col", input: [3, 30, 20, 4], filter: [3, 3, 6], groups: 2),
    Case(strategy: "im2col", input: [2, 6, 5, 7], filter: [3, 3, 130]),
    Case(strategy: "direct", input: [3, 30, 20, 4], filter: [3, 3, 70]),
    Case(strategy: "direct", input: [9, 7, 9, 5], filter: [3, 3, 17]),
    Case(strategy: "winograd", input: [6, 27, 31, 3], filter: [3, 3, 5]),
    Case(strategy: "winograd", input: [1, 11, 13, 3], filter: [3, 3, 66]),
    Case(strategy: "depthwise", input: [2, 9, 11, 37], filter: [3, 3, 37], groups: 37),
    Case(strategy: "thin", input: [2, 17, 19, 3], filter: [3, 3, 5]),
  ]

  /// Moments of x ∗ w.
  private func moments(_ c: Case) throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(.float32, c.input))
    let filter = Array(c.filter.dimensions.dropLast()) + [c.input[3] / c.groups, c.filter[2]]
    let w = builder.addInput("w", TensorType(.float32, Shape(filter)))
    let window = Window(kernel: [c.filter[0], c.filter[1]], stride: [1, 1], padding: .same)
    let y = builder.add(.convolution(Convolution(window: window, groups: c.groups)), [x, w])[0]
    let names = ["count", "mean", "m2"]
    for (name, value) in zip(names, builder.add(.batchMoments(BatchMoments(axis: -1)), [y])) {
      builder.addOutput(name, value)
    }
    return try builder.finish()
  }

  private func readsAgain(_ graph: Graph, _ options: PlanOptions) throws -> Bool {
    try Plan(graph, inputShapes: [:], lanes: TestLanes.all[0], options: options)
      .stepDescriptions.contains { $0.contains("[RowMomentsStep") }
  }

  /// Whole numbers, whose products add up exactly, in Winograd's domain too if filters are multiples of 24².
  ///
  /// What is left is the error of block sums as `BatchNormalizationTests.momentsAgree` has it, of |y| ≤ A.
  @Test(arguments: cases) func momentsAgree(_ c: Case) throws {
    let graph = try moments(c)
    let isWinograd = c.strategy == "winograd"
    let depth = c.filter[0] * c.filter[1] * c.input[3] / c.groups
    let x = TestData.integers(c.input, in: -1...1, seed: 51)
    let w = TestData.integers(
      try #require(graph.type(of: graph.inputs[1].value).shape), in: -1...1, seed: 52)
    let inputs = [
      "x": x, "w": Tensor(w.floats.map { $0 * (isWinograd ? 576 : 1) }, shape: w.shape),
    ]
    let options = PlanOptions(convolution: c.strategy)
    #expect(try !readsAgain(graph, options))
    #expect(
      try readsAgain(graph, PlanOptions(convolution: c.strategy, fusesEpilogues: false)))
    let largest = Double(depth) * (isWinograd ? 576 : 1)
    let samples = Double(c.input.dimensions.dropLast().reduce(1, *))
    try checkGraph(graph, inputs, options: options) { name in
      switch name {
      case "mean": 136 * 0x1p-24 * 2 * largest
      case "m2": 136 * 0x1p-24 * 2 * largest * largest * samples
      default: 0
      }
    }
  }

  /// Mean/deviation of 10⁶, a constant channel, first rows far from all others; products with 1 are exact.
  @Test(arguments: ["pointwise", "direct", "im2col"]) func difficultMoments(_ strategy: String)
    throws
  {
    let c = Case(strategy: strategy, input: [3, 20, 20, 3], filter: [1, 1, 3])
    let rows = 3 * 20 * 20
    var values = TestData.uniform([rows, 3], in: -2...2, seed: 53).floats
    for row in 0..<rows {
      values[row * 3] += 1_000_000
      values[row * 3 + 1] = 3.25
      if row < 8 { values[row * 3 + 2] += 10_000 }
    }
    let identity = Tensor([1, 0, 0, 0, 1, 0, 0, 0, 1] as [Float], shape: [1, 1, 3, 3])
    let inputs = ["x": Tensor(values, shape: c.input), "w": identity]
    for lanes in TestLanes.all {
      let results = try runEngine(
        moments(c), inputs, options: PlanOptions(convolution: strategy), lanes: lanes)
      let (mean, m2) = (
        try #require(results["mean"]).doubles, try #require(results["m2"]).doubles
      )
      for channel in 0..<3 {
        let column = (0..<rows).map { Double(values[$0 * 3 + channel]) }
        let exactMean = column.reduce(0, +) / Double(rows)
        let exact = column.reduce(0) { $0 + ($1 - exactMean) * ($1 - exactMean) }
        // As trap 4: float sums of blocks of 128 about a shift.
        #expect(abs(m2[channel] - exact) <= 128 * 0x1p-23 * exact, "\(channel)")
        let deviation = (exact / Double(rows)).squareRoot()
        #expect(abs(mean[channel] - exactMean) <= 128 * 0x1p-24 * deviation, "\(channel)")
      }
    }
  }

  /// Between windows further apart than they are wide lie rows that no window reads: these are zeroed, and
  /// summed up, with the tile behind them.
  @Test(arguments: [(1, 2), (2, 3)]) func poolsThatLeaveRowsOut(_ kernel: Int, _ stride: Int) throws
  {
    let graph = try Graph(input: .image(height: 64, width: 64, channels: 64)) {
      $0.batchNormalization().relu().maxPooling(kernel: kernel, stride: stride).map(.square)
        .reduced(.mean, axes: [0, 1, 2, 3])
    }
    let step = try ResolveMode(.training).apply(to: graph).gradient(of: "output")
    let model = try randomModel(step, seed: 71)
    let x = TestData.uniform([2, 64, 64, 64], seed: 72)
    let results = try [true, false].map { fuses in
      let plan = try Plan(
        step, inputShapes: ["input": x.shape], lanes: TestLanes.all[0],
        options: PlanOptions(fusesEpilogues: fuses))
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      try workspace.setInput("input", to: x)
      plan.run(in: &workspace)
      plan.run(in: &workspace)
      return try step.outputs.filter { $0.name.hasPrefix("gradient/") }.map {
        try workspace.output($0.name).doubles
      }
    }
    // Sums of 2·32·32 products at most, in two orders, of numbers below 4/(2·32·32·64).
    let bound = 2 * Tolerance.bound(terms: 2048, maxA: 4 / 131_072, maxB: 4)
    for (fused, plain) in zip(results[0], results[1]) {
      expectClose(fused, plain, tolerance: bound, "kernel \(kernel), stride \(stride)")
    }
  }

  /// Gradients of strided convolutions in phases, some without taps, the last rows of fewer phases.
  private func stridedNetwork() throws -> Graph {
    try Graph(inputs: [
      ("input", .image(height: 27, width: 29, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let logits = values[0].convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .convolution(20, kernel: 3, stride: 2, bias: false).batchNormalization().relu()
        .convolution(70, kernel: 1, stride: 2, bias: false).batchNormalization().relu()
        .convolution(9, kernel: 1)
        .globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
  }

  /// A stem with its pool, residual joins of both kinds, a bottleneck.
  private func network() throws -> Graph {
    try Graph(inputs: [
      ("input", .image(height: 24, width: 26, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let logits = values[0].convolution(16, kernel: 7, stride: 2, bias: false)
        .batchNormalization().relu()
        .maxPooling(kernel: 3, stride: 2, padding: .explicit(1))
        .residualBlock(16).residualBlock(24, stride: 2)
        .bottleneckBlock(6, stride: 1, normalized: true)
        .globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
  }

  /// The longest sums are those over the 4·12·13, or 4·27·29, pixels of the first batch norm.
  @Test(arguments: [false, true]) func trainingStepsAgreeFusedOrNot(_ isStrided: Bool) throws {
    let (network, shape, terms) =
      isStrided
      ? (try stridedNetwork(), [4, 27, 29, 3] as Shape, 3132)
      : (try network(), [4, 24, 26, 3] as Shape, 624)
    let graph = try ResolveMode(.training).apply(to: network).gradient(of: "loss")
      .exposingStatistics().graph
    let model = try randomModel(graph, seed: 61)
    let inputs = [
      "input": TestData.uniform(shape, seed: 62),
      "labels": TestData.labels([4], in: 0...4, seed: 63),
    ]
    let reference = try Reference(graph, parameters: model.parameters, state: model.state)
    let stored = model.parameters.merging(model.state) { first, _ in first }
    let expected = try Tolerance.perturbing(
      reference, inputs.merging(stored) { first, _ in first }, terms: terms, seed: 64)
    for fuses in [false, true] {
      var first: [String: Tensor] = [:]
      for lanes in TestLanes.all {
        let plan = try Plan(
          graph, inputShapes: inputs.mapValues(\.shape), lanes: lanes,
          options: PlanOptions(fusesEpilogues: fuses))
        let steps = plan.stepDescriptions
        // Pools load what they normalise, and all sums but those of tiny maps have been taken.
        if !isStrided {
          #expect(steps.contains { $0.hasPrefix("batchNormalization1 [Normalize") } == !fuses)
        }
        #expect(steps.contains { $0.contains("[RowMomentsStep") } == !fuses, "\(steps)")
        #expect(steps.contains { $0.contains("[GradientSumsStep") } == !fuses, "\(steps)")
        var workspace = plan.makeWorkspace(for: ParameterStore(model))
        for (name, value) in inputs { try workspace.setInput(name, to: value) }
        plan.run(in: &workspace)
        plan.run(in: &workspace)
        for port in graph.outputs {
          let value = try workspace.output(port.name)
          let (exact, tolerance) = try #require(expected[port.name])
          expectClose(value, exact, tolerance: tolerance, "\(port.name) fuses \(fuses)")
          #expect(first[port.name] ?? value == value, "\(port.name), \(lanes.count) lanes")
          first[port.name] = value
        }
      }
    }
  }

  /// Pools of several tiles: the same values whether stored before or normalised as they are loaded, and
  /// the same gradient but for the order of sums.
  @Test(arguments: [Padding.explicit(1), .valid])
  func poolsLoadWhatWouldBeStored(_ padding: Padding) throws {
    let shape: Shape = [2, 21, 64, 64]
    let graph = try Graph(inputs: [("x", TensorType(.float32, shape))]) { values in
      let y = values[0].batchNormalization().map(.relu6)
        .maxPooling(kernel: 3, stride: 2, padding: padding)
      return ["y": y, "loss": y.reduced(.sum, axes: [0, 1, 2, 3])]
    }
    let training = try ResolveMode(.training).apply(to: graph)
      .gradient(of: "loss", withRespectTo: ["x"])
    let model = try randomModel(training, seed: 71)
    var results: [[String: Tensor]] = []
    for (fuses, lanes) in [(false, 0), (true, 0), (true, 1)] {
      let plan = try Plan(
        training, inputShapes: [:], lanes: TestLanes.all[lanes],
        options: PlanOptions(fusesEpilogues: fuses))
      #expect(plan.stepDescriptions.contains { $0.contains("[NormalizeStep") } == !fuses)
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      try workspace.setInput("x", to: TestData.uniform(shape, in: -3...3, seed: 72))
      plan.run(in: &workspace)
      results.append([
        "y": try workspace.output("y"), "dx": try workspace.output("gradient/x"),
      ])
    }
    #expect(results[0]["y"] == results[1]["y"] && results[1] == results[2])
    // dx = a·(dy − Σdy/m − x̂·Σ(dy·x̂)/m): both sums are of at most m terms of a few units, blocks of 128 in
    // float; a ≤ 2 and |x̂| ≤ 2.
    let (stored, loaded) = (try #require(results[0]["dx"]), try #require(results[1]["dx"]))
    let distance = zip(stored.floats, loaded.floats).reduce(0) { max($0, abs($1.0 - $1.1)) }
    let bound: Float = 136 * 0x1p-24 * 2 * (4 + 2 * 8)
    #expect(distance <= bound)
  }
}
