import ConvNet

/// Asks how large the learning rate may be.
package struct LearningRateExperiment: Experiment {
  package init() {}

  package var name: String { "learning-rate" }

  package var claim: Claim {
    Claim(
      "Batch normalisation allows much higher learning rates: at rates from 5 to 30 times the base "
        + "rate networks with it train and networks without it diverge.",
      source: "Ioffe & Szegedy 2015, sections 3.3 and 4.2.2 (BN-x5, BN-x30)")
  }

  private static let variants = [true, false]
  private static let baseRate = 0.01

  private struct Variant: Sendable {
    var isNormalized: Bool
    var factor: Double
  }

  private struct Outcome: Sendable {
    var accuracy: Double
    var hasDiverged: Bool
    var stoppedAt: Int?
  }

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let factors: [Double] = context.choose(
      full: [0.1, 0.3, 1, 2, 5, 10, 20, 30, 50, 100], quick: [1, 5, 30], tiny: [1, 30])
    let steps = context.choose(full: 800, quick: 100, tiny: 3)
    let data = try context.train.sample(context.choose(full: 20_000, quick: 5000, tiny: 64))
    let test = try context.test.sample(context.choose(full: 10_000, quick: 1000, tiny: 32))
    let variants = Self.variants.flatMap { isNormalized in
      factors.map { Variant(isNormalized: isNormalized, factor: $0) }
    }
    let outcomes = try context.forEachSeed(
      of: variants,
      label: { variant, seed, outcome -> String in
        let end =
          outcome.hasDiverged ? "diverged" : "\(decimal(outcome.accuracy * 100, 2)) %"
        return
          "\(title(variant.isNormalized)), rate ×\(shortest(variant.factor)), seed \(seed): \(end)"
      }
    ) { variant, seed, lanes -> Outcome in
      let trial = Trial(
        graph: try context.convolutionalGraph(bias: !variant.isNormalized) {
          (variant.isNormalized ? $0.batchNormalization() : $0).relu()
        }, data: data, normalization: context.normalization,
        optimizer: .sgd(SGD(learningRate: Self.baseRate * variant.factor)),
        batchSize: min(64, data.count), steps: steps, seed: seed)
      let outcome = try trial.run(lanes: lanes)
      let hasDiverged = outcome.hasDiverged(classes: data.classCount)
      return Outcome(
        accuracy: try hasDiverged
          ? 1 / Double(data.classCount) : context.accuracy(outcome.model, on: test, lanes: lanes),
        hasDiverged: hasDiverged, stoppedAt: outcome.stoppedAt)
    }
    let half = outcomes.count / 2
    return result(
      context, factors, steps: steps, images: data.count,
      normalized: Array(outcomes[..<half]), plain: Array(outcomes[half...]))
  }

  private func title(_ isNormalized: Bool) -> String {
    isNormalized ? "with batch norm" : "without batch norm"
  }

  private func result(
    _ context: ExperimentContext, _ factors: [Double], steps: Int, images: Int,
    normalized: [[Outcome]], plain: [[Outcome]]
  ) -> ExperimentResult {
    func cell(_ outcomes: [Outcome]) -> String {
      let learned = outcomes.filter { !$0.hasDiverged }
      let lost = outcomes.count - learned.count
      let accuracy = Sample(learned.map(\.accuracy)).percent
      if lost == 0 { return accuracy }
      let stops = outcomes.compactMap(\.stoppedAt).map(String.init).joined(separator: ", ")
      let place = stops.isEmpty ? "" : ", not finite at step \(stops)"
      return (learned.isEmpty ? "" : "\(accuracy), ") + "\(lost) of \(outcomes.count) diverged"
        + place
    }
    let table = ExperimentResult.Table(
      ["rate", "× base", "with batch norm", "without batch norm"],
      factors.indices.map {
        [
          decimal(factors[$0] * Self.baseRate, 3), shortest(factors[$0]), cell(normalized[$0]),
          cell(plain[$0]),
        ]
      })
    /// The largest factor up to which every seed of every rate learned.
    func limit(_ outcomes: [[Outcome]]) -> Double {
      let learned = zip(factors, outcomes).prefix { !$0.1.contains(where: \.hasDiverged) }
      return learned.last?.0 ?? 0
    }
    let limits = (limit(normalized), limit(plain))
    func best(_ outcomes: [[Outcome]]) -> Sample {
      outcomes.map { Sample($0.map(\.accuracy)) }.max { $0.mean < $1.mean } ?? Sample([])
    }
    let high = factors.indices.filter { (5...30).contains(factors[$0]) }
    func counts(_ outcomes: [[Outcome]]) -> String {
      list(high.map { "\(outcomes[$0].count(where: \.hasDiverged))" })
    }
    let rates = list(high.map { shortest(factors[$0]) })
    let verdict = Verdict([
      .init(
        "every training with batch norm learns up to \(shortest(limits.0)) times the base rate of "
          + "\(Self.baseRate), without up to \(shortest(limits.1)) times",
        limits.0 >= 5 && limits.0 > limits.1),
      .init(
        "with batch norm \(counts(normalized)) of \(context.seeds.count) trainings diverge at \(rates) times "
          + "the base rate",
        !high.contains { normalized[$0].contains(where: \.hasDiverged) }),
      .init(
        "without batch norm \(counts(plain)) of \(context.seeds.count) trainings diverge at \(rates) "
          + "times the base rate",
        high.allSatisfy { plain[$0].allSatisfy(\.hasDiverged) }),
      .init(
        "at its best rate each reaches \(best(normalized).percent) and \(best(plain).percent)",
        best(normalized).isClearlyAbove(best(plain))),
    ])
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", ExperimentContext.convolutionalText),
        .init(
          "training",
          "\(steps) steps of 64 of \(images) images, SGD of momentum 0.9, constant rate"),
        .init(
          "diverged", "a loss or gradient is not finite, or the last losses are no better than ln K"
        ),
      ], table: table,
      figures: [figure(factors, normalized: normalized, plain: plain)], verdict: verdict)
  }

  /// Things said one after the other.
  private func list(_ texts: [String]) -> String {
    guard let last = texts.last, texts.count > 1 else { return texts.first ?? "" }
    return texts.dropLast().joined(separator: ", ") + " and " + last
  }

  private func figure(
    _ factors: [Double], normalized: [[Outcome]], plain: [[Outcome]]
  ) -> Figure {
    func series(_ isNormalized: Bool, _ outcomes: [[Outcome]]) -> Figure.Series {
      Figure.Series(
        title(isNormalized),
        zip(factors, outcomes).map {
          Figure.Point($0 * Self.baseRate, Sample($1.map { $0.accuracy * 100 }))
        })
    }
    return Figure(
      "Test accuracy over the learning rate", x: Figure.Axis("learning rate", scale: .log10),
      y: Figure.Axis("test accuracy, %"), series: [series(true, normalized), series(false, plain)])
  }
}
