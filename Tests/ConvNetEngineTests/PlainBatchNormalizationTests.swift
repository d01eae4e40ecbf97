import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

/// `BatchNormalization` on tensors, without a network.
@Suite struct PlainBatchNormalizationTests {
  struct Case: CustomTestStringConvertible {
    var shape: Shape
    var axis: Int
    var testDescription: String { "\(shape) axis \(axis)" }
    var channels: Int { shape[axis < 0 ? axis + shape.rank : axis] }
    var samples: Int { shape.count / channels }
  }

  static let cases: [Case] = [
    Case(shape: [9, 5], axis: -1), Case(shape: [3, 7, 17], axis: -1),
    Case(shape: [3, 5, 6, 16], axis: -1), Case(shape: [2, 3, 4, 5, 6], axis: -1),
    Case(shape: [9, 5], axis: 1), Case(shape: [3, 17, 7], axis: 1),
    Case(shape: [3, 4, 5, 6], axis: 1), Case(shape: [2, 3, 4, 5, 6], axis: 1),
  ]
  static let strategies = PlanOptions.BatchNormalizationStrategy.allCases

  /// x runs through six whole numbers between −1 and 2 in every channel, so that σ² ≥ ½.
  private struct Data {
    let x: Tensor
    let dy: Tensor
    let scale: Tensor
    let shift: Tensor
    let running: BatchNormalization.Running

    init(_ c: Case) {
      let inner = c.shape.dimensions[((c.axis < 0 ? c.axis + c.shape.rank : c.axis) + 1)...]
        .reduce(1, *)
      var seen = [Int](repeating: 0, count: c.channels)
      x = Tensor(
        (0..<c.shape.count).map { index in
          let channel = index / inner % c.channels
          seen[channel] += 1
          return Float(seen[channel] * 2 % 3 + seen[channel] % 2 - 1)
        }, shape: c.shape)
      dy = TestData.integers(c.shape, in: -3...3, seed: 31)
      scale = TestData.uniform([c.channels], in: 0.5...1.5, seed: 32)
      shift = TestData.uniform([c.channels], seed: 33)
      running = BatchNormalization.Running(
        mean: TestData.uniform([c.channels], seed: 34),
        variance: TestData.uniform([c.channels], in: 0.5...1.5, seed: 35))
    }
  }

  /// |x̂| ≤ 6 as σ² ≥ ½, |γ| ≤ 3⁄2: a product of factors up to 9, sums of as many dy up to 3.
  private func bound(_ c: Case) -> Double {
    Tolerance.bound(terms: 16 + Int(Double(c.samples).squareRoot()), maxA: 9, maxB: 3)
  }

  @Test(arguments: cases, strategies)
  func trap3AgreesWithTheReferenceForwardAndBackward(
    _ c: Case, _ strategy: PlanOptions.BatchNormalizationStrategy
  ) throws {
    let data = Data(c)
    for (hasScale, hasShift) in [(true, true), (false, false), (true, false), (false, true)] {
      let (scale, shift) = (hasScale ? data.scale : nil, hasShift ? data.shift : nil)
      var first: [Tensor] = []
      for lanes in TestLanes.all {
        let norm = BatchNormalization(axis: c.axis, strategy: strategy, lanes: lanes)
        let (y, statistics) = try norm.forward(data.x, scale: scale, shift: shift)
        let batch = try norm.backward(data.dy, x: data.x, scale: scale, statistics: statistics)
        let z = try norm.inference(data.x, scale: scale, shift: shift, running: data.running)
        let frozen = try norm.backward(data.dy, x: data.x, scale: scale, running: data.running)
        let all = [
          y, batch.dx, batch.dScale, batch.dShift, z, frozen.dx, frozen.dScale, frozen.dShift,
          statistics.mean, statistics.m2,
        ]
        if first.isEmpty { first = all }
        #expect(all == first, "\(lanes.count) lanes")
        // The second call runs in the first one's workspace.
        #expect(try norm.forward(data.x, scale: scale, shift: shift).y == y)
        #expect(statistics.count == c.samples)
      }
      for (source, offset) in [(StatisticsSource.batch, 0), (.running, 4)] {
        var inputs = ["x": data.x, "dy": data.dy]
        (inputs["scale"], inputs["shift"]) = (scale, shift)
        (inputs["mean"], inputs["variance"]) = (data.running.mean, data.running.variance)
        let expected = try NormalizationReference(axis: c.axis, source: source)(inputs)
        for (index, name) in ["y", "dx", "dscale", "dshift"].enumerated() {
          guard let value = expected[name] else { continue }
          expectClose(first[offset + index], value, tolerance: bound(c), "\(source) \(name)")
        }
      }
    }
  }

  /// By hand: m = 4, μ = (2, 0), σ² = (1, 0), unbiased variances 4⁄3 and 0.
  @Test(arguments: strategies)
  func trap1NormalisesByPopulationAndStoresUnbiased(
    _ strategy: PlanOptions.BatchNormalizationStrategy
  ) throws {
    let norm = BatchNormalization(.pyTorch, strategy: strategy, lanes: TestLanes.all[0])
    let x = Tensor([1, 0, 3, 0, 1, 0, 3, 0] as [Float], shape: [4, 2])
    let shift = Tensor([10, 20] as [Float])
    let (y, batch) = try norm.forward(x, shift: shift)
    #expect(batch.count == 4 && batch.mean.doubles == [2, 0] && batch.m2.doubles == [4, 0])
    #expect(batch.variance(.population).doubles == [1, 0])
    #expect(batch.variance(.unbiased).doubles == [4.0 / 3, 0])
    let inverse = 1 / (1 + 1e-5).squareRoot()
    expectClose(
      y.doubles,
      [-1, 0, 1, 0, -1, 0, 1, 0].enumerated().map { $1 * inverse + shift.doubles[$0 % 2] },
      tolerance: Tolerance.ulps(1, magnitude: 32))
    // A constant channel is exactly β.
    #expect((0..<4).allSatisfy { y.floats[$0 * 2 + 1] == 20 })
    let start = BatchNormalization.Running(channels: 2)
    let pyTorch = try #require(norm.updated(start, with: batch))
    #expect(pyTorch.updateCount == 1)
    #expect(pyTorch.mean.floats == [0.2, 0])
    #expect(pyTorch.variance.floats == [Float(0.9 + 0.1 * 4 / 3), Float(0.9)])
    let keras = try #require(BatchNormalization(.keras).updated(start, with: batch))
    #expect(keras.mean.floats == [0.02, 0] && keras.variance.floats == [1, 0.99])
  }

  /// The mean over all batches so far, exactly: batches of means 1, 2 and 6.
  @Test func trap2CumulativeIsTheMeanOverBatches() throws {
    let norm = BatchNormalization(
      BatchNormalizationOptions(decay: .cumulative, runningVariance: .population),
      lanes: TestLanes.all[0])
    var running = BatchNormalization.Running(channels: 1)
    for (mean, deviation) in [(1, 1), (2, 2), (6, 1)] as [(Float, Float)] {
      let x = Tensor([mean - deviation, mean + deviation], shape: [2, 1])
      running = try #require(norm.updated(running, with: norm.forward(x).statistics))
    }
    #expect(running.updateCount == 3)
    expectClose(running.mean.doubles, [3], tolerance: Tolerance.ulps(2, magnitude: 3))
    expectClose(running.variance.doubles, [2], tolerance: Tolerance.ulps(2, magnitude: 2.5))
  }

  @Test(arguments: strategies, [-1, 1])
  func trap4DifficultChannels(
    _ strategy: PlanOptions.BatchNormalizationStrategy, axis: Int
  ) throws {
    let rows = 400
    let noise = TestData.uniform([rows], seed: 8).floats
    // Mean/deviation 10⁶, a constant, one outlier, denormals.
    let columns: [[Float]] = [
      noise.map { 1_500_000 + ($0 * 2).rounded() }, noise.map { _ in 0.1 },
      noise.indices.map { $0 == 77 ? 1e6 : noise[$0] }, noise.map { $0 * 0x1p-130 },
    ]
    let x =
      axis == 1
      ? Tensor(columns.flatMap { $0 }, shape: [1, 4, rows])
      : Tensor((0..<rows).flatMap { row in columns.map { $0[row] } }, shape: [rows, 4])
    let norm = BatchNormalization(axis: axis, strategy: strategy, lanes: TestLanes.all[1])
    let (y, statistics) = try norm.forward(x)
    #expect(y.floats.allSatisfy { $0.isFinite })
    let variance = statistics.variance(.population).doubles
    for (channel, column) in columns.enumerated() {
      let values = column.map(Double.init)
      let mean = values.reduce(0, +) / Double(rows)
      let exact = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rows)
      #expect(variance[channel] >= 0)
      // Blocks of at most 128 terms in float, denormals flushed to 0.
      let tolerance = 128 * 0x1p-23 * exact + 0x1p-240
      #expect(abs(variance[channel] - exact) <= tolerance, "\(channel)")
    }
    // 0.1 is no sum of few powers of two, and yet nothing of a·μ is left.
    let constant = (0..<rows).map { axis == 1 ? y.doubles[rows + $0] : y.doubles[$0 * 4 + 1] }
    #expect(variance[1] == 0 && constant.allSatisfy { $0 == 0 })
    // `.blas` computes a·x + b: the roundings of b and, without a fused multiply-add, of a·x.
    let large = (0..<rows).map { axis == 1 ? y.doubles[$0] : y.doubles[$0 * 4] }
    let deviation = (variance[0] + 1e-5).squareRoot()
    let mean = columns[0].reduce(0) { $0 + Double($1) } / Double(rows)
    let products = strategy == .blas ? 2 * 0x1p-24 * 1_500_002 / deviation : 0
    expectClose(
      large, columns[0].map { (Double($0) - mean) / deviation },
      tolerance: products + Tolerance.ulps(2, magnitude: 2))
  }

  /// Forward and backward do not touch running statistics, and a bad batch does not reach them.
  @Test func trap6And8StatisticsMoveOnlyWhenAskedAndOnlyIfFinite() throws {
    let norm = BatchNormalization(lanes: TestLanes.all[0])
    let start = BatchNormalization.Running(channels: 1)
    for bad in [Float.nan, .infinity] {
      let x = Tensor([1, bad, 3, 4], shape: [4, 1])
      let (_, statistics) = try norm.forward(x)
      #expect(norm.updated(start, with: statistics) == nil, "\(bad)")
    }
  }

  @Test(arguments: [-1, 1]) func trap1OneSampleIsAnErrorThatNamesTheShape(axis: Int) throws {
    let norm = BatchNormalization(axis: axis, lanes: TestLanes.all[0])
    let x = Tensor(zeros: [1, 4])
    let error = #expect(throws: PlanError.self) { try norm.forward(x) }
    #expect(error?.code == .singleSample && error?.reason.contains("[1, 4]") == true)
    let running = BatchNormalization.Running(channels: 4)
    #expect(try norm.inference(x, running: running).floats == [0, 0, 0, 0])
    #expect(try norm.backward(x, x: x, running: running).dx.floats == [0, 0, 0, 0])
  }

  @Test func mistakesAreSentences() throws {
    let norm = BatchNormalization(lanes: TestLanes.all[0])
    let x = TestData.integers([4, 3], seed: 1)
    let error = #expect(throws: PlanError.self) {
      try norm.forward(x, scale: Tensor(zeros: [4]))
    }
    #expect(error?.description == "scale: is float32 [4], not float32 [3]")
    let statistics = try norm.forward(x).statistics
    #expect(throws: PlanError.self) {
      try norm.backward(Tensor(zeros: [3, 4]), x: x, statistics: statistics)
    }
    #expect(throws: PlanError.self) {
      try norm.forward(Tensor(zeros: [4, 3], elementType: .int64))
    }
    #expect(throws: GraphError.self) {
      try BatchNormalization(axis: 2, lanes: TestLanes.all[0]).forward(x)
    }
    #expect(throws: GraphError.self) {
      try BatchNormalization(.init(epsilon: -1), lanes: TestLanes.all[0]).forward(x)
    }
  }

  /// USERS §9, trap 10: callers at the same time get what is theirs.
  ///
  /// Call i has channels of mean 8·i + c and deviation 2ⁱ, ε = 0: y = ±1 + i exactly, in whatever order
  /// and with whatever instructions it is computed.
  @Test func trap10SimultaneousCallersDoNotMix() async throws {
    let norm = BatchNormalization(.init(epsilon: 0), lanes: TestLanes.all[1])
    let shape: Shape = [40, 9]
    try await withThrowingTaskGroup(of: (Int, Tensor).self) { group in
      for call in 0..<8 {
        group.addTask {
          let x = (0..<shape.count).map { index -> Float in
            let (row, channel) = (index / 9, index % 9)
            return Float(8 * call + channel + (row % 2 == 0 ? 1 : -1) * (1 << call))
          }
          let shift = Tensor(repeating: Float(call), shape: [9])
          return (call, try norm.forward(Tensor(x, shape: shape), shift: shift).y)
        }
      }
      for try await (call, y) in group {
        let expected = (0..<shape.count).map { Float(call + ($0 / 9 % 2 == 0 ? 1 : -1)) }
        #expect(y == Tensor(expected, shape: shape), "call \(call)")
      }
    }
  }
}
