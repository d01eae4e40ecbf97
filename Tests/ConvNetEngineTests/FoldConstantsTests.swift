import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct FoldConstantsTests {
  /// A convolution whose filter is g·exp(v) and which is handed out, too, followed by batch norm.
  private func graph() throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("input", .image(height: 5, width: 4, channels: 3))
    let v = builder.addParameter("v", [3, 3, 3, 4], role: .convolutionFilter)
    let g = builder.addParameter("g", [4], role: .normalizationScale)
    let filter = builder.add(.combine(.multiply), builder.add(.map(.exp), v), g)
    let window = Window(kernel: [3, 3], padding: .same)
    let y = builder.add(.convolution(Convolution(window: window)), x, filter, name: "c")
    let value = Graph.Value(builder: builder, id: y).batchNormalization(name: "n")
    builder.addOutput("output", value.relu().id)
    builder.addOutput("filter", filter)
    return try builder.finish()
  }

  private func run(_ model: Model, _ x: Tensor) throws -> [String: Tensor] {
    let plan = try Plan(
      model, mode: .inference, inputShapes: ["input": x.shape], lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: x)
    plan.run(in: &workspace)
    return ["output": try workspace.output("output"), "filter": try workspace.output("filter")]
  }

  @Test func computesOnceWhatNeedsNoInput() throws {
    let model = try randomModel(graph(), seed: 61)
    let folded = try FoldConstants().apply(to: model)
    #expect(folded.graph.nodes.map(\.operation.name) == ["convolution", "normalize", "relu"])
    #expect(folded.parameters.keys.filter { $0.hasSuffix("|constant") }.count == 1)
    #expect(folded.parameters["v"] == nil && folded.parameters["n.weight"] != nil)
    #expect(folded.state.keys.sorted() == ["n.running_mean", "n.running_var"])
    let x = TestData.uniform([2, 5, 4, 3], seed: 62)
    let expected = try Reference(model, mode: .inference).run(inputs: ["input": x])
    let found = try run(folded, x)
    // A filter of a product and an exponential, then 27 products and batch norm with γ/σ up to 1.5/√½.
    let filter = try #require(expected["filter"])
    let largest = filter.doubles.map(abs).reduce(0, max)
    let bound = Tolerance.bound(terms: 3 * 27, maxA: largest, maxB: 1.5 / 0.5.squareRoot())
    for (name, tensor) in found {
      expectClose(tensor, try #require(expected[name]), tolerance: bound)
    }
  }

  /// The derived filter is a parameter, so that batch norm folds into its layer.
  @Test func letsBatchNormFold() throws {
    var graph = try graph()
    graph.outputs.removeLast()
    let model = try randomModel(graph, seed: 63)
    #expect(try FoldBatchNormalization().fold(model).report.folds.map(\.layer) == ["n"])
    let folded = try FoldBatchNormalization().fold(FoldConstants().apply(to: model))
    #expect(folded.report.folds.map(\.layer) == ["c"])
    #expect(folded.model.graph.nodes.map(\.operation.name) == ["convolution", "relu"])
    let predictor = try Predictor(model, options: PredictorOptions(lanes: TestLanes.all[0]))
    #expect(predictor.graph.nodes.map(\.operation.name) == ["convolution", "relu"])
  }

  @Test func leavesOtherModelsAlone() throws {
    let model = try randomModel(Network.lenet.graph(), seed: 64)
    let folded = try FoldConstants().apply(to: model)
    #expect(folded.graph == model.graph)
    #expect(folded.parameters == model.parameters)
  }
}
