import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// What `convnet recalibrate` and `inspect` report on models, and the samples they take.
@Suite struct StatisticsChangeTests {
  private let lanes = TestLanes.all[0]

  @Test func measuresHowFarStatisticsMoved() throws {
    let graph = try Graph(input: .features(3)) {
      $0.batchNormalization(epsilon: 0.25, name: "n")
        .batchNormalization(tracksRunningStatistics: false)
    }
    let old = try Model(initializing: graph, seed: 1)
    var new = old
    #expect(try new.statisticsChanges(since: old).map(\.meanChange) == [0])
    // Deviations √(3.75 + ¼) = 2, √(0.75 + ¼) = 1 and √(8.75 + ¼) = 3.
    try new.setState("n.running_mean", to: Tensor([1, -2, 0] as [Float]))
    try new.setState("n.running_var", to: Tensor([3.75, 0.75, 8.75] as [Float]))
    try new.setState("n.num_batches_tracked", to: Tensor(scalar: Int64(7)))
    var change = try #require(try new.statisticsChanges(since: old).first)
    #expect(change.layer == "n" && change.meanChange == 2 && change.updateCount == 7)
    #expect(change.varianceRatio == (1.25 / 9)...1.25)
    #expect(change.invalidCount == 0 && !change.isFrozen)

    try new.setState("n.running_var", to: Tensor([3.75, .nan, 8.75] as [Float]))
    change = try #require(try new.statisticsChanges(since: old).first)
    #expect(change.invalidCount == 1 && change.meanChange == 0.5)
    // As a file may have it; no Double holds it.
    try new.setState("n.num_batches_tracked", to: Tensor(scalar: Int64.max))
    #expect(try new.statisticsChanges(since: old).first?.updateCount == .max)
    let frozen = try new.freezingBatchNormalization(["n"])
    #expect(try frozen.statisticsChanges(since: frozen).map(\.isFrozen) == [true])
    #expect(throws: GraphError.self) {
      try new.statisticsChanges(
        since: Model(initializing: Graph(input: .features(3)) { $0.dense(2) }, seed: 1))
    }
  }

  @Test func statesCarryTheirNumbers() throws {
    let graph = try Graph(input: .features(3)) {
      $0.batchNormalization(name: "n")
        .batchNormalization(scale: false, shift: false, tracksRunningStatistics: false, name: "m")
    }
    let model = try randomModel(graph, seed: 9)
    let states = model.batchNormalizationStates
    #expect(states.map(\.layer.layer) == ["n", "m"])
    #expect(states[0].scale == model.parameters["n.weight"])
    #expect(states[0].shift == model.parameters["n.bias"])
    #expect(states[0].runningMean == model.state["n.running_mean"])
    #expect(states[0].runningVariance == model.state["n.running_var"])
    #expect(states[0].updateCount == 0)
    #expect(states[1].scale == nil && states[1].runningMean == nil && states[1].updateCount == nil)
  }

  /// Samples are spread over the set, so that one sorted by class is represented.
  @Test func samplesAreSpread() throws {
    let images = Tensor((0..<20).map(Float.init), shape: [10, 1, 1, 2])
    let data = try TrainingData(images: images, labels: (0..<10).map(Int64.init), classCount: 10)
    let sample = try data.sample(4)
    #expect(sample.labels == [0, 2, 5, 7])
    #expect(sample.images == Tensor([0, 1, 4, 5, 10, 11, 14, 15] as [Float], shape: [4, 1, 1, 2]))
    #expect(try data.sample(11).count == 10)
    #expect(throws: TrainingError.self) { try data.sample(0) }
  }

  @Test func foldingDriftsOnImages() throws {
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) {
      $0.convolution(4, kernel: 3).batchNormalization().flatten().dense(2)
    }
    let model = try randomModel(graph, seed: 2)
    let drifts = try FoldingDrift.measure(
      model, FoldBatchNormalization().fold(model), on: bands(4, size: 8, classes: 2, seed: 3),
      lanes: lanes)
    #expect(drifts.map(\.layer) == ["convolution1"])
    #expect(drifts[0].relative < 64 * Double(Float.ulpOfOne))
  }
}
