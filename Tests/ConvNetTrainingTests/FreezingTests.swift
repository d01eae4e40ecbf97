import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#endif

/// USERS §9, traps 5 and 6: what is frozen stays, bit for bit, wherever the model goes.
@Suite struct FreezingTests {
  private let data = Result { try bands(16, size: 6, classes: 2, seed: 21) }

  /// Two normalised convolutions with statistics of their own, so that the source of statistics shows.
  private func model() throws -> Model {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 1)) {
      $0.convolution(4, kernel: 3, bias: false, name: "a.conv").batchNormalization(name: "a.norm")
        .relu().convolution(4, kernel: 3, bias: false, name: "b.conv")
        .batchNormalization(name: "b.norm").relu().flatten().dense(2, name: "head")
    }
    return try randomModel(graph, seed: 5)
  }

  /// Three steps with an optimiser that moves everything it may, decay on γ and β included.
  private func train(_ model: Model) throws -> (model: Model, firstLoss: Double) {
    let data = try data.get()
    let trainer = try Trainer(
      model: model,
      optimizer: .sgd(SGD(learningRate: 0.1, nesterov: true, weightDecay: .coupled(0.01))),
      seed: 3, lanes: TestLanes.all[1], decays: { _, _ in true })
    let labels = Tensor(data.labels)
    let losses = try (0..<3).map { _ in try trainer.step(images: data.images, labels: labels) }
    return (trainer.model, losses[0])
  }

  /// One mean loss computed over two batch sizes: a few roundings of numbers near it.
  private func isSame(_ a: Double, _ b: Double) -> Bool {
    abs(a - b) <= 16 * Double(Float.ulpOfOne) * max(1, a)
  }

  private func changed(_ old: [String: Tensor], _ new: [String: Tensor]) -> Set<String> {
    Set(old.keys.filter { old[$0] != new[$0] })
  }

  @Test func trap5FrozenStateStaysBitForBitThroughTrainingSavingAndLoading() throws {
    let frozen = try model().freezingBatchNormalization()
    let path = FileManager.default.temporaryDirectory.path + "/convnet-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var current = frozen
    for _ in 0..<2 {
      let (trained, firstLoss) = try train(current)
      #expect(changed(frozen.state, trained.state) == [])
      #expect(
        changed(frozen.parameters, trained.parameters)
          == ["a.conv.weight", "b.conv.weight", "head.weight", "head.bias"])
      // Training saw what inference computes: the running statistics' output.
      let expected = try Evaluator(current, lanes: TestLanes.all[0]).evaluate(data.get()).loss
      #expect(isSame(firstLoss, expected), "\(firstLoss), \(expected)")
      try ModelFile.save(trained, to: path)
      current = try ModelFile.load(path)
      #expect(current.graph == frozen.graph && current.state == frozen.state)
      #expect(current.graph.batchNormalizationViews.allSatisfy { $0.isFrozen })
    }
    let thawed = try current.settingBatchNormalization(
      source: .batch, updates: true, trainsAffine: true)
    #expect(thawed.graph == (try model()).graph)
    #expect(changed(thawed.state, try train(thawed).model.state).count == 6)
  }

  /// All eight settings of one layer, the other frozen: each switch does its own and nothing else.
  @Test(arguments: 0..<8) func trap5SwitchesAreIndependent(bits: Int) throws {
    let (running, updates, trains) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0)
    let model = try model().freezingBatchNormalization().settingBatchNormalization(
      ["b.norm"], source: running ? .running : .batch, updates: updates, trainsAffine: trains)
    let (trained, firstLoss) = try train(model)
    let statistics = ["running_mean", "running_var", "num_batches_tracked"].map { "b.norm.\($0)" }
    #expect(changed(model.state, trained.state) == (updates ? Set(statistics) : []))
    let affine = changed(model.parameters, trained.parameters).filter { $0.contains("norm") }
    #expect(affine == (trains ? ["b.norm.weight", "b.norm.bias"] : []))
    let inference = try Evaluator(model, lanes: TestLanes.all[0]).evaluate(data.get()).loss
    #expect(isSame(firstLoss, inference) == running, "\(firstLoss), \(inference)")
  }

  @Test func trap5PrefixFreezesEverythingBelowIt() throws {
    let model = try model()
    let trained = try train(model.freezing(prefix: "a.")).model
    #expect(!changed(model.parameters, trained.parameters).contains { $0.hasPrefix("a.") })
    #expect(changed(model.parameters, trained.parameters).count == 5)
    #expect(changed(model.state, trained.state).allSatisfy { $0.hasPrefix("b.norm") })
    #expect(changed(model.state, trained.state).count == 3)
    #expect(throws: GraphError.self) { try model.freezing(prefix: "c.") }
  }

  /// One sample has no variance, but a frozen layer does not ask for one.
  @Test func trap1FrozenLayersTrainOnOneSample() throws {
    let graph = try Graph(input: .features(3)) { $0.batchNormalization().dense(2) }
    let model = try randomModel(graph, seed: 6).freezingBatchNormalization()
    let trainer = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: 0.1)), lanes: TestLanes.all[0])
    let loss = try trainer.step(
      images: Tensor([1, 2, 3] as [Float], shape: [1, 3]), labels: Tensor([1] as [Int64]))
    #expect(loss.isFinite && trainer.model.state == model.state)
  }

  @Test func trap6ValidationAndEvaluationChangeNothing() throws {
    let data = try data.get()
    let trainer = try Trainer(
      model: model(), optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: 8, seed: 1,
      lanes: TestLanes.all[0])
    try trainer.run(epochs: 1, data: data, validation: data)
    let before = trainer.model
    for _ in 0..<2 { _ = try trainer.evaluate(data) }
    #expect(trainer.model.state == before.state && trainer.model.parameters == before.parameters)
    #expect(before.state["a.norm.num_batches_tracked"] == Tensor(scalar: Int64(2)))
  }
}
