import ConvNet

/// Batch norm over sequences: in convolutions and in recurrent networks.
package struct SequenceExperiment: Experiment {
  package init() {}

  package var name: String { "sequences" }

  package var claim: Claim {
    Claim(
      "Batch normalisation serves convolutions over sequences as it does those over images. In recurrent "
        + "networks it does not work as it stands, because statistics change with the time step; with "
        + "statistics for every step and a small initial γ it does.",
      source: "Ioffe & Szegedy 2015, section 5; Cooijmans et al. 2017, sections 3 and 4")
  }

  /// A network and how it is normalised.
  enum Variant: CaseIterable {
    case plainConvolution, convolution, plainMemory, memory, unitScale, shared

    var name: String { "\(isConvolution ? "1-D convolutions" : "LSTM"), \(normalization)" }

    var normalization: String {
      switch self {
      case .plainConvolution, .plainMemory: "no batch norm"
      case .convolution: "batch norm"
      case .memory: "batch norm, γ = 0.1"
      case .unitScale: "batch norm, γ = 1"
      case .shared: "batch norm, shared statistics"
      }
    }

    var isConvolution: Bool { self == .plainConvolution || self == .convolution }
    var isNormalized: Bool { self != .plainConvolution && self != .plainMemory }
    var initialScale: Float { self == .unitScale ? 1 : 0.1 }
  }

  /// What is seen of a training.
  private struct Course: Sendable {
    /// Test accuracy at the checkpoints.
    var accuracies: [Double]
    /// At the end, with the statistics of each test batch.
    var withBatchStatistics: Double
  }

  private struct Task {
    var train: TrainingData
    var test: TrainingData
    var normalization: Normalization
    var steps: Int
    var batchSize: Int
    var learningRate: Double

    var checkpoints: [Int] { Set((1...12).map { max($0 * steps / 12, 1) }).sorted() }
  }

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let tasks = (tones: try tones(context), rows: try rows(context))
    let courses = try context.forEachSeed(
      of: Variant.allCases,
      label: { variant, seed, course in
        let accuracy = decimal((course.accuracies.last ?? 0) * 100, 2)
        return "\(variant.name), seed \(seed): \(accuracy) %"
      }
    ) { variant, seed, lanes in
      try course(
        context, variant, variant.isConvolution ? tasks.tones : tasks.rows, seed: seed,
        lanes: lanes)
    }
    return result(context, tones: tasks.tones, rows: tasks.rows, courses)
  }

  private func tones(_ context: ExperimentContext) throws -> Task {
    let length = context.choose(full: 512, quick: 256, tiny: 32)
    let count = context.choose(full: 4000, quick: 600, tiny: 40)
    let train = try ToneSet.make(count: count, length: length, seed: 1)
    return Task(
      train: train, test: try ToneSet.make(count: count / 2, length: length, seed: 2),
      normalization: try train.measuredNormalization(),
      steps: context.choose(full: 600, quick: 48, tiny: 2),
      batchSize: min(50, train.count), learningRate: 0.03)
  }

  /// Images as sequences of their rows.
  private func rows(_ context: ExperimentContext) throws -> Task {
    let train = try context.train.sample(context.choose(full: 20_000, quick: 2000, tiny: 40))
    return Task(
      train: train,
      test: try context.test.sample(context.choose(full: 10_000, quick: 500, tiny: 20)),
      normalization: context.normalization,
      steps: context.choose(full: 1500, quick: 24, tiny: 2),
      batchSize: min(100, train.count), learningRate: 2e-3)
  }

  /// - Parameter tracks: whether inference normalises with running statistics; without them, with those
  ///   of the samples it is given, as training does.
  func graph(_ variant: Variant, _ data: TrainingData, units: Int, tracks: Bool) throws -> Graph {
    let shape = data.images.shape
    let options = BatchNormalizationOptions(tracksRunningStatistics: tracks)
    return try Graph(
      input: .image(height: shape[1], width: shape[2], channels: shape[3])
    ) { images in
      var x = images.reshaped([shape[1], shape[2] * shape[3]])
      guard variant.isConvolution else {
        return x.lstm(
          units, batchNormalization: variant.isNormalized ? options : nil,
          statistics: variant == .shared ? .shared : .perStep
        ).dense(data.classCount)
      }
      for filters in [units / 4, units / 2, units / 2, units, units] {
        x = x.convolution(
          filters, window: Window(kernel: [9], stride: [2], padding: .same),
          bias: !variant.isNormalized)
        x = (variant.isNormalized ? x.batchNormalization(options) : x).relu()
      }
      return x.reduced(.mean, axes: [1]).dense(data.classCount)
    }
  }

  private func course(
    _ context: ExperimentContext, _ variant: Variant, _ task: Task, seed: UInt64, lanes: Lanes
  ) throws -> Course {
    let units = context.choose(full: 64, quick: 32, tiny: 8)
    let trial = Trial(
      graph: try graph(variant, task.train, units: units, tracks: true), data: task.train,
      normalization: task.normalization,
      optimizer: variant.isConvolution
        ? .sgd(SGD(learningRate: task.learningRate))
        : .adam(Adam(learningRate: task.learningRate)),
      batchSize: task.batchSize, steps: task.steps, seed: seed,
      initializer: variant.isConvolution ? .he : .glorot)
    var accuracies: [Double] = []
    let outcome = try trial.run(
      lanes: lanes, changing: { $0 = try $0.settingRecurrentScales(to: variant.initialScale) },
      checkpoints: Set(task.checkpoints)
    ) {
      accuracies.append(try context.accuracy($1.model, on: task.test, lanes: lanes))
    }
    let chance = 1 / Double(task.train.classCount)
    while accuracies.count < task.checkpoints.count { accuracies.append(chance) }
    let model = outcome.model
    let asTrained = try Model(
      graph: graph(variant, task.train, units: units, tracks: false),
      parameters: model.parameters, state: [:], metadata: model.metadata)
    return Course(
      accuracies: accuracies,
      withBatchStatistics: try Evaluator(asTrained, batchSize: task.batchSize, lanes: lanes)
        .evaluate(task.test).accuracy)
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, tones: Task, rows: Task, _ courses: [[Course]]
  ) -> ExperimentResult {
    let ends = Dictionary(
      uniqueKeysWithValues: zip(Variant.allCases, courses).map { variant, seeds in
        (variant, Sample(seeds.map { $0.accuracies.last ?? 0 }))
      })
    func end(_ variant: Variant) -> Sample { ends[variant] ?? Sample([]) }
    func steps(_ variant: Variant, _ seeds: [Course]) -> Sample {
      let task = variant.isConvolution ? tones : rows
      let goal = end(variant.isConvolution ? .plainConvolution : .plainMemory).mean
      return Sample(
        seeds.map { course in
          let index = course.accuracies.firstIndex { $0 >= goal }
          return Double(index.map { task.checkpoints[$0] } ?? task.steps)
        })
    }
    var table = ExperimentResult.Table([
      "network", "test accuracy", "with the test batch's statistics",
      "steps to the end of its plain network",
    ])
    for (variant, seeds) in zip(Variant.allCases, courses) {
      table.rows.append([
        variant.name, end(variant).percent,
        variant.isNormalized ? Sample(seeds.map(\.withBatchStatistics)).percent : "-",
        steps(variant, seeds).text(0),
      ])
    }
    return ExperimentResult(
      self, context, settings: settings(tones: tones, rows: rows, context), table: table,
      figures: figures(tones: tones, rows: rows, courses),
      verdict: Verdict(checks(end, steps, courses)))
  }

  private func checks(
    _ end: (Variant) -> Sample, _ steps: (Variant, [Course]) -> Sample, _ courses: [[Course]]
  ) -> [Verdict.Check] {
    let gap = zip(Variant.allCases, courses).first { $0.0 == .shared }.map {
      Sample($0.1.map { $0.withBatchStatistics - ($0.accuracies.last ?? 0) })
    }
    return [
      .init(
        "convolutions over sequences reach \(end(.convolution).percent) with batch norm and "
          + "\(end(.plainConvolution).percent) without",
        end(.convolution).isClearlyAbove(end(.plainConvolution))),
      .init(
        "a recurrent network whose time steps share running statistics reaches "
          + "\(end(.shared).percent) with them, \((gap ?? Sample([0])).points) less than with those "
          + "of the test batch, and \(end(.plainMemory).percent) without batch norm",
        end(.plainMemory).isClearlyAbove(end(.shared))),
      .init(
        "with statistics for every step and an initial γ of 0.1 it reaches \(end(.memory).percent)",
        end(.memory).isClearlyAbove(end(.plainMemory))),
      .init(
        "with an initial γ of 1 it reaches \(end(.unitScale).percent)",
        end(.memory).isClearlyAbove(end(.unitScale))),
    ]
  }

  private func settings(
    tones: Task, rows: Task, _ context: ExperimentContext
  ) -> [ExperimentResult.Setting] {
    let units = context.choose(full: 64, quick: 32, tiny: 8)
    return [
      .init(
        "sounds",
        "\(tones.train.count) for training and \(tones.test.count) for testing, "
          + "\(tones.train.images.shape[1]) samples each: \(ToneSet.text)"),
      .init(
        "convolutions",
        "five of 9 taps and stride 2 with up to \(units) filters, mean over time; \(tones.steps) "
          + "steps of \(tones.batchSize), SGD of rate \(tones.learningRate) and momentum 0.9"),
      .init(
        "recurrent network",
        "LSTM of \(units) units over the \(rows.train.images.shape[1]) rows of an image, "
          + "\(rows.train.count) images; \(rows.steps) steps of \(rows.batchSize), Adam of rate "
          + "\(rows.learningRate)"),
    ]
  }

  private func figures(tones: Task, rows: Task, _ courses: [[Course]]) -> [Figure] {
    [true, false].map { isConvolution in
      let task = isConvolution ? tones : rows
      let series = zip(Variant.allCases, courses).filter { $0.0.isConvolution == isConvolution }
        .map { variant, seeds in
          Figure.Series(
            variant.normalization,
            task.checkpoints.indices.map { index in
              Figure.Point(
                Double(task.checkpoints[index]), Sample(seeds.map { $0.accuracies[index] * 100 }))
            })
        }
      return Figure(
        isConvolution ? "1-D convolutions on tones" : "LSTM over the rows of images",
        x: Figure.Axis("steps"), y: Figure.Axis("test accuracy, %"), series: series)
    }
  }
}
