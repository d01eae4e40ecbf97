import ConvNetGraph
import Testing

@Suite struct RunningStatisticsTests {
  private func statistics(
    _ decay: RunningDecay, _ estimator: RunningVariance = .unbiased
  ) -> RunningStatistics {
    RunningStatistics(
      layer: "n", mean: "m", variance: "v", updateCount: "c", decay: decay, estimator: estimator)
  }

  private typealias Values = RunningStatistics.Values

  private let initial = Values(
    mean: Tensor([0, 2] as [Float]), variance: Tensor([1, 1] as [Float]),
    updateCount: Tensor(scalar: Int64(0)))

  private func update(
    _ statistics: RunningStatistics, _ old: Values, count: Double = 5, mean: [Double] = [4, 2],
    m2: [Double] = [8, 20]
  ) -> Values? {
    statistics.updated(old, with: Moments(count: count, mean: mean, m2: m2))
  }

  @Test func trap2MovesByTheDecay() throws {
    // σ² = 8/4 and 20/4 unbiased, 8/5 and 20/5 of the population; ¾ of the old stays.
    for decay in [RunningDecay.keepOld(0.75), .takeNew(0.25)] {
      let new = try #require(update(statistics(decay), initial))
      #expect(new.mean.floats == [1, 2])
      #expect(new.variance.floats == [1.25, 2])
      #expect(new.updateCount == Tensor(scalar: Int64(1)))
    }
    let population = try #require(update(statistics(.takeNew(0.25), .population), initial))
    #expect(population.variance.floats == [0.75 + 0.25 * Float(8.0 / 5), 1.75])
  }

  @Test func trap2CumulatesToTheMeanOfAllBatches() throws {
    var values = initial
    for mean in [3.0, 6, 12] {
      values = try #require(update(statistics(.cumulative), values, mean: [mean, -mean]))
    }
    #expect(values.mean.floats == [7, -7])
    #expect(values.variance.floats == [2, 5])
    #expect(values.updateCount == Tensor(scalar: Int64(3)))
  }

  @Test func trap8KeepsOldValuesAfterABadBatch() {
    let update = {
      self.update(self.statistics(.keepOld(0.9), $0), self.initial, count: $1, mean: $2, m2: $3)
    }
    #expect(update(.unbiased, 5, [.nan, 0], [1, 1]) == nil)
    #expect(update(.unbiased, 5, [0, .infinity], [1, 1]) == nil)
    #expect(update(.unbiased, 5, [0, 0], [1, .nan]) == nil)
    #expect(update(.unbiased, 5, [0, 1e300], [1, 1]) == nil, "too large for float32")
    #expect(update(.unbiased, .nan, [0, 0], [1, 1]) == nil)
  }

  @Test func trap1NeedsEnoughSamplesForTheEstimator() {
    #expect(update(statistics(.keepOld(0.9)), initial, count: 1, m2: [0, 0]) == nil)
    #expect(update(statistics(.keepOld(0.9)), initial, count: 2) != nil)
    let population = statistics(.keepOld(0.9), .population)
    #expect(update(population, initial, count: 1, m2: [0, 0]) != nil)
    #expect(update(population, initial, count: 0, mean: [0, 0], m2: [0, 0]) == nil)
  }

  @Test(arguments: [Int64.max, -1]) func trap14SurvivesACounterFromABrokenFile(_ counter: Int64) {
    var values = initial
    values.updateCount = Tensor(scalar: counter)
    #expect(update(statistics(.cumulative), values) == nil)
  }

  @Test func checksTheDecay() {
    for decay in [RunningDecay.keepOld(-0.1), .takeNew(1.1), .keepOld(.nan)] {
      #expect(throws: GraphError.self) { try decay.check() }
    }
    #expect(RunningDecay.keepOld(0.9).weight(update: 7) == 1 - 0.9)
    #expect(RunningDecay.cumulative.weight(update: 4) == 0.25)
  }
}
