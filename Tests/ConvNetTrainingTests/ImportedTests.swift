import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import ConvNetTraining
import FoundationEssentials
import Testing

/// Fine-tuning of a network that came as an ONNX file.
@Suite struct ImportedTests {
  private let data = Result { try bands(16, size: 6, classes: 2, seed: 51) }

  /// The network as somebody else's file, channels first, has it.
  private func imported(_ path: String) throws -> Model {
    let graph = try Graph(input: TensorType(["N", 1, 6, 6])) {
      let x = $0.scoped("stem") { $0.unitFirst(4) }
      let y = x.scoped("block") { $0.unitFirst(4).convolutionFirst(4).batchNormalization(axis: 1) }
      return (x + y).relu().pooledFirst().flatten().dense(5, name: "head")
    }
    try ONNXFile.save(randomModel(graph, seed: 52), to: path)
    return try ONNXFile.load(path)
  }

  private func changed(_ old: [String: Tensor], _ new: [String: Tensor]) -> Set<String> {
    Set(old.keys.filter { old[$0] != new[$0] })
  }

  @Test func importedNetworksAreFineTunedAndHandedOn() throws {
    let path = FileManager.default.temporaryDirectory.path + "/convnet-\(UUID().uuidString)"
    defer {
      for suffix in ["", ".onnx", ".training.onnx"] {
        try? FileManager.default.removeItem(atPath: path + suffix)
      }
    }
    let start = try imported(path + ".onnx")
    #expect(start.graph.batchNormalizationViews.count == 3 && start.graph.transposeCount <= 1)
    let model = try start.replacingHead(classes: 2, seed: 54).freezing(prefix: "stem.")
    #expect(model.parameters["head.weight"]?.shape == [4, 2])
    let data = try data.get()
    // [N, 6, 6, 1] and [N, 1, 6, 6] are the same numbers.
    let images = Tensor(data.images.floats, shape: [16, 1, 6, 6])
    let trainer = try Trainer(
      model: model,
      optimizer: .sgd(SGD(learningRate: 0.1, nesterov: true, weightDecay: .coupled(0.01))),
      seed: 3, lanes: TestLanes.all[1], decays: { _, _ in true })
    for _ in 0..<3 { _ = try trainer.step(images: images, labels: Tensor(data.labels)) }
    let trained = trainer.model
    let all = Set(model.parameters.keys)
    #expect(
      changed(model.parameters, trained.parameters) == all.filter { !$0.hasPrefix("stem.") })
    #expect(
      changed(model.state, trained.state) == Set(model.state.keys).filter { !$0.hasPrefix("stem.") }
    )

    try ModelFile.save(trained, to: path)
    let saved = try ModelFile.load(path)
    #expect(saved.graph == trained.graph)
    let x = TestData.uniform([2, 1, 6, 6], seed: 53)
    let expected = try Reference(trained, mode: .inference).run(inputs: ["input": x])
    for (mode, suffix) in [(ExecutionMode.inference, ".onnx"), (.training, ".training.onnx")] {
      try ONNXFile.save(saved, to: path + suffix, mode: mode)
      let again = try ONNXFile.load(path + suffix)
      #expect(again.parameters == trained.parameters && again.state == trained.state)
      #expect(try Reference(again, mode: .inference).run(inputs: ["input": x]) == expected)
      let frozen = again.graph.batchNormalizationViews.filter(\.isFrozen).map(\.layer)
      #expect(frozen.count == 1 && frozen.allSatisfy { $0.hasPrefix("stem.") })
      // It trains on as the model that was saved does.
      let states = try [trained, again].map { model in
        let trainer = try Trainer(
          model: model, optimizer: .sgd(SGD(learningRate: 0.1)), seed: 4, lanes: TestLanes.all[0])
        _ = try trainer.step(images: images, labels: Tensor(data.labels))
        return trainer.model
      }
      #expect(states[0].state == states[1].state && states[0].parameters == states[1].parameters)
    }
  }
}
