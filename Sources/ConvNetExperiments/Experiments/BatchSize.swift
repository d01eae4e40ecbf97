import ConvNet

/// Asks what small batches cost, and whether ghost batches, renormalisation or groups help.
package struct BatchSizeExperiment: Experiment {
  package init() {}

  package var name: String { "batch-size" }

  package var claim: Claim {
    Claim(
      "Batch normalisation loses accuracy with very small batches; batch renormalisation and group "
        + "normalisation lose less, and ghost batches do not hurt large ones.",
      source: "Ioffe 2017, section 4.2; Wu & He 2018, figure 1; Hoffer, Hubara & Soudry 2017")
  }

  private enum Variant: String, CaseIterable {
    case batch = "batch norm"
    case ghost = "ghost batches"
    case renormalized = "renormalisation"
    case group = "group norm"
  }

  private struct Job: Hashable, Sendable {
    var variant: Variant
    var batchSize: Int

    /// Whether ghost batches would be the whole batch: batch norm to the bit.
    var isWhole: Bool { variant == .ghost && batchSize <= ghostSize }

    /// The job whose result this one's is.
    var same: Job { isWhole ? Job(variant: .batch, batchSize: batchSize) : self }
  }

  private static let ghostSize = 16
  private static let epochs = 3
  /// Maps shrink to a single position, so that the statistics of small batches are those of few numbers;
  /// where all maps are large, even two images give good ones.
  private static let layers = [16, 32, 64, 128, 128].map { (filters: $0, stride: 2) }
  /// What ghost batches may lose before they count as hurting, as part of all answers.
  private static let margin = 0.005
  /// The rate for a batch of one; larger batches have one as much larger.
  private static let ratePerImage = 0.1 / 128

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let sizes = context.choose(
      full: [2, 4, 8, 16, 32, 64, 128, 256], quick: [2, 16, 128], tiny: [2, 8])
    let seen = context.choose(full: 16_384, quick: 2048, tiny: 16)
    let jobs = Variant.allCases.flatMap { variant in
      sizes.map { Job(variant: variant, batchSize: $0) }
    }.filter { !$0.isWhole }
    let accuracies = try context.forEachSeed(
      of: jobs,
      label: { job, seed, accuracy in
        "\(job.variant.rawValue), batches of \(job.batchSize), seed \(seed): "
          + "\(decimal(accuracy * 100, 2)) %"
      }
    ) { try accuracy(context, $0, images: seen, seed: $1, lanes: $2) }
    let samples = zip(jobs, accuracies).map { ($0, Sample($1)) }
    let found = Dictionary(samples) { first, _ in first }
    let all = Variant.allCases.map { variant in
      sizes.compactMap { found[Job(variant: variant, batchSize: $0).same] }
    }
    return result(context, sizes, images: seen, all)
  }

  private func accuracy(
    _ context: ExperimentContext, _ job: Job, images: Int, seed: UInt64, lanes: Lanes
  ) throws -> Double {
    let graph = try context.convolutionalGraph(Self.layers, bias: false) { x in
      switch job.variant {
      case .batch: x.batchNormalization().relu()
      case .ghost:
        x.batchNormalization(statistics: .init(ghostBatchSize: Self.ghostSize)).relu()
      case .renormalized: x.batchNormalization(statistics: .init(renormalizes: true)).relu()
      case .group: x.groupNormalization(groups: 8).relu()
      }
    }
    let steps = max(Self.epochs * images / job.batchSize, 1)
    let data = try context.train.sample(images)
    let trial = Trial(
      graph: graph, data: data, normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: Self.ratePerImage * Double(job.batchSize))),
      schedule: .cosine(steps: steps, warmUpSteps: steps / 20),
      renormalization: RenormalizationSchedule(
        warmUpSteps: steps / 20, scaleSteps: steps / 4, shiftSteps: steps / 4),
      batchSize: job.batchSize, steps: steps, seed: seed)
    let outcome = try trial.run(lanes: lanes)
    let test = try context.test.sample(context.choose(full: 10_000, quick: 1000, tiny: 32))
    return try outcome.stoppedAt != nil
      ? 1 / Double(data.classCount) : context.accuracy(outcome.model, on: test, lanes: lanes)
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ sizes: [Int], images: Int, _ accuracies: [[Sample]]
  ) -> ExperimentResult {
    func of(_ variant: Variant) -> [Sample] {
      accuracies[Variant.allCases.firstIndex(of: variant) ?? 0]
    }
    let table = ExperimentResult.Table(
      ["batch"] + Variant.allCases.map(\.rawValue),
      sizes.indices.map { index in
        ["\(sizes[index])"] + Variant.allCases.map { of($0)[index].percent }
      })
    let figure = Figure(
      "Test accuracy over the batch size", x: .init("images of a batch", scale: .log2),
      y: .init("test accuracy, %"),
      series: Variant.allCases.map { variant in
        Figure.Series(
          variant.rawValue,
          zip(sizes, of(variant)).map {
            Figure.Point(Double($0), Sample($1.values.map { $0 * 100 }))
          })
      })
    return ExperimentResult(
      self, context,
      settings: [
        .init(
          "network",
          "five 3×3 convolutions of stride 2, of 16 to 128 filters, the last maps of one position, and "
            + "a dense layer"),
        .init(
          "training",
          "every network sees \(images) images \(Self.epochs) times; SGD of momentum 0.9, rate 0.1 for "
            + "batches of 128 and in proportion to the batch, half a cosine"),
        .init(
          "variants",
          "ghost batches of \(Self.ghostSize); renormalisation up to r 3 and d 5 from a quarter of "
            + "the steps on; 8 groups"),
      ], table: table, figures: [figure],
      verdict: Verdict(
        checks(
          sizes, batch: of(.batch), ghost: of(.ghost), renormalized: of(.renormalized),
          group: of(.group))))
  }

  private func checks(
    _ sizes: [Int], batch: [Sample], ghost: [Sample], renormalized: [Sample], group: [Sample]
  ) -> [Verdict.Check] {
    let best = batch.indices.max { batch[$0].mean < batch[$1].mean } ?? 0
    let (small, large) = (sizes[0], sizes.count - 1)
    return [
      .init(
        "batch norm reaches \(batch[0].percent) with batches of \(small) and \(batch[best].percent) "
          + "with \(sizes[best])",
        batch[best].isClearlyAbove(batch[0])),
      .init(
        "with batches of \(small) renormalisation reaches \(renormalized[0].percent)",
        renormalized[0].isClearlyAbove(batch[0])),
      .init(
        "with batches of \(small) group norm reaches \(group[0].percent)",
        group[0].isClearlyAbove(batch[0])),
      .init(
        "with batches of \(sizes[large]) ghost batches reach \(ghost[large].percent) where whole "
          + "ones reach \(batch[large].percent) (a loss of less than "
          + "\(decimal(Self.margin * 100, 1)) points counts as none)",
        batch[large].mean - ghost[large].mean < Self.margin),
    ]
  }
}
