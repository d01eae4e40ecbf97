import ConvNet

/// Asks whether batch norm helps after dense layers, too.
package struct DenseExperiment: Experiment {
  package init() {}

  package var name: String { "dense" }

  package var claim: Claim {
    Claim(
      "Batch normalisation works after dense layers as it does after convolutions: a multilayer "
        + "perceptron with it learns faster and ends higher.",
      source: "Ioffe & Szegedy 2015, section 3.2")
  }

  private static let batchSize = 128

  private struct Variant: Sendable {
    var isNormalized: Bool
    var rate: Double

    var name: String { isNormalized ? "with batch norm" : "without batch norm" }
  }

  /// Test accuracies at the checkpoints; a training that stopped stays at chance.
  private typealias Course = [Double]

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let rates = context.choose(full: [0.01, 0.03, 0.1, 0.3], quick: [0.03, 0.1], tiny: [0.1])
    let steps = context.choose(full: 1500, quick: 150, tiny: 3)
    let variants = [true, false].flatMap { isNormalized in
      rates.map { Variant(isNormalized: isNormalized, rate: $0) }
    }
    let test = try context.test.sample(context.choose(full: 10_000, quick: 1000, tiny: 32))
    let checkpoints = (1...10).map { max($0 * steps / 10, 1) }
    let courses = try context.forEachSeed(
      of: variants,
      label: { variant, seed, course in
        "\(variant.name), rate \(variant.rate), seed \(seed): "
          + "\(decimal((course.last ?? 0) * 100, 2)) %"
      }
    ) { variant, seed, lanes -> Course in
      let trial = Trial(
        graph: try graph(context, isNormalized: variant.isNormalized), data: context.train,
        normalization: context.normalization,
        optimizer: .sgd(SGD(learningRate: variant.rate)),
        batchSize: min(Self.batchSize, context.train.count), steps: steps, seed: seed)
      var course: Course = []
      _ = try trial.run(lanes: lanes, checkpoints: Set(checkpoints)) {
        course.append(try context.accuracy($1.model, on: test, lanes: lanes))
      }
      let chance = 1 / Double(context.train.classCount)
      return course + Course(repeating: chance, count: Set(checkpoints).count - course.count)
    }
    return result(context, variants, Set(checkpoints).sorted(), courses)
  }

  private func graph(_ context: ExperimentContext, isNormalized: Bool) throws -> Graph {
    let units = context.choose(full: 256, quick: 256, tiny: 4)
    return try Graph(input: context.inputType) { x in
      (0..<4).reduce(x.flatten()) { x, _ in
        let y = x.dense(units, bias: !isNormalized)
        return (isNormalized ? y.batchNormalization() : y).relu()
      }.dense(context.train.classCount)
    }
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ variants: [Variant], _ checkpoints: [Int], _ courses: [[Course]]
  ) -> ExperimentResult {
    let final = courses.map { Sample($0.map { $0.last ?? 0 }) }
    let first = courses.map { Sample($0.map { $0.first ?? 0 }) }
    let half = variants.count / 2
    var table = ExperimentResult.Table([
      "network", "rate", "after \(checkpoints[0]) steps", "after \(checkpoints.last ?? 0) steps",
    ])
    for (index, variant) in variants.enumerated() {
      table.rows.append([
        variant.name, decimal(variant.rate, 2), first[index].percent, final[index].percent,
      ])
    }
    // Each network at the rate that suits it best.
    func best(_ range: Range<Int>) -> Int {
      range.max { final[$0].mean < final[$1].mean } ?? range.lowerBound
    }
    let (normalized, plain) = (best(0..<half), best(half..<variants.count))
    /// From the worst to the best rate, seed by seed.
    func spread(_ range: Range<Int>) -> Sample {
      Sample(
        context.seeds.indices.map { seed in
          let accuracies = range.map { final[$0].values[seed] }
          return (accuracies.max() ?? 0) - (accuracies.min() ?? 0)
        })
    }
    let spreads = (spread(0..<half), spread(half..<variants.count))
    let steps = checkpoints.last ?? 0
    var checks: [Verdict.Check] = [
      .init(
        "at its best rate each ends at \(final[normalized].percent) with batch norm "
          + "(\(variants[normalized].rate)) and \(final[plain].percent) without "
          + "(\(variants[plain].rate)) after \(steps) steps",
        final[normalized].isClearlyAbove(final[plain])),
      .init(
        "after \(checkpoints[0]) steps of the same trainings they are at "
          + "\(first[normalized].percent) and \(first[plain].percent)",
        first[normalized].isClearlyAbove(first[plain])),
    ]
    if half > 1 {
      checks.append(
        .init(
          "from the worst to the best rate accuracy changes by \(spreads.0.points) with batch norm and "
            + "\(spreads.1.points) without",
          spreads.1.isClearlyAbove(spreads.0)))
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", "four hidden layers of 256 ReLU units"),
        .init(
          "training",
          "\(steps) steps of \(Self.batchSize) images, SGD of momentum 0.9, constant rate"),
      ], table: table,
      figures: [figure(variants, [normalized, plain], checkpoints, courses)],
      verdict: Verdict(checks))
  }

  private func figure(
    _ variants: [Variant], _ chosen: [Int], _ checkpoints: [Int], _ courses: [[Course]]
  ) -> Figure {
    Figure(
      "Multilayer perceptron, each at its best rate", x: .init("steps"),
      y: .init("test accuracy, %"),
      series: chosen.map { index in
        Figure.Series(
          "\(variants[index].name), rate \(variants[index].rate)",
          checkpoints.indices.map { point in
            Figure.Point(
              Double(checkpoints[point]), Sample(courses[index].map { $0[point] * 100 }))
          })
      })
  }
}
