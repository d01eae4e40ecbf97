import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// Recalibration and diagnosis.
@Suite struct RecalibrationTests {
  private let lanes = TestLanes.all[0]

  private func graph(_ estimator: RunningVariance = .unbiased) throws -> Graph {
    try Graph(input: .features(3)) {
      $0.batchNormalization(runningVariance: estimator, name: "first").dense(4).relu()
        .batchNormalization(runningVariance: estimator, name: "second").dropout(0.5).dense(2)
    }
  }

  /// The first layer sees the data themselves, whose moments are taken here in two passes in Double.
  @Test(arguments: [RunningVariance.unbiased, .population])
  func statisticsAreExact(_ estimator: RunningVariance) throws {
    let model = try randomModel(graph(estimator), seed: 5)
    let batches = [5, 7, 1, 12].enumerated().compactMap { index, count in
      count > 1 ? TestData.uniform([count, 3], in: 3...5, seed: UInt64(60 + index)) : nil
    }
    var recalibrated = model
    try recalibrated.recalibrate(on: batches, lanes: lanes)
    let rows = batches.flatMap(\.doubles)
    for c in 0..<3 {
      let values = stride(from: c, to: rows.count, by: 3).map { rows[$0] }
      let mean = values.reduce(0, +) / 24
      let m2 = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      let variance = m2 / (estimator == .unbiased ? 23 : 24)
      let found = [
        recalibrated.state["first.running_mean"]?.doubles[c] ?? 0,
        recalibrated.state["first.running_var"]?.doubles[c] ?? 0,
      ]
      // Blocks are summed in float about a shift: as the moments' own test bounds it.
      expectClose(found, [mean, variance], tolerance: 16 * Double(Float.ulpOfOne) * mean)
    }
    for layer in ["first", "second"] {
      #expect(recalibrated.state["\(layer).num_batches_tracked"] == Tensor(scalar: Int64(3)))
    }
    #expect(recalibrated.parameters == model.parameters && recalibrated.graph == model.graph)
    #expect(recalibrated.state["second.running_var"] != model.state["second.running_var"])
  }

  @Test func theOrderOfBatchesDoesNotMatter() throws {
    let model = try randomModel(graph(), seed: 5)
    let batches = (0..<6).map { TestData.uniform([4 + $0 % 3, 3], seed: UInt64(70 + $0)) }
    var expected = model
    try expected.recalibrate(on: batches, lanes: lanes)
    for seed in UInt64(1)...4 {
      let order = Philox(seed: seed, purpose: "batches").permutation(6)
      var other = model
      try other.recalibrate(on: order.map { batches[$0] }, lanes: TestLanes.all[1])
      #expect(other.state == expected.state, "order \(order)")
    }
  }

  @Test func frozenLayersStay() throws {
    var frozen = try graph()
    for index in frozen.nodes.indices {
      guard case .batchMoments(var moments) = frozen.nodes[index].operation,
        moments.running?.layer == "first"
      else { continue }
      moments.running?.source = .running
      moments.running?.updates = false
      frozen.nodes[index].operation = .batchMoments(moments)
    }
    let model = try randomModel(frozen, seed: 5)
    var recalibrated = model
    try recalibrated.recalibrate(on: [TestData.uniform([9, 3], seed: 1)], lanes: lanes)
    for name in model.state.keys {
      #expect(
        (model.state[name] == recalibrated.state[name]) == name.hasPrefix("first."), "\(name)")
    }
    let diagnoses = try model.diagnose(on: [TestData.uniform([99, 3], in: 7...8, seed: 1)])
    #expect(diagnoses.map(\.isFrozen) == [true, false])
    #expect(diagnoses[0].findings.map(\.kind) == [.frozenMismatch])
  }

  /// Labelled data: nine samples in batches of at most four are three of three, none of one.
  @Test func dataAreCutEvenly() throws {
    let data = try bands(9, size: 8, classes: 2, seed: 3)
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 1)) {
      $0.flatten().dense(3).batchNormalization(name: "n").dense(2)
    }
    var model = try Model(initializing: graph, seed: 2)
    try model.recalibrate(on: data, batchSize: 4, lanes: lanes)
    #expect(model.state["n.num_batches_tracked"] == Tensor(scalar: Int64(3)))
    // With a linear layer before, the moments do not depend on how the data are cut.
    var whole = try Model(initializing: graph, seed: 2)
    try whole.recalibrate(on: data, lanes: lanes)
    for name in ["n.running_mean", "n.running_var"] {
      let (a, b) = (try #require(model.state[name]), try #require(whole.state[name]))
      expectClose(a, b, tolerance: 1e-5, name)
    }
  }

  @Test func whatCannotBeChangesNothing() throws {
    let model = try randomModel(graph(), seed: 5)
    let bad = Tensor([1, 2, 3, .nan, 5, 6] as [Float], shape: [2, 3])
    for batches in [[], [bad], [Tensor(zeros: [1, 3])], [Tensor(zeros: [4, 2])]] {
      var other = model
      #expect(throws: (any Error).self) { try other.recalibrate(on: batches, lanes: lanes) }
      #expect(other.state == model.state)
    }
  }

  // MARK: Diagnosis

  private func kinds(_ model: Model, _ x: Tensor) throws -> [LayerDiagnosis.Finding.Kind] {
    try model.diagnose(on: [x], lanes: lanes)[0].findings.map(\.kind)
  }

  @Test func findsTheCause() throws {
    let graph = try Graph(input: .features(4)) { $0.batchNormalization(name: "n") }
    let x = TestData.uniform([200, 4], in: -3...3, seed: 11)
    var model = try Model(initializing: graph, seed: 1)
    #expect(try kinds(model, x) == [.neverUpdated])
    try model.recalibrate(on: [x], lanes: lanes)
    let healthy = try model.diagnose(on: [x], lanes: lanes)[0]
    #expect(healthy.findings.isEmpty && healthy.samples == 200 && healthy.channels == 4)
    #expect(healthy.meanDivergence < 1e-6 && abs(healthy.varianceRatio.upperBound - 1) < 1e-6)

    var changed = model
    try changed.setState("n.running_mean", to: Tensor([0, 0, 4, 0] as [Float]))
    #expect(try kinds(changed, x) == [.tooFewUpdates], "one update with .keepOld(0.9)")
    try changed.setState("n.num_batches_tracked", to: Tensor(scalar: Int64(1000)))
    let diagnosis = try changed.diagnose(on: [x], lanes: lanes)[0]
    #expect(diagnosis.findings.map(\.kind) == [.divergence] && diagnosis.worstChannel == 2)
    // 4 off, with a deviation of 6/√12.
    #expect(abs(diagnosis.meanDivergence - 4 / 3.0.squareRoot()) < 0.3)
    #expect(diagnosis.findings[0].description.contains("convnet recalibrate"))
    let small = TestData.uniform([8, 4], in: -3...3, seed: 11)
    #expect(try kinds(changed, small) == [.tinyBatches])
    try changed.setState("n.running_mean", to: Tensor([0, 0, 0, 0] as [Float]))
    try changed.setState("n.running_var", to: Tensor([9, 3, 3, 3] as [Float]))
    #expect(try kinds(changed, x) == [.divergence])

    for bad in [Float.nan, .infinity, -1] {
      changed = model
      try changed.setState("n.running_var", to: Tensor([3, bad, 3, 3] as [Float]))
      let diagnosis = try changed.diagnose(on: [x], lanes: lanes)[0]
      #expect(diagnosis.findings.first?.kind == .notFinite && diagnosis.invalidCount == 1)
      let frozen = try changed.freezingBatchNormalization()
      let remedy = try frozen.diagnose(on: [x], lanes: lanes)[0].findings[0].remedy
      #expect(remedy.contains("--data … --including-frozen;"), "\(remedy)")
    }
    changed = model
    try changed.setParameter("n.weight", to: Tensor([1, 1e-5, 1, 0] as [Float]))
    #expect(try changed.diagnose(on: [x], lanes: lanes)[0].smallScaleCount == 2)
    #expect(try kinds(changed, x) == [.deadScale])
  }

  /// A deviation of 3·10⁶, while everything is finite yet.
  @Test func findsExplodingChannels() throws {
    let graph = try Graph(input: .features(2)) { $0.batchNormalization(name: "n") }
    var model = try Model(initializing: graph, seed: 1)
    let noise = TestData.uniform([100, 2], in: -3...3, seed: 13).floats
    let x = Tensor(noise.enumerated().map { $0 % 2 == 0 ? $1 * 2e6 : $1 }, shape: [100, 2])
    try model.recalibrate(on: [x], lanes: lanes)
    let diagnosis = try model.diagnose(on: [x], lanes: lanes)[0]
    #expect(diagnosis.findings.map(\.kind) == [.exploding] && diagnosis.largeVarianceCount == 1)
  }

  @Test func findsConstantChannelsAndBadData() throws {
    let graph = try Graph(input: .features(2)) { $0.batchNormalization(name: "n") }
    var model = try Model(initializing: graph, seed: 1)
    var values = TestData.uniform([100, 2], in: -3...3, seed: 12).floats
    for row in 0..<100 { values[2 * row] = 5 }
    let x = Tensor(values, shape: [100, 2])
    try model.recalibrate(on: [x], lanes: lanes)
    let diagnosis = try model.diagnose(on: [x], lanes: lanes)[0]
    #expect(diagnosis.findings.map(\.kind) == [.constantChannels])
    #expect(diagnosis.smallVarianceCount == 1)
    values[3] = .nan
    let findings = try model.diagnose(on: [Tensor(values, shape: [100, 2])], lanes: lanes)[0]
      .findings
    #expect(findings.map(\.kind) == [.notFinite])
  }
}
