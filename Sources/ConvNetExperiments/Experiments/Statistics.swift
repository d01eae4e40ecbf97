import ConvNet

/// Asks whether running statistics do what the batch's own did, and what recalibration mends.
package struct StatisticsExperiment: Experiment {
  package init() {}

  package var name: String { "statistics" }

  package var claim: Claim {
    Claim(
      "Running averages stand for a batch's statistics only after enough steps for their decay: before, "
        + "a network does worse in inference than in training mode, and exact statistics mend that.",
      source: "Ioffe & Szegedy 2015, section 3.1; Wu & Johnson 2021, section 3")
  }

  private static let batchSize = 128
  /// The difference of accuracies that counts.
  private static let limit = 0.02

  private struct Reading: Sendable {
    /// The part of the test images recognised with the statistics of their own batches.
    var batch: Double
    /// With running statistics as training left them, and recalibrated.
    var running: Double
    var recalibrated: Double
    /// The largest distance of a running mean from the exact one, in deviations.
    var distance: Double
  }

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let decays = context.choose(full: [0.9, 0.99, 0.999], quick: [0.9, 0.99], tiny: [0.9])
    let checkpoints = context.choose(
      full: [3, 10, 30, 100, 300, 1000], quick: [3, 10, 60], tiny: [1, 3])
    let data = try context.train.sample(context.choose(full: 20_000, quick: 2000, tiny: 64))
    let test = try context.test.sample(context.choose(full: 10_000, quick: 1000, tiny: 32))
    let readings = try context.forEachSeed(
      of: decays,
      label: { decay, seed, readings -> String in
        let last = readings.last.map { decimal($0.running * 100, 2) } ?? ""
        return "decay \(decay), seed \(seed): \(last) % in inference at the end"
      }
    ) { decay, seed, lanes -> [Reading] in
      var readings: [Reading] = []
      let own = try graph(context, decay: decay, tracks: false)
      let trial = Trial(
        graph: try graph(context, decay: decay, tracks: true), data: data,
        normalization: context.normalization, optimizer: .sgd(SGD(learningRate: 0.05)),
        batchSize: min(Self.batchSize, data.count), steps: checkpoints.last ?? 1, seed: seed)
      let outcome = try trial.run(lanes: lanes, checkpoints: Set(checkpoints)) {
        readings.append(
          try reading(context, $1.model, own, data: data, test: test, lanes: lanes))
      }
      try outcome.checkThatItFinished(seed: seed)
      return readings
    }
    return result(context, decays, checkpoints, images: data.count, readings)
  }

  /// - Parameter tracks: without running statistics inference normalises with the batch's own, as training.
  private func graph(_ context: ExperimentContext, decay: Double, tracks: Bool) throws -> Graph {
    try context.convolutionalGraph(bias: false) {
      $0.batchNormalization(decay: .keepOld(decay), tracksRunningStatistics: tracks).relu()
    }
  }

  private func reading(
    _ context: ExperimentContext, _ model: Model, _ own: Graph, data: TrainingData,
    test: TrainingData, lanes: Lanes
  ) throws -> Reading {
    let training = try Model(
      graph: own, parameters: model.parameters, state: [:], metadata: model.metadata)
    let size = min(Self.batchSize, test.count)
    // Whole batches only, so that all are like those of training.
    let whole = try test.prefix(test.count / size * size)
    var recalibrated = model
    try recalibrated.recalibrate(
      on: data.sample(4096), batchSize: min(Self.batchSize, data.count), lanes: lanes)
    let changes = try recalibrated.statisticsChanges(since: model)
    return Reading(
      batch: try Evaluator(training, batchSize: size, lanes: lanes).evaluate(whole).accuracy,
      running: try context.accuracy(model, on: whole, lanes: lanes),
      recalibrated: try context.accuracy(recalibrated, on: whole, lanes: lanes),
      distance: changes.map(\.meanChange).max() ?? 0)
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ decays: [Double], _ checkpoints: [Int], images: Int,
    _ readings: [[[Reading]]]
  ) -> ExperimentResult {
    var table = ExperimentResult.Table([
      "decay", "steps", "batch statistics", "running", "recalibrated", "means off by",
    ])
    for (decay, seeds) in zip(decays, readings) {
      for (index, steps) in checkpoints.enumerated() {
        func sample(_ path: KeyPath<Reading, Double>) -> Sample { Self.sample(seeds, index, path) }
        table.rows.append([
          "\(decay)", "\(steps)", sample(\.batch).percent, sample(\.running).percent,
          sample(\.recalibrated).percent, sample(\.distance).text(2),
        ])
      }
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", ExperimentContext.convolutionalText),
        .init(
          "training",
          "batches of \(Self.batchSize) of \(images) images, SGD of rate 0.05 and "
            + "momentum 0.9"),
        .init("recalibrated", "exact statistics of up to 4096 training images"),
        .init("differ", "by \(decimal(Self.limit * 100, 0)) points of accuracy or more"),
        .init("means off by", "largest |running − exact mean| in deviations, over all channels"),
      ], table: table, figures: [figure(decays, checkpoints, readings)],
      verdict: Verdict(checks(decays, checkpoints, readings)))
  }

  private static func sample(
    _ seeds: [[Reading]], _ index: Int, _ path: KeyPath<Reading, Double>
  ) -> Sample {
    Sample(seeds.map { $0[index][keyPath: path] })
  }

  private func checks(
    _ decays: [Double], _ checkpoints: [Int], _ readings: [[[Reading]]]
  ) -> [Verdict.Check] {
    func gap(_ decay: Int, _ index: Int, _ path: KeyPath<Reading, Double>) -> Sample {
      Sample(readings[decay].map { abs($0[index].batch - $0[index][keyPath: path]) })
    }
    let (slow, last) = (decays.count - 1, checkpoints.count - 1)
    // Few steps for the slowest decay, but enough to have learned something.
    let early = max(checkpoints.lastIndex { Double($0) * (1 - decays[slow]) <= 0.35 } ?? 0, 0)
    let all = decays.indices.flatMap { decay in
      checkpoints.indices.map { gap(decay, $0, \.recalibrated).mean }
    }
    let worst = all.max() ?? 0
    return [
      .init(
        "after \(checkpoints[early]) steps of decay \(decays[slow]) running and batch statistics "
          + "differ by \(gap(slow, early, \.running).points) of accuracy",
        gap(slow, early, \.running).mean >= Self.limit),
      .init(
        "after \(checkpoints[last]) steps of decay \(decays[0]) they differ by "
          + "\(gap(0, last, \.running).points)",
        gap(0, last, \.running).mean < Self.limit),
      .init(
        "recalibrated and batch statistics differ by at most \(decimal(worst * 100, 2)) points after any "
          + "number of steps of any decay",
        worst < Self.limit),
    ]
  }

  private func figure(
    _ decays: [Double], _ checkpoints: [Int], _ readings: [[[Reading]]]
  ) -> Figure {
    func series(
      _ name: String, _ decay: Int, _ path: KeyPath<Reading, Double>, isDashed: Bool = false,
      color: Int
    ) -> Figure.Series {
      let points = checkpoints.indices.map { index in
        Figure.Point(
          Double(checkpoints[index]),
          Sample(readings[decay].map { $0[index][keyPath: path] * 100 }))
      }
      return Figure.Series(name, points, isDashed: isDashed, color: color)
    }
    let running = decays.indices.map {
      series("running, decay \(decays[$0])", $0, \.running, color: $0)
    }
    return Figure(
      "Test accuracy by the statistics that inference uses", x: .init("steps", scale: .log10),
      y: .init("test accuracy, %"),
      series: running + [
        series("recalibrated", 0, \.recalibrated, color: decays.count),
        series("batch statistics", 0, \.batch, isDashed: true, color: decays.count + 1),
      ])
  }
}
