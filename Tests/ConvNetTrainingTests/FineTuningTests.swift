import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#endif

/// A model trained on some classes goes on with others: a new head, a frozen beginning.
@Suite struct FineTuningTests {
  private func model(classes: Int, seed: UInt64 = 5) throws -> Model {
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) {
      $0.convolution(6, kernel: 3, bias: false, name: "a.conv").batchNormalization(name: "a.norm")
        .relu().maxPooling(kernel: 2)
        .convolution(8, kernel: 3, bias: false, name: "b.conv").batchNormalization(name: "b.norm")
        .relu().dropout(0.1).flatten().dense(classes, name: "head")
    }
    var model = try Model(initializing: graph, seed: seed)
    model.classNames = (0..<classes).map { "class \($0)" }
    model.metadata["kept"] = "yes"
    return model
  }

  private func train(_ model: Model, on data: TrainingData, epochs: Int = 2) throws -> (
    model: Model, losses: [Double]
  ) {
    let trainer = try Trainer(
      model: model,
      optimizer: .sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: .coupled(0.01))),
      batchSize: 8, seed: 7, averageDecay: 0.5, lanes: TestLanes.all[1], decays: { _, _ in true })
    let losses = try trainer.run(epochs: epochs, data: data).map(\.loss)
    return (trainer.model, losses)
  }

  private func savedAndLoaded(_ model: Model) throws -> Model {
    let path = FileManager.default.temporaryDirectory.path + "/convnet-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try ModelFile.save(model, to: path)
    return try ModelFile.load(path)
  }

  private func values(_ model: Model, below prefix: String) -> [String: Tensor] {
    model.parameters.merging(model.state) { first, _ in first }
      .filter { $0.key.hasPrefix(prefix) }
  }

  /// Training, saving, loading and training again change no bit below the prefix, running statistics and
  /// counters included; everything else moves.
  @Test func whatIsFrozenStaysBitForBit() throws {
    let base = try train(model(classes: 3), on: bands(24, size: 8, classes: 3, seed: 1)).model
    let data = try bands(24, size: 8, classes: 2, seed: 2)
    var current = try base.replacingHead(classes: 2, seed: 9).freezing(prefix: "a.")
    let frozen = values(base, below: "a.")
    #expect(frozen.count == 6)
    for round in 0..<2 {
      let trained = try train(current, on: data).model
      #expect(values(trained, below: "a.") == frozen, "round \(round)")
      for prefix in ["b.", "head"] {
        let (old, new) = (values(current, below: prefix), values(trained, below: prefix))
        #expect(old.keys.allSatisfy { old[$0] != new[$0] }, "\(prefix), round \(round)")
      }
      current = try savedAndLoaded(trained)
      #expect(values(current, below: "a.") == frozen && current.graph == trained.graph)
    }
  }

  /// With everything but the head frozen: what bands of two classes taught serves four narrower ones.
  @Test func aTransferredHeadLearns() throws {
    let base = try train(model(classes: 2), on: bands(64, size: 8, classes: 2, seed: 1)).model
    let data = try bands(96, size: 8, classes: 4, seed: 3)
    let body = try base.replacingHead(classes: 4, seed: 9).freezing(prefix: "a.").freezing(
      prefix: "b.")
    #expect(body.graph.trainableCount == 4 * 4 * 8 * 4 + 4)
    let (trained, losses) = try train(body, on: data, epochs: 5)
    #expect(losses[4] < losses[0] / 2, "\(losses)")
    let test = try bands(40, size: 8, classes: 4, seed: 4)
    #expect(try Evaluator(trained, lanes: TestLanes.all[0]).evaluate(test).accuracy > 0.9)
  }

  @Test func onlyTheHeadIsNew() throws {
    let old = try model(classes: 3)
    let new = try old.freezing(prefix: "head").replacingHead(classes: 5, seed: 9)
    #expect(new.parameters.keys == old.parameters.keys && new.state == old.state)
    for (name, tensor) in old.parameters where !name.hasPrefix("head") {
      #expect(new.parameters[name] == tensor, "\(name)")
    }
    #expect(new.graph == (try model(classes: 5)).graph)
    #expect(new.parameters["head.bias"] == Tensor(zeros: [5]))
    // The numbers that a network of five classes begins with, of the same seed.
    let fresh = try model(classes: 5, seed: 9)
    #expect(new.parameters["head.weight"] == fresh.parameters["head.weight"])
    #expect(new.classNames.isEmpty && new.metadata["kept"] == "yes")
    let other = try old.replacingHead(classes: 5, initializer: .glorot, seed: 9)
    #expect(other.parameters["head.weight"] != new.parameters["head.weight"])
  }

  /// Convolutions, matrices read transposed, biases added apart, shapes that name the number of classes.
  @Test func headsOfManyKinds() throws {
    let image = TensorType.image(height: 4, width: 4, channels: 2)
    let pooled = try Graph(input: image) {
      $0.convolution(3, kernel: 1, name: "c").relu().globalAveragePooling()
    }
    let shaped = try Graph(input: image) {
      $0.globalAveragePooling().dense(3, name: "d").reshaped([1, 3]).reshaped([3])
    }
    let raw = GraphBuilder()
    let x = raw.addInput("x", TensorType([.symbol("N"), .fixed(2)]))
    let weight = raw.addParameter("w", [3, 2], role: .denseWeight)
    let product = raw.add(.matrixMultiply(MatrixMultiply(transposesRight: true)), x, weight)
    let bias = raw.addParameter("b", [3], role: .bias)
    raw.addOutput("logits", raw.add(.softmax, raw.add(.combine(.add), product, bias)))
    let cases: [(graph: Graph, input: Shape)] = [
      (pooled, [2, 4, 4, 2]), (shaped, [2, 4, 4, 2]), (try raw.finish(), [2, 2]),
    ]
    for (graph, shape) in cases {
      let model = try Model(initializing: graph, seed: 1).replacingHead(classes: 7, seed: 2)
      #expect(model.graph.outputViews[0].type.dimensions.last == .fixed(7))
      let input = model.graph.inputViews[0].name
      let plan = try Plan(model, mode: .inference, inputShapes: [input: shape])
      #expect(plan.peakByteCount > 0)
    }
  }

  /// As imported models have them.
  @Test func theOnlyOutputMayHaveAnyName() throws {
    let graph = try Graph(inputs: [("x", .features(2))]) { ["logits": $0[0].dense(3)] }
    let model = try Model(initializing: graph, seed: 1).replacingHead(classes: 2, seed: 2)
    let trainer = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: 0.1)), lanes: TestLanes.all[0])
    let (x, labels) = (TestData.uniform([4, 2], seed: 1), Tensor([0, 1, 0, 1] as [Int64]))
    let losses = try (0..<3).map { _ in try trainer.step(images: x, labels: labels) }
    #expect(losses[2] < losses[0])
    #expect(trainer.model.graph.outputViews.map(\.name) == ["logits"])
  }

  @Test func networksWithoutAHeadOfTheirOwnAreRefused() throws {
    func refused(_ saying: String, classes: Int = 4, _ body: (Graph.Value) -> Graph.Value) throws {
      let graph = try Graph(input: .features(3), body)
      let error = #expect(throws: GraphError.self) {
        try Model(initializing: graph, seed: 1).replacingHead(classes: classes, seed: 2)
      }
      #expect(error?.description.contains(saying) == true, "\(String(describing: error))")
    }
    try refused("0 classes", classes: 0) { $0.dense(3) }
    try refused("no dense layer") { $0.relu() }
    try refused("one, two") { $0.dense(3, name: "one") + $0.dense(3, name: "two") }
    try refused("n: a head") { $0.dense(3).batchNormalization(name: "n") }
    try refused("no axis of 4 classes") { $0.dense(3).reduced(.sum, axes: [1]) }
    let two = try Graph(inputs: [("input", .features(3))]) {
      ["left": $0[0].dense(3), "right": $0[0].dense(2)]
    }
    #expect(throws: GraphError.self) {
      try Model(initializing: two, seed: 1).replacingHead(classes: 4, seed: 2)
    }
  }
}
