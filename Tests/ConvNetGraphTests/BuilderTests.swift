import ConvNetGraph
import Testing

@Suite struct BuilderTests {
  private let image = TensorType.image(height: 8, width: 8, channels: 3)

  @Test func numbersAndScopesLayers() throws {
    let graph = try Graph(input: image) { x in
      let x = x.convolution(4, kernel: 3).relu().convolution(4, kernel: 3, bias: false)
      return x.scoped("layer1") { x in
        x.scoped("0") {
          $0.convolution(4, kernel: 1, name: "conv1").batchNormalization(name: "bn1")
        }
      }
    }
    #expect(
      graph.parameterViews.map(\.name) == [
        "convolution1.weight", "convolution1.bias", "convolution2.weight",
        "layer1.0.conv1.weight", "layer1.0.conv1.bias", "layer1.0.bn1.weight", "layer1.0.bn1.bias",
      ])
    #expect(
      graph.states.map(\.name) == [
        "layer1.0.bn1.running_mean", "layer1.0.bn1.running_var",
        "layer1.0.bn1.num_batches_tracked",
      ])
    #expect(
      graph.parameterViews.map(\.role.decaysByDefault) == [
        true, false, true, true, false, false, false,
      ])
  }

  @Test func throwsTheFirstMistake() {
    let error = #expect(throws: GraphError.self) {
      try Graph(input: image) { x in
        x.convolution(4, kernel: 9, padding: .valid, name: "first").relu()
          .convolution(5, kernel: 3, groups: 2, name: "second").flatten().dense(0)
      }
    }
    #expect(error?.place == "first")
    #expect(error?.code == .invalidShape)
  }

  @Test func namesBothShapes() {
    let error = #expect(throws: GraphError.self) {
      try Graph(input: image) { x in x + x.convolution(4, kernel: 3) }
    }
    #expect(
      error?.description
        == "add1: shapes float32 [N, 8, 8, 3] and float32 [N, 8, 8, 4] cannot be broadcast together"
    )
  }

  @Test func refusesWhatCannotBe() {
    func expectRefusal(
      _ place: String, sourceLocation: SourceLocation = #_sourceLocation,
      _ describe: (Graph.Value) -> Graph.Value
    ) {
      let error = #expect(throws: GraphError.self, sourceLocation: sourceLocation) {
        try Graph(input: image, describe)
      }
      #expect(error?.place == place, sourceLocation: sourceLocation)
    }
    expectRefusal("a") {
      $0.convolution(4, kernel: 1, name: "a").convolution(4, kernel: 1, name: "a")
    }
    expectRefusal("a") { $0.convolution(0, kernel: 1, name: "a") }
    expectRefusal("a") { $0.convolution(4, kernel: 0, name: "a") }
    expectRefusal("a") { $0.convolution(4, kernel: 1, groups: 3, name: "a") }
    expectRefusal("a") { $0.dense(0, name: "a") }
    // More weights than can be counted.
    expectRefusal("a.weight") { $0.convolution(.max, kernel: 1, name: "a").relu() }
    expectRefusal("a.weight") { $0.convolution(1 << 50, kernel: 9, bias: false, name: "a") }
    expectRefusal("a.weight") {
      $0.transposedConvolution(.max / 2, kernel: 3, name: "a").batchNormalization()
    }
    expectRefusal("a.weight") { $0.flatten().dense(.max, name: "a").softmax() }
    expectRefusal("a") { $0.reshaped([4, -1]).lstm(.max, name: "a") }
    expectRefusal("a.moments") { $0.batchNormalization(decay: .keepOld(1.5), name: "a") }
    expectRefusal("dropout1") { $0.dropout(1) }
  }

  @Test func refusesAnOpenNumberOfChannels() {
    let error = #expect(throws: GraphError.self) {
      try Graph(input: TensorType(["N", "C"])) { $0.dense(3) }
    }
    #expect(error?.code == .invalidShape)
  }

  @Test func describesResidualBlocks() throws {
    let graph = try Graph(input: image) { $0.residualBlock(3).residualBlock(6, stride: 2) }
    #expect(graph.outputViews[0].type == TensorType(["N", 4, 4, 6]))
    // Two convolutions of 3 → 3; then 3 → 6, 6 → 6 and the projection; γ and β of each of the five.
    #expect(graph.trainableCount == 81 + 81 + 162 + 324 + 18 + 2 * (3 + 3 + 6 + 6 + 6))
  }

  @Test func givesModelsWhatTheyNeed() throws {
    let graph = try Graph(input: .features(2)) {
      $0.dense(3, name: "d").batchNormalization(name: "n")
    }
    let state = Model.initialState(of: graph)
    #expect(state["n.running_var"]?.floats == [1, 1, 1])
    #expect(state["n.num_batches_tracked"] == Tensor(scalar: Int64(0)))
    let error = #expect(throws: GraphError.self) {
      try Model(
        graph: graph,
        parameters: [
          "d.weight": Tensor(zeros: [3, 2]), "d.bias": Tensor(zeros: [3]),
          "extra": Tensor(zeros: []),
        ], state: state)
    }
    #expect(
      error?.reason
        == "d.weight is float32 [3, 2], not float32 [2, 3]; n.weight float32 [3] is missing; "
        + "n.bias float32 [3] is missing; extra is unexpected")
  }
}
