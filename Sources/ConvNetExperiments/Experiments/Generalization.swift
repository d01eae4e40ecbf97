import ConvNet

/// Asks whether batch norm regularises and replaces dropout.
package struct GeneralizationExperiment: Experiment {
  package init() {}

  package var name: String { "generalisation" }

  package var claim: Claim {
    Claim(
      "Batch normalisation regularises: it narrows the gap between training and test accuracy, and "
        + "dropout can be left out with it.",
      source: "Ioffe & Szegedy 2015, sections 3.4 and 4.2.1")
  }

  private enum Variant: String, CaseIterable {
    case none = "neither"
    case dropout
    case normalized = "batch norm"
    case both

    var isNormalized: Bool { self == .normalized || self == .both }
    var drops: Bool { self == .dropout || self == .both }
  }

  private struct Job: Sendable {
    var variant: Variant
    var images: Int
    var epochs: Int
  }

  private struct Accuracies: Sendable {
    var train: Double
    var test: Double
  }

  private static let dropoutRate = 0.5

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let (large, few) = (context.train.count, min(1000, context.train.count / 2))
    let sizes = context.choose(
      full: [(large, 4), (few, 60)], quick: [(5000, 2), (500, 20)], tiny: [(large, 1), (few, 1)])
    let jobs = sizes.flatMap { size in
      Variant.allCases.map { Job(variant: $0, images: size.0, epochs: size.1) }
    }
    let outcomes = try context.forEachSeed(
      of: jobs,
      label: { job, seed, accuracies in
        "\(job.variant.rawValue), \(job.images) images, seed \(seed): "
          + "\(decimal(accuracies.train * 100, 2)) % and \(decimal(accuracies.test * 100, 2)) %"
      }
    ) { try accuracies(context, $0, seed: $1, lanes: $2) }
    return result(context, jobs, outcomes)
  }

  private func accuracies(
    _ context: ExperimentContext, _ job: Job, seed: UInt64, lanes: Lanes
  ) throws -> Accuracies {
    let data = try context.train.sample(job.images)
    let test = try context.test.sample(
      context.choose(full: 10_000, quick: 1000, tiny: 32))
    let graph = try context.convolutionalGraph(bias: !job.variant.isNormalized) {
      (job.variant.isNormalized ? $0.batchNormalization() : $0).relu()
    } head: {
      job.variant.drops ? $0.dropout(Self.dropoutRate) : $0
    }
    let batchSize = min(64, data.count)
    let steps = job.epochs * data.stepCount(batchSize: batchSize)
    let trial = Trial(
      graph: graph, data: data, normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: 0.05)), schedule: .cosine(steps: steps),
      batchSize: batchSize, steps: steps, seed: seed)
    let model = try trial.run(lanes: lanes).model
    return Accuracies(
      train: try context.accuracy(model, on: data.sample(10_000), lanes: lanes),
      test: try context.accuracy(model, on: test, lanes: lanes))
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ jobs: [Job], _ outcomes: [[Accuracies]]
  ) -> ExperimentResult {
    var table = ExperimentResult.Table([
      "images", "regularisation", "training accuracy", "test accuracy", "gap",
    ])
    for (job, accuracies) in zip(jobs, outcomes) {
      table.rows.append([
        "\(job.images)", job.variant.rawValue, Sample(accuracies.map(\.train)).percent,
        Sample(accuracies.map(\.test)).percent, gap(accuracies).points,
      ])
    }
    let count = Variant.allCases.count
    let all = stride(from: 0, to: jobs.count, by: count).flatMap { start in
      checks(jobs[start].images, Array(outcomes[start..<start + count]))
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", ExperimentContext.convolutionalText),
        .init("dropout", "half of the inputs of the dense layer"),
        .init("training accuracy", "of all training images, or of 10000 of them"),
        .init(
          "training",
          "batches of 64, SGD of rate 0.05 and momentum 0.9, half a cosine, "
            + jobs.reduce(into: [String]()) { texts, job in
              let text = "\(job.epochs) epochs of \(job.images) images"
              if texts.last != text { texts.append(text) }
            }.joined(separator: ", ")),
      ], table: table, figures: [figure(jobs, outcomes)], verdict: Verdict(all))
  }

  private func gap(_ accuracies: [Accuracies]) -> Sample {
    Sample(accuracies.map { $0.train - $0.test })
  }

  private func checks(_ images: Int, _ outcomes: [[Accuracies]]) -> [Verdict.Check] {
    func test(_ variant: Variant) -> Sample {
      Sample(outcomes[Variant.allCases.firstIndex(of: variant) ?? 0].map(\.test))
    }
    let gaps = outcomes.map(gap)
    let tests = (
      none: test(.none), dropout: test(.dropout), normalized: test(.normalized), both: test(.both)
    )
    return [
      .init(
        "of \(images) images, training accuracy is above test accuracy by \(gaps[2].points) with "
          + "batch norm and by \(gaps[0].points) with neither",
        gaps[0].isClearlyAbove(gaps[2])),
      .init(
        "test accuracy is \(tests.normalized.percent) with batch norm, \(tests.none.percent) with "
          + "neither, \(tests.dropout.percent) with dropout and \(tests.both.percent) with both",
        tests.normalized.isClearlyAbove(tests.none)
          && !tests.dropout.isClearlyAbove(tests.normalized)
          && !tests.both.isClearlyAbove(tests.normalized)),
    ]
  }

  /// Training and test accuracy of each kind of regularisation, for each size of training set.
  private func figure(_ jobs: [Job], _ outcomes: [[Accuracies]]) -> Figure {
    let sizes = jobs.reduce(into: [Int]()) { if $0.last != $1.images { $0.append($1.images) } }
    let series = Variant.allCases.enumerated().flatMap { index, variant in
      [false, true].map { isTest in
        Figure.Series(
          "\(variant.rawValue), \(isTest ? "test" : "training")",
          sizes.indices.map { size in
            let accuracies = outcomes[size * Variant.allCases.count + index]
            return Figure.Point(
              Double(sizes[size]), Sample(accuracies.map { (isTest ? $0.test : $0.train) * 100 }))
          }, isDashed: !isTest, color: index)
      }
    }
    return Figure(
      "Training and test accuracy", x: .init("training images", scale: .log10),
      y: .init("accuracy, %"), series: series)
  }
}
