import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// The running statistics of decorrelated batch normalisation go the way of batch norm's.
@Suite struct DecorrelationTests {
  private let lanes = TestLanes.all[0]

  private func graph(decay: RunningDecay = .keepOld(0.75)) throws -> Graph {
    try Graph(input: .features(4)) {
      $0.decorrelatedBatchNormalization(
        groupSize: 2, decay: decay, runningVariance: .population, name: "white"
      ).dense(2)
    }
  }

  private func trainer(_ model: Model, steps: Int = 1) throws -> Trainer {
    try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: 0.05)), batchSize: 16, seed: 3,
      accumulation: Accumulation(steps: steps), lanes: lanes)
  }

  private let x = WhiteningTests.data(16, 4, seed: 71)
  private let labels = TestData.labels([16], in: 0...1, seed: 72)

  /// Co-moments of 16 rows of integers are exact, so are their products with 1/4 and 3/4.
  @Test func aStepMovesThem() throws {
    let trainer = try trainer(Model(initializing: graph(), seed: 3))
    #expect(
      trainer.model.state["white.running_cov"]
        == Tensor([1, 0, 0, 1, 1, 0, 0, 1] as [Float], shape: [4, 2]))
    try trainer.step(images: x, labels: labels)
    let (mean, covariance) = WhiteningTests.covariance(x)
    let state = trainer.model.state
    #expect(state["white.running_mean"]?.doubles == mean.map { $0 / 4 })
    let blocks = [0, 1, 4, 5, 10, 11, 14, 15].map { covariance[$0] }
    expectClose(
      try #require(state["white.running_cov"]).doubles,
      zip(blocks, [1, 0, 0, 1, 1, 0, 0, 1]).map { $0 / 4 + 0.75 * $1 },
      tolerance: Tolerance.ulps(1, magnitude: blocks.map(abs).max() ?? 0))
    #expect(state["white.num_batches_tracked"] == Tensor(scalar: Int64(1)))
  }

  /// Parts of a batch, merged by Chan's formula for products, are the whole batch.
  @Test func partsPoolToTheWhole() throws {
    let model = try Model(initializing: graph(decay: .cumulative), seed: 3)
    let (whole, parts) = (try trainer(model), try trainer(model, steps: 3))
    for trainer in [whole, parts] { try trainer.step(images: x, labels: labels) }
    for name in ["white.running_mean", "white.running_cov", "white.num_batches_tracked"] {
      let (a, b) = try (#require(whole.model.state[name]), #require(parts.model.state[name]))
      // Two roundings to float32 of the same numbers but for some 2⁻⁵³.
      expectClose(
        a, b, tolerance: Tolerance.ulps(1, magnitude: a.doubles.map(abs).max() ?? 0), name)
    }
  }

  @Test func badBatchesLeaveThemAlone() throws {
    let trainer = try trainer(Model(initializing: graph(), seed: 3))
    let before = trainer.model.state
    var bad = x
    bad.withMutableElements { (values: inout MutableSpan<Float>) in values[5] = .infinity }
    #expect(throws: TrainingError.self) { try trainer.step(images: bad, labels: labels) }
    #expect(trainer.model.state == before && trainer.rejectedUpdates == 1)
  }

  @Test func freezesAndThaws() throws {
    let model = try randomModel(graph(), seed: 4)
    let trainer = try trainer(model.freezingBatchNormalization(["white"]))
    try trainer.step(images: x, labels: labels)
    #expect(trainer.model.state == model.state)
    for name in ["white.weight", "white.bias"] {
      #expect(trainer.model.parameters[name] == model.parameters[name])
    }
    #expect(trainer.model.parameters["dense1.weight"] != model.parameters["dense1.weight"])
    let prefixed = try model.freezing(prefix: "white")
    #expect(prefixed.graph == trainer.model.graph)
    let thawed = try prefixed.settingBatchNormalization(
      source: .batch, updates: true, trainsAffine: true)
    #expect(thawed.graph == model.graph)
  }

  /// One batch, recalibrated and then whitened by running statistics, is as white as by its own; diagnosis
  /// compares means and variances.
  @Test func recalibratesExactly() throws {
    var model = try randomModel(graph(), seed: 5)
    try model.recalibrate(on: [x], lanes: lanes)
    let (mean, covariance) = WhiteningTests.covariance(x)
    #expect(model.state["white.running_mean"]?.doubles == mean)
    let blocks = [0, 1, 4, 5, 10, 11, 14, 15].map { covariance[$0] }
    expectClose(
      try #require(model.state["white.running_cov"]).doubles, blocks,
      tolerance: Tolerance.ulps(1, magnitude: blocks.map(abs).max() ?? 0))
    let healthy = try model.diagnose(on: [x], lanes: lanes)[0]
    #expect(healthy.layer == "white" && healthy.channels == 4 && healthy.meanDivergence < 1e-6)
    #expect(abs(healthy.varianceRatio.upperBound - 1) < 1e-6)
    var changed = model
    try changed.setState("white.running_cov", to: Tensor(repeating: Float.nan, shape: [4, 2]))
    #expect(try changed.diagnose(on: [x], lanes: lanes)[0].invalidCount == 4)
    #expect(try changed.statisticsChanges(since: model)[0].invalidCount == 4)
  }
}
