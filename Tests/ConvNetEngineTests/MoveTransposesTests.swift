import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Networks written channels first become what networks written channels last are.
@Suite struct MoveTransposesTests {
  private let input = TensorType(["N", 3, 8, 8])

  private func graph(_ input: TensorType) throws -> Graph {
    try Graph(input: input) {
      let x = $0.unitFirst(4, stride: 2).scaled(by: "factor", [4, 1, 1])
      let y = (x + x.unitFirst(4).convolutionFirst(4).batchNormalization(axis: 1)).relu()
      return y.channelsLast { $0.maxPooling(kernel: 2) }.flatten().dense(5).relu().dense(3)
    }
  }

  /// After folding only the transpose of the image is left, and no operation of constants.
  @Test func foldsToOneTranspose() throws {
    let model = try randomModel(graph(input), seed: 41)
    let predictor = try Predictor(model, options: PredictorOptions(lanes: TestLanes.all[0]))
    #expect(
      predictor.graph.nodes.map(\.operation.name) == [
        "transpose", "convolution", "relu", "multiply", "convolution", "relu", "convolution",
        "add", "relu", "maxPool", "reshape", "matrixMultiply", "relu", "matrixMultiply",
      ])
    let x = TestData.uniform([2, 3, 8, 8], seed: 42)
    let values = model.parameters.merging(model.state) { $1 }.merging(["input": x]) { $1 }
    let reference = try Reference(unbound: ResolveMode(.inference).apply(to: model.graph))
    let output = try #require(
      try Tolerance.perturbing(
        reference, values.filter { reference.graph.value(named: $0.key) != nil }, terms: 36,
        seed: 43)["output"])
    expectClose(
      try predictor.predict(x), output.expected, tolerance: output.tolerance, "output")
  }

  /// A training step and its gradients.
  @Test func trains() throws {
    let type = TensorType([4, 3, 8, 8])
    let graph = try Graph(input: type) {
      let x = $0.unitFirst(4)
      let y = x.unitFirst(4, stride: 2).concatenated(with: x.unitFirst(2, stride: 2), axis: 1)
      return y.pooledFirst().flatten().dense(3).map(.square).reduced(.sum, axes: [0, 1])
    }
    let plain = try graph.resolvedForTraining(inputShapes: [:]).gradient(of: "output")
    let step = try graph.trainingStep(inputShapes: [:], loss: "output").graph
    #expect(step.transposeCount == 1)
    let model = try randomModel(graph, seed: 44)
    let values = model.parameters.merging(model.state) { $1 }
      .merging(["input": TestData.uniform([4, 3, 8, 8], seed: 45)]) { $1 }
    let bounds = try Tolerance.perturbing(
      Reference(unbound: plain), values, terms: 4 * 64, seed: 46)
    let store = ParameterStore(model)
    let plan = try Plan(step, inputShapes: [:], lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(for: store)
    try workspace.setInput("input", to: try #require(values["input"]))
    plan.run(in: &workspace)
    for (name, bound) in bounds {
      expectClose(
        try workspace.output(name), bound.expected, tolerance: bound.tolerance, name)
    }
  }
}
