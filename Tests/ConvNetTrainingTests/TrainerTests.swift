import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct TrainerTests {
  func trainer(
    _ graph: Graph, optimizer: Optimizer = .sgd(SGD(learningRate: 0.05)),
    schedule: Schedule = .constant(), batchSize: Int = 8, seed: UInt64 = 11,
    augmentation: Augmentation? = nil, lanes: Int = 1
  ) throws -> Trainer {
    try Trainer(
      model: Model(initializing: graph, seed: seed), optimizer: optimizer, schedule: schedule,
      batchSize: batchSize, seed: seed, augmentation: augmentation, lanes: Lanes(count: lanes))
  }

  func expectEqual(
    _ left: Model, _ right: Model, _ comment: Comment, location: SourceLocation = #_sourceLocation
  ) {
    #expect(left.parameters == right.parameters, comment, sourceLocation: location)
    #expect(left.state == right.state, comment, sourceLocation: location)
  }

  /// One step on w = 0, b = 0, x = (1, 2), target (1, 0): the loss is ½, its gradient by the output
  /// (−1, 0).
  @Test func squaredErrorByHand() throws {
    let graph = try Graph(input: .features(2)) { $0.dense(2) }
    let model = try Model(
      graph: graph,
      parameters: ["dense1.weight": Tensor(zeros: [2, 2]), "dense1.bias": Tensor(zeros: [2])],
      state: [:], metadata: ["kept": "yes"])
    let trainer = try Trainer(
      model: model, loss: .meanSquaredError, optimizer: .sgd(SGD(learningRate: 0.5)))
    let images = Tensor([1, 2] as [Float], shape: [1, 2])
    let loss = try trainer.step(images: images, labels: Tensor([1, 0] as [Float], shape: [1, 2]))
    #expect(loss == 0.5 && trainer.stepCount == 1)
    let trained = trainer.model
    #expect(trained.parameters["dense1.weight"]?.floats == [0.5, 0, 1, 0])
    #expect(trained.parameters["dense1.bias"]?.floats == [0.5, 0])
    #expect(trained.metadata == ["kept": "yes"])
    #expect(trained.graph == graph)
  }

  /// Running statistics after one step: a tenth of the batch's unbiased moments on top of (0, 1).
  @Test func statisticsMoveOncePerStep() throws {
    let graph = try Graph(input: .features(1)) { $0.batchNormalization().dense(2) }
    let trainer = try trainer(graph)
    let x = Tensor([1, 3, 5, 7] as [Float], shape: [4, 1])
    for step in 1...2 {
      try trainer.step(images: x, labels: Tensor([0, 1, 0, 1] as [Int64]))
      let state = trainer.model.state
      let keep = step == 1 ? 0.9 : 0.9 * 0.9
      // Mean 4 and unbiased variance 20/3; a float each time, so two roundings.
      let mean = 4 * (1 - keep)
      let variance = keep + 20.0 / 3 * (1 - keep)
      let found = (
        state["batchNormalization1.running_mean"]?.doubles ?? [],
        state["batchNormalization1.running_var"]?.doubles ?? []
      )
      #expect(abs(found.0[0] - mean) <= 2 * mean * Double(Float.ulpOfOne))
      #expect(abs(found.1[0] - variance) <= 2 * variance * Double(Float.ulpOfOne))
      #expect(
        state["batchNormalization1.num_batches_tracked"] == Tensor(scalar: Int64(step)))
    }
  }

  @Test(arguments: [Optimizer.sgd(SGD(learningRate: 0.1)), .adam(Adam(learningRate: 0.01))])
  func separableClassesAreLearned(optimizer: Optimizer) throws {
    let data = try bands(96, size: 8, classes: 2, seed: 3)
    let test = try bands(40, size: 8, classes: 2, seed: 4)
    let trainer = try trainer(
      smallNetwork(size: 8, classes: 2), optimizer: optimizer,
      schedule: .cosine(steps: 48, warmUpSteps: 4))
    var seen: [TrainingProgress] = []
    let reports = try trainer.run(epochs: 4, data: data, validation: test) { seen.append($0) }
    #expect(reports.count == 4 && seen.count == 48 && trainer.epochCount == 4)
    #expect(reports[3].loss < reports[0].loss / 2, "\(reports.map(\.loss))")
    #expect(reports[3].validationAccuracy == 1)
    #expect(seen.allSatisfy { ($0.validation != nil) == $0.isEpochEnd && $0.epochs == 4 })
    #expect(seen[0].learningRate == optimizer.learningRate / 4)
    #expect(seen.last?.secondsLeft == 0)
    #expect(try trainer.evaluate(test) == seen.last?.validation)
  }

  /// Two epochs of `lenet` on synthetic images, and of a network with dropout, with augmentation.
  @Test(arguments: [true, false]) func bitsDependOnTheSeedAlone(isLenet: Bool) throws {
    let data = try bands(42, size: 28, classes: 10, seed: 5)
    let graph =
      try isLenet ? Network.lenet.graph() : smallNetwork(size: 28, classes: 10, dropout: 0.3)
    func train(seed: UInt64 = 11, lanes: Int) throws -> (Model, [Double]) {
      let trainer = try trainer(
        graph,
        optimizer: .sgd(SGD(learningRate: 0.05, nesterov: true, weightDecay: .coupled(1e-3))),
        batchSize: 14, seed: seed, augmentation: .light, lanes: lanes)
      let reports = try trainer.run(epochs: 2, data: data)
      return (trainer.model, reports.map(\.loss))
    }
    let (model, losses) = try train(lanes: 1)
    for lanes in [1, 2] {
      let (again, againLosses) = try train(lanes: lanes)
      expectEqual(again, model, "\(lanes) lanes")
      #expect(againLosses == losses, "\(lanes) lanes")
    }
    #expect(try train(seed: 12, lanes: 2).1 != losses)
  }

  /// A batch that holds a NaN or an infinity leaves everything as it was, and the training goes on as if
  /// it had never come.
  @Test(arguments: [Float.nan, .infinity]) func badBatchesChangeNothing(bad: Float) throws {
    let data = try bands(16, size: 8, classes: 2, seed: 6)
    let optimizer = Optimizer.adam(Adam(weightDecay: .decoupled(0.01)))
    let graph = try smallNetwork(size: 8, classes: 2)
    let (trainer, other) = (
      try trainer(graph, optimizer: optimizer), try trainer(graph, optimizer: optimizer)
    )
    let labels = Tensor(Array(data.labels[..<8]))
    var pixels = data.images.floats
    let good = Tensor(Array(pixels[..<512]), shape: [8, 8, 8, 1])
    pixels[100] = bad
    let spoilt = Tensor(Array(pixels[..<512]), shape: [8, 8, 8, 1])
    for trainer in [trainer, other] { try trainer.step(images: good, labels: labels) }
    let before = trainer.model
    let error = #expect(throws: TrainingError.self) {
      try trainer.step(images: spoilt, labels: labels)
    }
    #expect(error?.code == .notFinite && error?.description.contains("step 2") == true)
    expectEqual(trainer.model, before, "after a batch with \(bad)")
    #expect(trainer.rejectedUpdates == 1 && trainer.stepCount == 1)
    for trainer in [trainer, other] { try trainer.step(images: good, labels: labels) }
    expectEqual(trainer.model, other.model, "after another step")
    #expect(other.rejectedUpdates == 0)
  }

  /// Statistics that a float cannot hold are left out, all of them, while the step itself happens.
  @Test func overflowingStatisticsAreRejected() throws {
    let graph = try Graph(input: .features(1)) { x in
      x.batchNormalization().dense(2).batchNormalization().dense(2)
    }
    let trainer = try trainer(graph)
    var model = trainer.model
    try model.setState(
      "batchNormalization2.running_var", to: Tensor(repeating: Float.infinity, shape: [2]))
    let spoilt = try Trainer(model: model, optimizer: .sgd(SGD(learningRate: 0.1)))
    let x = Tensor([1, 3, 5, 7] as [Float], shape: [4, 1])
    try spoilt.step(images: x, labels: Tensor([0, 1, 0, 1] as [Int64]))
    #expect(spoilt.model.state == model.state)
    #expect(spoilt.model.parameters != model.parameters)
    #expect(spoilt.rejectedUpdates == 1 && spoilt.stepCount == 1)
  }

  /// Twenty steps, of which at most half an epoch warms up: factors ⅕ to 1, then half a cosine.
  @Test func recipesSetTheLengthOfTheSchedule() throws {
    let data = try bands(85, size: 8, classes: 2, seed: 8)
    let model = try Model(initializing: smallNetwork(size: 8, classes: 2), seed: 1)
    var recipe = Recipe.standard(for: .fashion)
    (recipe.epochs, recipe.batchSize) = (2, 8)
    let trainer = try recipe.trainer(for: model, data: data, seed: 1, lanes: Lanes(count: 1))
    #expect(trainer.schedule == .cosine(steps: 20, warmUpSteps: 5))
    var rates: [Double] = []
    try trainer.run(epochs: recipe.epochs, data: data) { rates.append($0.learningRate) }
    #expect(rates.count == 20 && rates.max() == recipe.optimizer.learningRate)
    #expect(rates[0] == recipe.optimizer.learningRate * 0.2)
    #expect(rates[19] < recipe.optimizer.learningRate / 50)
  }

  @Test func remaindersAreKeptOrDropped() throws {
    let data = try bands(21, size: 8, classes: 2, seed: 7)
    let graph = try smallNetwork(size: 8, classes: 2)
    let dropping = try trainer(graph).run(epochs: 1, data: data)
    #expect(dropping[0].samples == 16)
    let keeping = try trainer(graph)
    #expect(try keeping.run(epochs: 1, data: data, remainder: .keep)[0].samples == 21)
    #expect(keeping.stepCount == 3)
  }

  @Test func mistakesAreSentences() throws {
    let graph = try smallNetwork(size: 8, classes: 2)
    let trainer = try trainer(graph)
    let few = try bands(7, size: 8, classes: 2, seed: 1)
    #expect(throws: TrainingError.self) { try trainer.run(epochs: 1, data: few) }
    let others = try bands(8, size: 8, classes: 3, seed: 1)
    #expect(throws: TrainingError.self) { try trainer.run(epochs: 1, data: others) }
    #expect(throws: TrainingError.self) { try trainer.evaluate(others) }
    let larger = try bands(8, size: 9, classes: 2, seed: 1)
    #expect(throws: (any Error).self) { try trainer.run(epochs: 1, data: larger) }
    #expect(throws: TrainingError.self) { try self.trainer(graph, batchSize: 0) }
    #expect(throws: TrainingError.self) {
      try self.trainer(graph, optimizer: .sgd(SGD(learningRate: .infinity)))
    }
    let images = try Graph(input: .image(height: 4, width: 4, channels: 1)) { $0.relu() }
    #expect(throws: (any Error).self) { try self.trainer(images) }
    let unnamed = try Graph(inputs: [("input", .features(2))]) {
      ["logits": $0[0].dense(2), "more": $0[0]]
    }
    #expect(throws: GraphError.self) { try self.trainer(unnamed) }
    #expect(trainer.stepCount == 0)
  }
}
