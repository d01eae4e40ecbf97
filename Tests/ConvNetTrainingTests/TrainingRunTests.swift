import ConvNetFormats
import ConvNetGraph
import ConvNetTraining
import Testing

/// When a run ends, which model it leaves and what it says where it cannot go on.
@Suite struct TrainingRunTests {
  let data: TrainingData

  init() throws { data = try bands(24, size: 6, classes: 2, seed: 71) }

  private func trainer(
    _ graph: Graph? = nil, rate: Double = 0.1, averageDecay: Double? = nil
  ) throws -> Trainer {
    try Trainer(
      model: Model(
        initializing: graph ?? smallNetwork(size: 6, classes: 2), seed: 72),
      optimizer: .sgd(SGD(learningRate: rate)), batchSize: 8, seed: 73, averageDecay: averageDecay)
  }

  /// With a rate of 0 nothing becomes better: the first epoch is the best.
  @Test(arguments: ValidationMetric.allCases) func stopsEarly(metric: ValidationMetric) throws {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 1)) {
      $0.flatten().dense(2)
    }
    let trainer = try trainer(graph, rate: 0)
    let run = try TrainingRun(
      trainer, data: data, validation: data,
      options: .init(epochs: 20, metric: metric, earlyStopping: EarlyStopping(patience: 3)))
    let outcome = try run.run()
    #expect(outcome.reason == .stoppedEarly && outcome.reports.count == 4)
    #expect(outcome.best?.epoch == 1 && outcome.best?.step == 3)
    #expect(try run.run() == outcome, "a run that is over stays so")
  }

  @Test func keepsTheBestModel() throws {
    let trainer = try trainer(rate: 0.5)
    let run = try TrainingRun(
      trainer, data: data, validation: data,
      options: .init(epochs: 6, metric: .loss, keepsBest: true))
    var models: [Model] = []
    let outcome = try run.run { if $0.validation != nil { models.append(trainer.model) } }
    let losses = outcome.reports.compactMap(\.validationLoss)
    let best = try #require(outcome.best)
    #expect(best.value == losses.min())
    #expect(try run.finishedModel().parameters == models[best.epoch - 1].parameters)
    #expect(try run.finishedModel().state == models[best.epoch - 1].state)
  }

  /// Averages get exact statistics at the end.
  @Test func recalibratesAverages() throws {
    let trainer = try trainer(averageDecay: 0.9)
    let run = try TrainingRun(trainer, data: data, options: .init(epochs: 1))
    try run.run()
    var wanted = try #require(trainer.averagedModel)
    try wanted.recalibrate(on: data, batchSize: 8)
    let finished = try run.finishedModel()
    #expect(finished.parameters == wanted.parameters && finished.state == wanted.state)
    #expect(finished.state != trainer.averagedModel?.state)
  }

  /// 1e30 times 1e30 passes what a float can hold, in the second convolution.
  @Test func namesTheLayerThatOverflows() throws {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 1)) {
      $0.convolution(4, kernel: 3, bias: false).convolution(4, kernel: 3, bias: false).relu()
        .flatten().dense(2)
    }
    var model = try Model(initializing: graph, seed: 74)
    for name in graph.parameters.map(\.name) where name.contains("convolution") {
      let shape = model.parameters[name]?.shape ?? []
      try model.setParameter(name, to: Tensor(repeating: Float(1e30), shape: shape))
    }
    let spoilt = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: 8, seed: 73)
    let error = #expect(throws: TrainingError.self) { try spoilt.run(epochs: 1, data: data) }
    #expect(error?.code == .notFinite)
    let sentence = error?.description ?? ""
    #expect(
      sentence.contains("step 1") && sentence.contains("those of convolution2"), "\(sentence)")
  }

  /// Images that hold no numbers are found before any layer.
  @Test func namesImagesThatAreNoNumbersAndTheLastCheckpoint() throws {
    var pixels = data.images.floats
    pixels[20 * 36] = .nan
    let bad = try TrainingData(
      images: Tensor(pixels, shape: data.images.shape), labels: data.labels, classCount: 2)
    let folder = try TemporaryFolder()
    let checkpoints = try CheckpointFolder(folder.path)
    let trainer = try trainer(
      Graph(input: .image(height: 6, width: 6, channels: 1)) {
        $0.flatten().dense(2)
      })
    let run = try TrainingRun(
      trainer, data: bad, options: .init(epochs: 1, checkpointInterval: 1),
      checkpoints: checkpoints)
    try run.saveCheckpoint()
    let error = #expect(throws: TrainingError.self) { try run.run() }
    let sentence = error?.description ?? ""
    #expect(sentence.contains("in the images themselves"), "\(sentence)")
    let last = try #require(try checkpoints.steps().last)
    #expect(sentence.contains(checkpoints.path(ofStep: last)), "\(sentence)")
    #expect(throws: TrainingError.self, "a run whose step failed does not go on") { try run.run() }
    #expect(try run.resume()?.step == last)
  }

  @Test func refusesWhatMeansNothing() throws {
    func refused(_ options: TrainingRun.Options, validation: TrainingData? = nil) throws {
      #expect(throws: TrainingError.self) {
        try TrainingRun(trainer(), data: data, validation: validation, options: options)
      }
    }
    try refused(.init(epochs: -1))
    try refused(.init(epochs: 1, checkpointInterval: 0))
    try refused(.init(epochs: 1, keepsBest: true))
    try refused(.init(epochs: 1, earlyStopping: EarlyStopping(patience: 1)))
    try refused(.init(epochs: 1, earlyStopping: EarlyStopping(patience: 0)), validation: data)
    try refused(
      .init(epochs: 1, earlyStopping: EarlyStopping(patience: 1, minimumChange: .nan)),
      validation: data)
  }
}
