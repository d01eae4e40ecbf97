import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// Running statistics over a training: when they move, by what, and when they stay.
@Suite struct StatisticsTests {
  private let lanes = TestLanes.all[0]

  private func trainer(
    _ graph: Graph, accumulation: Accumulation = Accumulation(steps: 1), batchSize: Int = 8,
    renormalization: RenormalizationSchedule = RenormalizationSchedule(), rate: Double = 0.05
  ) throws -> Trainer {
    try Trainer(
      model: Model(initializing: graph, seed: 3), optimizer: .sgd(SGD(learningRate: rate)),
      batchSize: batchSize, seed: 3, accumulation: accumulation, renormalization: renormalization,
      lanes: lanes)
  }

  private func labels(_ count: Int) -> Tensor {
    TestData.labels([count], in: 0...1, seed: 9)
  }

  // MARK: When they stay (USERS §9, traps 6 and 8)

  /// Forward passes of a training plan, evaluations and model snapshots commit nothing; a step commits once.
  @Test func trap6OnlyAStepMovesThem() throws {
    let data = try bands(16, size: 8, classes: 2, seed: 6)
    let graph = try smallNetwork(size: 8, classes: 2)
    let trainer = try trainer(graph)
    let before = trainer.model
    #expect(try trainer.evaluate(data).count == 16)
    let store = ParameterStore(before)
    let x = TestData.uniform([4, 8, 8, 1], seed: 7)
    let plan = try Plan(before, mode: .training, inputShapes: ["input": x.shape], lanes: lanes)
    var workspace = plan.makeWorkspace(for: store)
    try workspace.setInput("input", to: x)
    for _ in 0..<2 { plan.run(in: &workspace) }
    #expect(store.snapshot().state == before.state)
    #expect(trainer.model.state == before.state)
    _ = try trainer.model.diagnose(on: data, lanes: lanes)
    try trainer.step(images: x, labels: labels(4))
    let after = trainer.model.state
    #expect(after["batchNormalization1.num_batches_tracked"] == Tensor(scalar: Int64(1)))
    _ = try trainer.evaluate(data)
    #expect(trainer.model.state == after)
  }

  /// NaN or an infinity anywhere in a batch, or in one part of it, skips the step: every running statistic
  /// keeps its bits, and the count says so.
  @Test(arguments: [Float.nan, .infinity, -.infinity], [1, 2, 4])
  func trap8BadBatchesLeaveThemAlone(_ bad: Float, _ steps: Int) throws {
    let graph = try Graph(input: .features(3)) {
      $0.batchNormalization().dense(4).batchNormalization().relu().dense(2)
    }
    let statistics: [Accumulation.Statistics] = [.pooled, .perMicroBatch]
    for accumulated in statistics {
      let trainer = try trainer(
        graph, accumulation: Accumulation(steps: steps, statistics: accumulated))
      let good = TestData.uniform([8, 3], seed: 21)
      try trainer.step(images: good, labels: labels(8))
      let before = trainer.model
      for position in [0, 13, 23] {
        var pixels = good.floats
        pixels[position] = bad
        #expect(throws: TrainingError.self) {
          try trainer.step(images: Tensor(pixels, shape: [8, 3]), labels: self.labels(8))
        }
      }
      #expect(trainer.model.state == before.state && trainer.model.parameters == before.parameters)
      #expect(trainer.rejectedUpdates == 3 && trainer.stepCount == 1)
    }
  }

  // MARK: Gradient accumulation

  /// Without batch norm the parts of a batch are the batch, however they are cut.
  @Test(arguments: [2, 3, 5]) func partsAreTheBatch(_ steps: Int) throws {
    let graph = try Graph(input: .features(3)) { $0.dense(5).relu().dense(2) }
    let x = TestData.uniform([8, 3], seed: 31)
    let (whole, parts) = (
      try trainer(graph), try trainer(graph, accumulation: Accumulation(steps: steps))
    )
    let losses = try [whole, parts].map { try $0.step(images: x, labels: labels(8)) }
    #expect(abs(losses[0] - losses[1]) < 1e-6)
    for (name, value) in whole.model.parameters {
      let other = try #require(parts.model.parameters[name])
      // Eight terms of at most 1, added in another order.
      expectClose(other, value, tolerance: 16 * Double(Float.ulpOfOne), name)
    }
    #expect(parts.stepCount == 1)
  }

  /// x = 1, 3, 5, 7 in two parts: pooled mean 4 and variance 20/3 in one update, or means 2 and 6 and
  /// variance 2 in two.
  @Test func statisticsOfPartsArePooledOrApplied() throws {
    let graph = try Graph(input: .features(1)) {
      $0.batchNormalization(decay: .takeNew(0.5), name: "n").dense(2)
    }
    let x = Tensor([1, 3, 5, 7] as [Float], shape: [4, 1])
    let expected: [(Accumulation.Statistics, Float, Float, Int64)] = [
      (.pooled, 2, Float(0.5 + 10.0 / 3), 1), (.perMicroBatch, 3.5, 1.75, 2),
    ]
    for (statistics, mean, variance, count) in expected {
      let trainer = try trainer(graph, accumulation: Accumulation(steps: 2, statistics: statistics))
      try trainer.step(images: x, labels: labels(4))
      let state = trainer.model.state
      #expect(state["n.running_mean"]?.floats == [mean], "\(statistics)")
      #expect(state["n.running_var"]?.floats == [variance], "\(statistics)")
      #expect(state["n.num_batches_tracked"] == Tensor(scalar: count), "\(statistics)")
    }
  }

  @Test func runsAccumulate() throws {
    let data = try bands(20, size: 8, classes: 2, seed: 5)
    let graph = try smallNetwork(size: 8, classes: 2, dropout: 0.2)
    let trainer = try trainer(graph, accumulation: Accumulation(steps: 3))
    let report = try trainer.run(epochs: 1, data: data, remainder: .keep)
    #expect(report[0].samples == 20 && trainer.stepCount == 3)
    #expect(
      trainer.model.state["batchNormalization1.num_batches_tracked"] == Tensor(scalar: Int64(3)))
    #expect(throws: TrainingError.self) {
      try self.trainer(graph, accumulation: Accumulation(steps: 0))
    }
  }

  // MARK: Single samples, ghost batches, renormalisation

  /// Seventeen samples in batches of eight leave one, which has no variance between the dense layers.
  @Test func trap1ALastSampleFollowsThePolicy() throws {
    let data = try bands(17, size: 8, classes: 2, seed: 5)
    func graph(_ policy: SingleSamplePolicy) throws -> Graph {
      try Graph(input: .image(height: 8, width: 8, channels: 1)) {
        $0.flatten().dense(4)
          .batchNormalization(name: "n", statistics: BatchStatistics(singleSample: policy)).dense(2)
      }
    }
    let strict = try trainer(graph(.error))
    let error = #expect(throws: PlanError.self) {
      try strict.run(epochs: 1, data: data, remainder: .keep)
    }
    #expect(error?.code == .singleSample && error?.place == "n")
    #expect(strict.stepCount == 0, "nothing was learned before")
    for policy in [SingleSamplePolicy.useRunning, .skipUpdate] {
      let trainer = try trainer(graph(policy))
      try trainer.run(epochs: 1, data: data, remainder: .keep)
      #expect(trainer.stepCount == 3 && trainer.rejectedUpdates == 0)
      #expect(trainer.model.state["n.num_batches_tracked"] == Tensor(scalar: Int64(2)))
    }
  }

  /// Padding by zeros, found by the network itself: rows (1, 2), (3, 6) and (5, 10) of five count.
  @Test func paddingDoesNotCount() throws {
    let graph = try Graph(input: .features(2)) { x in
      x.batchNormalization(
        decay: .takeNew(1), name: "n", mask: x.map(.absolute).reduced(.maximum, axes: [-1])
      ).dense(2)
    }
    let trainer = try trainer(graph)
    let x = Tensor([1, 2, 0, 0, 3, 6, 5, 10, 0, 0] as [Float], shape: [5, 2])
    try trainer.step(images: x, labels: labels(5))
    #expect(trainer.model.state["n.running_mean"]?.floats == [3, 6])
    #expect(trainer.model.state["n.running_var"]?.floats == [4, 16])
    // Of one valid row there is no variance: an error by default, and nothing has changed.
    let (state, parameters) = (trainer.model.state, trainer.model.parameters)
    #expect(throws: TrainingError.self) {
      try trainer.step(
        images: Tensor([0, 0, 3, 6] as [Float], shape: [2, 2]), labels: labels(2))
    }
    #expect(trainer.model.state == state && trainer.model.parameters == parameters)
  }

  /// The first layer's running statistics do not depend on ghost batches, whose moments are pooled.
  @Test func ghostBatchesUpdateOnce() throws {
    let x = TestData.uniform([10, 3], seed: 41)
    let states = try [nil, 4].map { ghost in
      let graph = try Graph(input: .features(3)) {
        $0.batchNormalization(name: "n", statistics: BatchStatistics(ghostBatchSize: ghost)).dense(
          2)
      }
      let trainer = try trainer(graph)
      try trainer.step(images: x, labels: labels(10))
      return trainer.model.state
    }
    for (name, value) in states[0] {
      let other = try #require(states[1][name])
      expectClose(other, value, tolerance: 2 * Double(Float.ulpOfOne), name)
    }
  }

  /// During the warm-up renormalisation is batch norm to the bit; later it is not.
  @Test func renormalisationFollowsItsSchedule() throws {
    let schedule = RenormalizationSchedule(
      warmUpSteps: 2, scaleSteps: 6, shiftSteps: 4,
      limits: RenormalizationSchedule.Limits(scale: 3, shift: 5))
    let limits = (0..<7).map(schedule.limits)
    #expect(limits.map(\.scale) == [1, 1, 1, 1.5, 2, 2.5, 3])
    #expect(limits.map(\.shift) == [0, 0, 0, 2.5, 5, 5, 5])
    #expect(RenormalizationSchedule().limits(at: 4999) == .none)
    #expect(RenormalizationSchedule().limits(at: 40_000) == .init(scale: 3, shift: 5))
    let data = try bands(16, size: 8, classes: 2, seed: 5)
    func train(_ renormalizes: Bool, _ steps: Int) throws -> [String: Tensor] {
      let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) {
        $0.batchNormalization(statistics: BatchStatistics(renormalizes: renormalizes)).flatten()
          .dense(2)
      }
      let trainer = try trainer(graph, renormalization: schedule)
      try trainer.run(epochs: steps / 2, data: data)
      return trainer.model.parameters
    }
    #expect(try train(true, 2) == train(false, 2))
    #expect(try train(true, 6) != train(false, 6))
    #expect(throws: TrainingError.self) {
      try self.trainer(
        smallNetwork(size: 8, classes: 2),
        renormalization: RenormalizationSchedule(limits: .init(scale: 0.5, shift: 0)))
    }
  }
}
