import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#endif

/// USERS §9, traps 2 and 13: running statistics and their counters go on where a file left them.
@Suite struct SavedStatisticsTests {
  /// Whole numbers whose mean differs from batch to batch, so that every weight 1/n shows.
  private func batch(_ index: Int) -> Tensor {
    let noise = TestData.integers([8, 3], in: -8...8, seed: 200 + UInt64(index))
    return Tensor(noise.floats.map { $0 + Float(3 * index) }, shape: [8, 3])
  }

  private func train(_ model: Model, _ batches: Range<Int>) throws -> Model {
    let trainer = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: 0.05)), batchSize: 8, seed: 3,
      lanes: TestLanes.all[0])
    for index in batches {
      let labels = TestData.labels([8], in: 0...1, seed: UInt64(index))
      try trainer.step(images: batch(index), labels: labels)
    }
    return trainer.model
  }

  /// The cumulative average is the mean over all batches, with or without a file in between.
  ///
  /// Batch statistics are exact but for Double. Update n rounds v to float32, half a unit of up to V, and
  /// keeps (n − 1)/n of the error: e(n) = (1 + 2 + … + n)/n·u·V, 3·u·V after five.
  @Test(arguments: [RunningVariance.unbiased, .population])
  func trap2CumulativeStaysExactThroughSavingAndLoading(_ estimator: RunningVariance) throws {
    let graph = try Graph(input: .features(3)) {
      $0.batchNormalization(decay: .cumulative, runningVariance: estimator, name: "n").dense(2)
    }
    let start = try Model(initializing: graph, seed: 7)
    let path = FileManager.default.temporaryDirectory.path + "/convnet-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try ModelFile.save(train(start, 0..<3), to: path)
    let loaded = try ModelFile.load(path)
    #expect(loaded.state["n.num_batches_tracked"] == Tensor(scalar: Int64(3)))
    let resumed = try train(loaded, 3..<5)
    #expect(resumed.state["n.num_batches_tracked"] == Tensor(scalar: Int64(5)))
    #expect(try resumed.state == train(start, 0..<5).state, "as without a file")

    let divisor = estimator == .unbiased ? 7.0 : 8.0
    for channel in 0..<3 {
      let columns = (0..<5).map { index in
        (0..<8).map { Double(batch(index).floats[$0 * 3 + channel]) }
      }
      let means = columns.map { $0.reduce(0, +) / 8 }
      let variances = zip(columns, means).map { column, mean in
        column.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / divisor
      }
      for (name, values) in [("n.running_mean", means), ("n.running_var", variances)] {
        let largest = values.map(abs).reduce(0, max)
        let value = try #require(resumed.state[name]).doubles[channel]
        let exact = values.reduce(0, +) / 5
        #expect(abs(value - exact) <= 3 * 0x1p-24 * largest, "\(name) of channel \(channel)")
      }
    }
  }
}
