import ConvNetGraph
import Testing

@Suite struct BatchNormalizationLayerTests {
  @Test func trap2PresetsSayWhatTheFrameworksMean() {
    let (pyTorch, keras, onnx) = (
      BatchNormalizationOptions.pyTorch, BatchNormalizationOptions.keras,
      BatchNormalizationOptions.onnx
    )
    #expect(pyTorch.epsilon == 1e-5 && keras.epsilon == 1e-3 && onnx.epsilon == 1e-5)
    #expect(pyTorch.runningVariance == .unbiased)
    #expect(keras.runningVariance == .population && onnx.runningVariance == .population)
    #expect(pyTorch.decay == .takeNew(0.1))
    #expect(keras.decay == .keepOld(0.99) && onnx.decay == .keepOld(0.9))
    // The same rule under the two spellings: PyTorch's m is what Keras and ONNX write as 1 − m.
    #expect(abs(pyTorch.decay.weight(update: 7) - onnx.decay.weight(update: 7)) <= 0x1p-53)
  }

  static let types: [(TensorType, Int)] = [
    (.features(5), -1), (TensorType(["N", "L", 5]), -1),
    (.image(height: 3, width: 4, channels: 5), -1), (TensorType(["N", 2, 3, 4, 5]), -1),
    (.features(5), 1), (TensorType(["N", 5, "L"]), 1), (TensorType(["N", 5, 3, 4]), 1),
    (TensorType(["N", 5, 2, 3, 4]), 1),
  ]

  @Test(arguments: types) func parametersHaveTheExtentOfTheAxis(_ type: TensorType, axis: Int)
    throws
  {
    let graph = try Graph(input: type) { $0.batchNormalization(.keras, axis: axis, name: "n") }
    #expect(graph.outputViews[0].type == type)
    #expect(graph.parameterViews.map(\.type) == [TensorType([5]), TensorType([5])])
    let view = try #require(graph.batchNormalizationViews.first)
    #expect(view.layer == "n" && view.channels == 5 && view.axis == axis)
    #expect(view.options == .keras && !view.isFrozen)
    #expect(view.source == .batch && view.updates && view.trainsAffine)
  }

  @Test func refusesAnAxisThatIsNotThere() {
    for axis in [4, -5] {
      let error = #expect(throws: GraphError.self) {
        try Graph(input: .image(height: 2, width: 2, channels: 3)) {
          $0.batchNormalization(axis: axis, name: "n")
        }
      }
      #expect(error?.place == "n")
    }
  }

  @Test func withoutRunningStatisticsInferenceUsesTheBatch() throws {
    let graph = try Graph(input: .features(3)) {
      $0.batchNormalization(scale: false, shift: false, tracksRunningStatistics: false)
    }
    #expect(graph.states.isEmpty && graph.parameters.isEmpty)
    for mode in [ExecutionMode.training, .inference] {
      #expect(try ResolveMode(mode).apply(to: graph) == graph)
    }
    #expect(graph.exposingStatistics().layers.isEmpty)
  }

  static let network = Result {
    try Graph(input: .image(height: 4, width: 4, channels: 2)) {
      $0.convolution(3, kernel: 3, bias: false, name: "a.conv").batchNormalization(name: "a.norm")
        .relu().convolution(3, kernel: 1, name: "b.conv").batchNormalization(name: "b.norm")
    }
  }

  @Test func switchesAreIndependent() throws {
    let graph = try Self.network.get()
    for bits in 0..<8 {
      let (running, updates, trains) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)
      let set = try graph.settingBatchNormalization(
        ["b.norm"], source: running ? .running : .batch, updates: updates, trainsAffine: trains)
      let views = set.batchNormalizationViews
      #expect(views[0] == graph.batchNormalizationViews[0])
      #expect((views[1].source == .running) == running)
      #expect(views[1].updates == updates && views[1].trainsAffine == trains)
      #expect(views[1].isFrozen == (running && !updates && !trains))
      // Moments are computed where they are needed, and only there.
      let training = try ResolveMode(.training).apply(to: set)
      let names = training.nodes.map(\.name)
      #expect(names.contains("b.norm.moments") == (!running || updates))
      #expect(
        training.exposingStatistics().layers.map(\.running.layer).contains("b.norm") == updates)
      #expect(
        set.parameterViews.filter { !$0.isTrainable }.map(\.name)
          == (trains ? [] : ["b.norm.weight", "b.norm.bias"]))
      // A switch that is not given stays.
      #expect(try set.settingBatchNormalization() == set)
    }
  }

  @Test func switchesNameWhatIsNotThere() throws {
    let graph = try Self.network.get()
    let error = #expect(throws: GraphError.self) {
      try graph.settingBatchNormalization(["b.norm", "c.norm"], updates: false)
    }
    #expect(error?.place == "c.norm" && error?.reason.contains("a.norm, b.norm") == true)
    let untracked = try Graph(input: .features(3)) {
      $0.batchNormalization(tracksRunningStatistics: false, name: "n")
    }
    #expect(throws: GraphError.self) {
      try untracked.settingBatchNormalization(["n"], source: .running)
    }
    // Among all layers there may be such; their γ and β still follow the switch.
    let all = try untracked.settingBatchNormalization(source: .running, trainsAffine: false)
    #expect(all.parameterViews.allSatisfy { !$0.isTrainable })
    #expect(all.batchNormalizationViews.map(\.source) == [.batch])
  }

  /// USERS §9, trap 5: what a frozen network computes in training is what it computes in inference.
  @Test func trap5FrozenTrainingGraphIsTheInferenceGraph() throws {
    let frozen = try Self.network.get().settingBatchNormalization(
      source: .running, updates: false, trainsAffine: false)
    #expect(
      try ResolveMode(.training).apply(to: frozen) == ResolveMode(.inference).apply(to: frozen))
  }
}
