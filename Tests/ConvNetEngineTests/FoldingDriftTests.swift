import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What folding batch norm changes in the engine: rounding, and no more.
@Suite struct FoldingDriftTests {
  struct Case: CustomTestStringConvertible {
    var testDescription: String
    var folds: Int
    /// Products of the widest sum.
    var terms: Int
    var network: @Sendable (Graph.Value) -> Graph.Value
  }

  /// ε = ¼, so that a running variance of ¾ gives a deviation of 1.
  static let cases: [Case] = [
    Case(testDescription: "convolution", folds: 1, terms: 36) {
      $0.convolution(6, kernel: 3, bias: false).batchNormalization(epsilon: 0.25).relu()
    },
    Case(testDescription: "depthwise", folds: 1, terms: 9) {
      $0.depthwiseConvolution(kernel: 3).batchNormalization(epsilon: 0.25).relu6()
    },
    Case(testDescription: "dense", folds: 1, terms: 120) {
      $0.flatten().dense(7).batchNormalization(epsilon: 0.25)
    },
    Case(testDescription: "before a layer", folds: 1, terms: 36) {
      $0.batchNormalization(epsilon: 0.25).convolution(6, kernel: 3, padding: .valid)
    },
    // Trap: the value of the first fold is gone when the second is made.
    Case(testDescription: "both sides", folds: 2, terms: 36) {
      $0.batchNormalization(epsilon: 0.25).convolution(6, kernel: 3, padding: .valid)
        .batchNormalization(epsilon: 0.25)
    },
    Case(testDescription: "two behind one layer", folds: 2, terms: 36) {
      $0.convolution(6, kernel: 3).batchNormalization(epsilon: 0.25)
        .batchNormalization(epsilon: 0.25)
    },
  ]

  private let lanes = TestLanes.all[0]

  private func measure(
    _ model: Model, _ x: Tensor
  ) throws -> (drifts: [FoldingDrift], folded: Model) {
    let folding = try FoldBatchNormalization().fold(model)
    let drifts = try FoldingDrift.measure(model, folding, inputs: ["input": x], lanes: lanes)
    return (drifts, folding.model)
  }

  /// Whole numbers everywhere: both orders of computation are exact, so that nothing drifts.
  @Test(arguments: cases) func wholeNumbersDoNotDrift(_ c: Case) throws {
    let graph = try Graph(input: .image(height: 6, width: 5, channels: 4), c.network)
    var model = try randomModel(graph, seed: 3)
    for (index, parameter) in graph.parameters.enumerated() {
      let shape = try #require(model.parameters[parameter.name]).shape
      try model.setParameter(
        parameter.name, to: TestData.integers(shape, in: -3...3, seed: UInt64(10 + index)))
    }
    for state in graph.states where state.role != .updateCount {
      let shape = try #require(model.state[state.name]).shape
      try model.setState(
        state.name,
        to: state.role == .runningVariance
          ? Tensor(repeating: Float(0.75), shape: shape)
          : TestData.integers(shape, in: -3...3, seed: 20))
    }
    let drifts = try measure(model, TestData.integers([2, 6, 5, 4], seed: 4)).drifts
    #expect(drifts.count == c.folds)
    for drift in drifts { #expect(drift.difference == 0 && drift.largest > 0, "\(drift)") }
  }

  /// Folded and unfolded networks, and the reference, lie within the rounding of their sums.
  ///
  /// Inputs, weights and biases are at most 1, ½ and ½; |a| ≤ 1.5/√¾ < 2 and |b| ≤ ½ + 2·½, so that what
  /// a layer reads is at most 2 + 1.5 and its weights times the a of all folds at most ½·2^folds. Each
  /// side's sum has the error of `Tolerance`, with a term more for the bias; the unfolded side rounds
  /// a·y + b and the folded one its parameters, which is less than two more terms.
  @Test(arguments: cases) func staysWithinTheBound(_ c: Case) throws {
    let graph = try Graph(input: .image(height: 6, width: 5, channels: 4), c.network)
    let model = try randomModel(graph, seed: 5)
    let x = TestData.uniform([2, 6, 5, 4], seed: 6)
    let (drifts, folded) = try measure(model, x)
    let bound = 2 * Tolerance.bound(terms: c.terms + 3, maxA: c.folds == 2 ? 2 : 1, maxB: 3.5)
    for drift in drifts {
      #expect(drift.difference <= bound, "\(drift)")
      #expect(drift.relative == drift.difference / drift.largest)
    }
    // The engine's folded output against the unfolded definition in Double.
    let expected = try Reference(model, mode: .inference).run(inputs: ["input": x])
    let plan = try Plan(folded, mode: .inference, inputShapes: ["input": x.shape], lanes: lanes)
    var workspace = plan.makeWorkspace(for: ParameterStore(folded))
    try workspace.setInput("input", to: x)
    plan.run(in: &workspace)
    expectClose(try workspace.output("output"), try #require(expected["output"]), tolerance: bound)
  }

  /// A network of several folds: what drifts is carried on, as `NetworkTests` bounds it.
  @Test func networksDriftLittle() throws {
    let graph = try Graph(input: .image(height: 9, width: 8, channels: 3)) {
      $0.convolution(8, kernel: 3, bias: false).batchNormalization().relu()
        .residualBlock(8).residualBlock(12, stride: 2).globalAveragePooling().dense(5)
    }
    let model = try randomModel(graph, seed: 31)
    let (drifts, folded) = try measure(model, TestData.uniform([3, 9, 8, 3], seed: 32))
    #expect(drifts.count == model.graph.batchNormalizationViews.count)
    #expect(folded.state.isEmpty)
    for drift in drifts {
      #expect(drift.relative <= 4096 * Double(Float.ulpOfOne), "\(drift)")
    }
  }

  @Test func mistakesShow() throws {
    let graph = try Graph(input: .features(3)) { $0.dense(4).batchNormalization(name: "norm") }
    let model = try randomModel(graph, seed: 7)
    let x = TestData.uniform([2, 3], seed: 8)
    var folding = try FoldBatchNormalization().fold(model)
    let bias = try #require(folding.model.parameters.keys.first { $0.contains("bias|") })
    var values = try #require(folding.model.parameters[bias]).floats
    values[2] += 1
    try folding.model.setParameter(bias, to: Tensor(values))
    var drift = try FoldingDrift.measure(model, folding, inputs: ["input": x], lanes: lanes)[0]
    #expect(abs(drift.difference - 1) < 1e-5 && drift.normalization == "norm")
    values[2] = .nan
    try folding.model.setParameter(bias, to: Tensor(values))
    drift = try FoldingDrift.measure(model, folding, inputs: ["input": x], lanes: lanes)[0]
    #expect(drift.difference == .infinity)
    #expect(throws: (any Error).self) {
      try FoldingDrift.measure(
        model, folding, inputs: ["input": TestData.uniform([2, 4], seed: 8)], lanes: lanes)
    }
  }
}
