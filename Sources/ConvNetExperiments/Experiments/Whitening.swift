import ConvNet

/// Batch norm against decorrelated batch norm, which also removes the correlation of channels.
package struct WhiteningExperiment: Experiment {
  package init() {}

  package var name: String { "whitening" }

  package var claim: Claim {
    Claim(
      "Removing the correlation of channels, too, trains in fewer steps than normalising each by itself, "
        + "but every step costs so much more that batch norm is the better bargain.",
      source: "Ioffe & Szegedy 2015, sections 2 and 3; Huang et al. 2018, section 4")
  }

  private enum Variant: String, CaseIterable {
    case plain = "neither"
    case normalized = "batch norm"
    case decorrelated = "decorrelated batch norm"
  }

  private static let batchSize = 64
  private static let learningRate = 0.05
  private static func rounds(_ context: ExperimentContext) -> Int {
    context.choose(full: 3, quick: 2, tiny: 1)
  }

  /// Test accuracies at the checkpoints; a training that stopped stays at chance.
  private typealias Course = [Double]

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let steps = context.choose(full: 1200, quick: 80, tiny: 2)
    let data = try context.train.sample(context.choose(full: 20_000, quick: 2000, tiny: 64))
    let test = try context.test.sample(context.choose(full: 10_000, quick: 500, tiny: 20))
    let checkpoints = Set((1...30).map { max($0 * steps / 30, 1) }).sorted()
    let courses = try context.forEachSeed(
      of: Variant.allCases,
      label: { variant, seed, course in
        "\(variant.rawValue), seed \(seed): \(decimal((course.last ?? 0) * 100, 2)) %"
      }
    ) { variant, seed, lanes -> Course in
      var course: Course = []
      let trial = try trial(context, variant, data, steps: steps, seed: seed)
      _ = try trial.run(lanes: lanes, checkpoints: Set(checkpoints)) {
        course.append(try context.accuracy($1.model, on: test, lanes: lanes))
      }
      let chance = 1 / Double(data.classCount)
      while course.count < checkpoints.count { course.append(chance) }
      return course
    }
    let seconds = try stepSeconds(context, data)
    return result(
      context, steps: steps, images: data.count, checkpoints, courses, seconds)
  }

  private func trial(
    _ context: ExperimentContext, _ variant: Variant, _ data: TrainingData, steps: Int, seed: UInt64
  ) throws -> Trial {
    let graph = try context.convolutionalGraph(bias: variant == .plain) {
      switch variant {
      case .plain: $0.relu()
      case .normalized: $0.batchNormalization().relu()
      case .decorrelated: $0.decorrelatedBatchNormalization(groupSize: 8).relu()
      }
    }
    return Trial(
      graph: graph, data: data, normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: Self.learningRate)),
      batchSize: min(Self.batchSize, data.count), steps: steps, seed: seed)
  }

  /// What a step takes on one lane, the networks in turns: for each seed the mean over rounds of the
  /// shortest step.
  private func stepSeconds(
    _ context: ExperimentContext, _ data: TrainingData
  ) throws -> [Sample] {
    let lanes = try Lanes(count: 1)
    let batch = min(Self.batchSize, data.count)
    var failure: (any Error)?
    let bodies = try Variant.allCases.map { variant in
      let trial = try trial(context, variant, data, steps: 1, seed: context.seeds[0])
      // Repeated on one batch, larger steps could diverge; the clock does not see the rate.
      let trainer = try Trainer(
        model: trial.initialModel(), optimizer: .sgd(SGD(learningRate: 1e-6)), batchSize: batch,
        lanes: lanes)
      var batches = Batches(data, context.normalization, batchSize: batch, seed: 0)
      let (images, labels) = batches.next()
      return {
        do { try trainer.step(images: images, labels: labels) } catch { failure = error }
      }
    }
    let rounds = Self.rounds(context)
    let means = context.seeds.map { _ in
      let shortest = (0..<rounds).map { _ in
        Timing.compare(rounds: 1, seconds: context.choose(full: 0.5, quick: 0.1, tiny: 0), bodies)
          .map(\.minimum)
      }
      return Variant.allCases.indices.map { index in Sample(shortest.map { $0[index] }).mean }
    }
    if let failure { throw failure }
    return Variant.allCases.indices.map { index in Sample(means.map { $0[index] }) }
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, steps: Int, images: Int, _ checkpoints: [Int],
    _ courses: [[Course]], _ seconds: [Sample]
  ) -> ExperimentResult {
    let ends = courses.map { Sample($0.map { $0.last ?? 0 }) }
    // What both normalised networks have reached, on average, after half of their steps.
    let goal = courses[1...].reduce(1) { min($0, Sample($1.map { $0[$0.count / 2] }).mean) }
    let reached = courses.map { course in
      Sample(
        course.map { accuracies in
          Double(accuracies.firstIndex { $0 >= goal }.map { checkpoints[$0] } ?? steps)
        })
    }
    let unreached = courses.map { $0.count { !$0.contains { $0 >= goal } } }
    let times = zip(reached, seconds).map { steps, seconds in
      Sample(zip(steps.values, seconds.values).map { $0 * $1 })
    }
    let costs = seconds.map { sample in
      Sample(zip(sample.values, seconds[1].values).map { $0 / $1 })
    }
    let goalText = "\(decimal(goal * 100, 2)) %"
    func course(_ index: Int) -> String {
      let never = unreached[index] == 0 ? "" : " (never in \(unreached[index]) trainings)"
      return reached[index].text(0) + never
    }
    var table = ExperimentResult.Table([
      "between convolution and ReLU", "test accuracy", "steps to \(goalText)", "ms a step",
      "× batch norm's", "seconds to \(goalText)",
    ])
    for (index, variant) in Variant.allCases.enumerated() {
      func cell(_ text: String) -> String {
        unreached[index] == 0
          ? text : "not reached by \(unreached[index]) of \(courses[index].count)"
      }
      table.rows.append([
        variant.rawValue, ends[index].percent, cell(reached[index].text(0)),
        Sample(seconds[index].values.map { $0 * 1000 }).text(2), costs[index].text(2),
        cell(times[index].text(1)),
      ])
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", ExperimentContext.convolutionalText),
        .init("whitening", "ZCA in groups of 8 channels, running mean and covariance"),
        .init(
          "training",
          "\(steps) steps of \(Self.batchSize) of \(images) images, SGD of rate "
            + "\(Self.learningRate) and momentum 0.9"),
        .init(
          "time",
          "for each seed the mean of the shortest steps of \(Self.rounds(context)) rounds, in turns, one "
            + "lane"),
      ], table: table, figures: [figure(checkpoints, courses)],
      verdict: Verdict([
        .init(
          "decorrelated batch norm is at \(goalText) after \(course(2)) steps, batch norm after "
            + course(1),
          reached[1].isClearlyAbove(reached[2])),
        .init(
          "a step takes \(costs[2].text(2)) times as long",
          costs[2].isClearlyAbove(costs[1])),
        .init(
          "so \(goalText) takes \(times[2].text(1)) s with it and \(times[1].text(1)) s with batch norm",
          times[2].isClearlyAbove(times[1])),
      ]))
  }

  private func figure(_ checkpoints: [Int], _ courses: [[Course]]) -> Figure {
    Figure(
      "Test accuracy with and without whitening", x: Figure.Axis("steps"),
      y: Figure.Axis("test accuracy, %"),
      series: zip(Variant.allCases, courses).map { variant, seeds in
        Figure.Series(
          variant.rawValue,
          checkpoints.indices.map { index in
            Figure.Point(Double(checkpoints[index]), Sample(seeds.map { $0[index] * 100 }))
          })
      })
  }
}
