import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Folding, against the unfolded graph in Double: what differs is the rounding of the derived parameters.
@Suite struct FoldBatchNormalizationTests {
  struct Case: CustomTestStringConvertible {
    var testDescription: String
    var input: TensorType = .image(height: 6, width: 5, channels: 4)
    var folds: Int
    var kept: Int = 0
    var network: @Sendable (Graph.Value) -> Graph.Value
  }

  static let cases: [Case] = [
    Case(testDescription: "convolution without bias", folds: 1) {
      $0.convolution(6, kernel: 3, bias: false).batchNormalization().relu()
    },
    // Trap: the layer's own bias must be scaled too.
    Case(testDescription: "convolution with bias", folds: 1) {
      $0.convolution(6, kernel: 3, stride: 2).batchNormalization()
    },
    Case(testDescription: "groups", folds: 1) {
      $0.convolution(6, kernel: 3, groups: 2).batchNormalization()
    },
    Case(testDescription: "depthwise", folds: 1) {
      $0.depthwiseConvolution(kernel: 3).batchNormalization()
    },
    Case(testDescription: "dense", folds: 1) { $0.flatten().dense(7).batchNormalization() },
    Case(testDescription: "without γ and β", folds: 1) {
      $0.convolution(6, kernel: 1).batchNormalization(scale: false, shift: false)
    },
    Case(testDescription: "batch norm before a layer without padding", folds: 1) {
      $0.batchNormalization().convolution(6, kernel: 3, padding: .valid)
    },
    Case(testDescription: "batch norm before grouped layer", folds: 1) {
      $0.batchNormalization().convolution(8, kernel: 2, padding: .valid, groups: 2, bias: false)
    },
    Case(testDescription: "batch norm on both sides", folds: 2) {
      $0.batchNormalization().convolution(6, kernel: 3, padding: .valid).batchNormalization()
    },
    // Padding is zero after the shift, so the shift cannot move behind it: a scale and shift stay.
    Case(testDescription: "batch norm before padding", folds: 1) {
      $0.batchNormalization().convolution(6, kernel: 3)
    },
    Case(testDescription: "batch norm without shift before padding", folds: 1) {
      $0.relu().batchNormalization(shift: false).convolution(6, kernel: 3)
    },
    Case(testDescription: "several readers", folds: 1) {
      let y = $0.convolution(6, kernel: 3)
      return y.batchNormalization() + y
    },
    Case(testDescription: "alone", folds: 1) { $0.relu().batchNormalization().relu() },
    Case(testDescription: "residual block", folds: 3) { $0.residualBlock(6, stride: 2) },
  ]

  /// A layer without outputs, such as a file may hold, has nothing to be folded into.
  @Test func anEmptyLayerIsLeftAlone() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("input", .features(4))
    let weight = builder.addParameter("w", [4, 0], role: .denseWeight)
    let y = builder.add(.matrixMultiply(MatrixMultiply()), x, weight, name: "d")
    let value = Graph.Value(builder: builder, id: y).batchNormalization(name: "n")
    builder.addOutput("output", value.id)
    let model = try randomModel(builder.finish(), seed: 1)
    let folded = try FoldBatchNormalization().fold(model)
    #expect(folded.report.folds.allSatisfy { $0.layer == "n" })
  }

  @Test(arguments: cases) func trap9FoldingComputesTheSame(_ c: Case) throws {
    let graph = try Graph(input: c.input, c.network)
    var model = try randomModel(graph, seed: 3)
    // Negative and zero scales fold like any other.
    for parameter in graph.parameters where parameter.role == .normalizationScale {
      var values = try #require(model.parameters[parameter.name]).floats
      values[0] = 0
      values[1] *= -1
      try model.setParameter(parameter.name, to: Tensor(values))
    }
    let (folded, report) = try FoldBatchNormalization().fold(model)
    #expect(report.folds.count == c.folds)
    #expect(report.kept.count == c.kept)
    #expect(report.kept.allSatisfy { !$0.reason.isEmpty })
    let x = ["input": ReferenceTensor(TestData.uniform([2, 6, 5, 4], seed: 4))]
    let before = try Reference(model, mode: .inference).runInDouble(x)
    let after = try Reference(folded, mode: .inference).runInDouble(x)
    let expected = try #require(before["output"])
    // Each derived parameter is rounded once; two layers of at most 120 terms, values of some units.
    let largest = expected.values.map(abs).reduce(1, max)
    expectClose(
      try #require(after["output"]).values, expected.values,
      tolerance: Tolerance.bound(terms: 120, maxA: 2, maxB: largest))
    // Trained names never name derived numbers, and what is no longer read is gone.
    for (name, tensor) in folded.parameters where model.parameters[name] != nil {
      #expect(tensor == model.parameters[name])
    }
    if c.kept == 0 { #expect(folded.state.isEmpty) }
  }

  @Test func keepsWhatIsNotFinite() throws {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 2)) {
      $0.convolution(3, kernel: 1).batchNormalization(name: "norm")
    }
    var model = try randomModel(graph, seed: 5)
    try model.setState("norm.running_var", to: Tensor([1, .nan, 1] as [Float]))
    let report = try FoldBatchNormalization().fold(model).report
    #expect(report.folds.isEmpty && report.kept.map(\.normalization) == ["norm"])
  }
}
