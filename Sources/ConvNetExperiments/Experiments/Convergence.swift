import ConvNet

/// Repeats Ioffe & Szegedy's first experiment: whether a network of sigmoids learns faster with batch
/// norm, and whether the inputs of its sigmoids stay where they are.
package struct ConvergenceExperiment: Experiment {
  package init() {}

  package var name: String { "convergence" }

  package var claim: Claim {
    Claim(
      "With batch normalisation a network trains faster and ends at a higher test accuracy, and the "
        + "distribution of a sigmoid's inputs is more stable over training.",
      source: "Ioffe & Szegedy 2015, section 4.1, figure 1")
  }

  private static let variants = [true, false]
  private static let learningRate = 0.1

  /// What is seen of the network at one moment.
  private struct Moment: Sendable {
    var step: Int
    var accuracy: Double
    /// Of each unit of the last hidden layer, the 15th, 50th and 85th percentiles of its input.
    var inputs: [[Double]]
  }

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let steps = context.choose(full: 50_000, quick: 1000, tiny: 4)
    let courses = try context.forEachSeed(
      of: Self.variants,
      label: { isNormalized, seed, course in
        let accuracy = decimal((course.last?.accuracy ?? 0) * 100, 2)
        return "\(title(isNormalized)), seed \(seed): \(accuracy) % after \(steps) steps"
      }
    ) { try course(context, isNormalized: $0, steps: steps, seed: $1, lanes: $2) }
    return result(context, steps: steps, courses)
  }

  private func title(_ isNormalized: Bool) -> String {
    isNormalized ? "with batch norm" : "without batch norm"
  }

  /// - Parameter tracks: whether inference normalises with running statistics; without them, with those
  ///   of the images it is given, as training does.
  private func graph(
    _ context: ExperimentContext, isNormalized: Bool, tracks: Bool
  ) throws -> Graph {
    let units = context.choose(full: 100, quick: 100, tiny: 4)
    return try Graph(inputs: [("input", context.inputType)]) { inputs in
      var (x, hidden) = (inputs[0].flatten(), inputs[0])
      for _ in 0..<3 {
        hidden = x.dense(units, bias: !isNormalized)
        if isNormalized { hidden = hidden.batchNormalization(tracksRunningStatistics: tracks) }
        x = hidden.sigmoid()
      }
      return ["output": x.dense(context.train.classCount), "hidden": hidden]
    }
  }

  private func course(
    _ context: ExperimentContext, isNormalized: Bool, steps: Int, seed: UInt64, lanes: Lanes
  ) throws -> [Moment] {
    let trial = Trial(
      graph: try graph(context, isNormalized: isNormalized, tracks: true), data: context.train,
      normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: Self.learningRate, momentum: 0)),
      batchSize: min(60, context.train.count), steps: steps, seed: seed)
    let probe = Batches(context.test, context.normalization, batchSize: 1, seed: 0)
      .batch(Array(0..<min(1000, context.test.count))[...]).images
    let probed = try graph(context, isNormalized: isNormalized, tracks: false)
    var moments: [Moment] = []
    let outcome = try trial.run(
      lanes: lanes, checkpoints: Set(ExperimentContext.checkpoints(steps))
    ) {
      let model = $1.model
      let training = try Model(graph: probed, parameters: model.parameters, state: [:])
      let hidden = try Predictor(training, options: PredictorOptions(lanes: lanes))
        .predict(probe, output: "hidden")
      let (rows, units) = (hidden.shape[0], hidden.shape[1])
      let values = hidden.elements(of: Float.self)
      let inputs = (0..<units).map { unit in
        percentiles((0..<rows).map { values[$0 * units + unit] }, [0.15, 0.5, 0.85])
      }
      moments.append(
        Moment(
          step: $0, accuracy: try context.accuracy(model, on: context.test, lanes: lanes),
          inputs: inputs))
    }
    try outcome.checkThatItFinished(seed: seed)
    return moments
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, steps: Int, _ courses: [[[Moment]]]
  ) -> ExperimentResult {
    let final = courses.map { Sample($0.map { $0.last?.accuracy ?? 0 }) }
    // On the way to where the network without batch norm ends, and just before, where noise begins.
    let goals = [0.1, 0.02].map { max(final[1].mean - $0, 0) }
    let reached = courses.map { course in
      goals.map { goal in
        Sample(course.map { Double($0.first { $0.accuracy >= goal }?.step ?? steps) })
      }
    }
    let drifts = courses.map { Sample($0.map(Self.drift)) }
    let growths = courses.map { Sample($0.map(Self.growth)) }
    let names = goals.map { "\(decimal($0 * 100, 1)) %" }
    var table = ExperimentResult.Table(
      ["network", "test accuracy"] + names.map { "steps to \($0)" }
        + ["drift of inputs", "widening of inputs"])
    for (index, isNormalized) in Self.variants.enumerated() {
      table.rows.append(
        [title(isNormalized), final[index].percent] + reached[index].map { $0.text(0) }
          + [drifts[index].text(2), growths[index].text(2)])
    }
    let speeds = goals.indices.map { goal in
      let (normalized, plain) = (reached[0][goal], reached[1][goal])
      return Verdict.Check(
        "\(names[goal]) are reached after \(normalized.text(0)) steps with batch norm and "
          + "\(plain.text(0)) without", plain.isClearlyAbove(normalized))
    }
    let verdict = Verdict(
      speeds + [
        .init(
          "test accuracy is \(final[0].percent) with batch norm and \(final[1].percent) without",
          final[0].isClearlyAbove(final[1])),
        .init(
          "the median input of a sigmoid of the last hidden layer drifts by \(drifts[0].text(2)) of "
            + "its own width with batch norm and by \(drifts[1].text(2)) without",
          drifts[1].isClearlyAbove(drifts[0])),
        .init(
          "the width of its inputs changes \(growths[0].text(2))-fold and \(growths[1].text(2))-fold",
          growths[1].isClearlyAbove(growths[0])),
      ])
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", "three hidden layers of 100 sigmoid units"),
        .init("training", "\(steps) steps of 60 images, SGD of rate \(Self.learningRate)"),
        .init("initial weights", "Gaussian of variance 2/fan-in"),
        .init(
          "drift",
          "standard deviation over training of the median over the mean distance of "
            + "the 15th and 85th percentiles, mean over all units"),
        .init("widening", "largest over smallest such distance, geometric mean over all units"),
      ], table: table, figures: figures(courses), verdict: verdict)
  }

  /// How far the median of a unit's input moves over training, in widths of its distribution.
  private static func drift(_ moments: [Moment]) -> Double {
    mean(moments) { medians, widths in Sample(medians).spread / Sample(widths).mean }
  }

  /// How much the width of a unit's input changes over training.
  private static func growth(_ moments: [Moment]) -> Double {
    Sample(
      units(moments).map { unit in
        let widths = moments.map { $0.inputs[unit][2] - $0.inputs[unit][0] }
        return (widths.max() ?? 1) / max(widths.min() ?? 1, 1e-12)
      }
    ).geometricMean
  }

  private static func units(_ moments: [Moment]) -> Range<Int> {
    0..<(moments.first?.inputs.count ?? 0)
  }

  /// The mean over units of something about the medians and widths of their inputs.
  private static func mean(
    _ moments: [Moment], _ measure: (_ medians: [Double], _ widths: [Double]) -> Double
  ) -> Double {
    Sample(
      units(moments).map { unit in
        let inputs = moments.map { $0.inputs[unit] }
        return measure(inputs.map { $0[1] }, inputs.map { $0[2] - $0[0] })
      }
    ).mean
  }

  private func figures(_ courses: [[[Moment]]]) -> [Figure] {
    let steps = Figure.Axis("steps")
    let accuracy = zip(Self.variants, courses).map { isNormalized, seeds in
      Figure.Series(
        title(isNormalized),
        (seeds.first ?? []).indices.map { index in
          Figure.Point(
            Double(seeds[0][index].step), Sample(seeds.map { $0[index].accuracy * 100 }))
        })
    }
    let inputs = zip(Self.variants, courses).map { isNormalized, seeds in
      Figure.Series(
        title(isNormalized),
        (seeds.first ?? []).map { moment in
          let unit = moment.inputs[0]
          return Figure.Point(Double(moment.step), unit[1], low: unit[0], high: unit[2])
        })
    }
    return [
      Figure(
        "Three layers of sigmoids", x: Figure.Axis("steps", scale: .log10),
        y: Figure.Axis("test accuracy, %"), series: accuracy),
      Figure(
        "Input of one sigmoid of the last hidden layer",
        subtitle: "median and 15th to 85th percentiles over test images, first seed", x: steps,
        y: Figure.Axis("input"), series: inputs),
    ]
  }
}
