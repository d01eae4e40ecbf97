import ConvNet

/// What the mistakes of a widespread sample layer cost, each by itself.
package struct SampleLayerExperiment: Experiment {
  package init() {}

  package var name: String { "sample-layer" }

  package var claim: Claim {
    Claim(
      "Each mistake of the sample layer batch_normalization_layer(input, num_outputs, is_training, "
        + "scope) costs accuracy where it matters, at inference.",
      source: "a published TensorFlow sample; Ioffe & Szegedy 2015, algorithms 1 and 2")
  }

  /// The layer as it should be, and each mistake.
  enum Variant: String, CaseIterable {
    case right = "as it should be"
    case averagedAffine = "γ and β as moving averages"
    case activation = "ReLU6 in the affine step"
    case averagedOutput = "averages of the output"
    case forgottenUpdate = "update never run"
  }

  /// Which network is described.
  enum Use {
    /// The one that trains.
    case training
    /// Inference with running statistics.
    case inference
    /// The forward pass of training, for any batch.
    case batchStatistics
  }

  private struct Outcome: Sendable {
    /// Test accuracy with the statistics of each test batch, as training normalises.
    var asTrained: Double
    /// Test accuracy with running statistics.
    var inference: Double
  }

  private static let batchSize = 64
  private static let learningRate = 0.05

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let steps = context.choose(full: 900, quick: 60, tiny: 2)
    let data = try context.train.sample(context.choose(full: 20_000, quick: 2000, tiny: 64))
    let test = try context.test.sample(context.choose(full: 10_000, quick: 500, tiny: 20))
    let outcomes = try context.forEachSeed(
      of: Variant.allCases,
      label: { variant, seed, outcome in
        "\(variant.rawValue), seed \(seed): \(decimal(outcome.asTrained * 100, 2)) % with batch "
          + "statistics, \(decimal(outcome.inference * 100, 2)) % in inference"
      }
    ) { variant, seed, lanes in
      try outcome(context, variant, data, test, steps: steps, seed: seed, lanes: lanes)
    }
    return result(context, steps: steps, images: data.count, outcomes)
  }

  private func outcome(
    _ context: ExperimentContext, _ variant: Variant, _ data: TrainingData, _ test: TrainingData,
    steps: Int, seed: UInt64, lanes: Lanes
  ) throws -> Outcome {
    let trial = Trial(
      graph: try graph(context, variant, .training), data: data,
      normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: Self.learningRate)),
      batchSize: min(Self.batchSize, data.count), steps: steps, seed: seed)
    let trained = try trial.run(lanes: lanes).model
    func accuracy(_ use: Use) throws -> Double {
      let graph = try graph(context, variant, use)
      // Where updates are never run, state is as it was at first.
      var state = Model.initialState(of: graph)
      for name in state.keys where variant != .forgottenUpdate {
        state[name] = trained.state[Self.collected(name, variant)]
      }
      let model = try Model(
        graph: graph, parameters: trained.parameters, state: state, metadata: trained.metadata)
      return try Evaluator(model, batchSize: Self.batchSize, lanes: lanes).evaluate(test).accuracy
    }
    return Outcome(asTrained: try accuracy(.batchStatistics), inference: try accuracy(.inference))
  }

  /// Where training has put what a layer reads as `LAYER.PART`.
  private static func collected(_ state: String, _ variant: Variant) -> String {
    guard variant == .averagedOutput, let point = state.lastIndex(of: ".") else { return state }
    return "\(state[..<point]).output\(state[point...])"
  }

  // MARK: The networks

  /// A residual network, where what a layer adds has to have both signs.
  func graph(_ context: ExperimentContext, _ variant: Variant, _ use: Use) throws -> Graph {
    func unit(_ x: Graph.Value, _ filters: Int, stride: Int = 1, _ name: String) -> Graph.Value {
      layer(
        x.convolution(filters, kernel: 3, stride: stride, bias: false, name: "\(name).conv"),
        variant, use, "\(name).norm")
    }
    return try Graph(input: context.inputType) { x in
      var x = unit(x, 8, stride: 2, "stem").relu()
      for (stage, filters) in [8, 16].enumerated() {
        if stage > 0 { x = unit(x, filters, stride: 2, "down\(stage)").relu() }
        for block in 0..<2 {
          let name = "block\(stage).\(block)"
          x = (x + unit(unit(x, filters, "\(name).0").relu(), filters, "\(name).1")).relu()
        }
      }
      return x.globalAveragePooling().dense(context.train.classCount)
    }
  }

  /// One normalisation, with its mistake.
  private func layer(
    _ x: Graph.Value, _ variant: Variant, _ use: Use, _ name: String
  ) -> Graph.Value {
    let tracks = BatchNormalizationOptions(tracksRunningStatistics: use != .batchStatistics)
    switch variant {
    case .right, .forgottenUpdate: return x.batchNormalization(tracks, name: name)
    case .activation: return x.batchNormalization(tracks, name: name).relu6()
    case .averagedAffine: return averagedAffine(x, use, name)
    case .averagedOutput:
      guard use == .training else { return x.batchNormalization(tracks, name: name) }
      return averagedOutput(x, name)
    }
  }

  /// γ = √(σ̂² + ε) and β = μ̂, moving averages of the batches: the layer undoes itself.
  private func averagedAffine(_ x: Graph.Value, _ use: Use, _ name: String) -> Graph.Value {
    var options = BatchNormalizationOptions(scale: false, shift: false)
    // The averages are state, which every use needs; what normalises is the batch or the averages.
    let tracked = x.batchNormalization(options, name: name)
    var normalized = tracked
    if use == .batchStatistics {
      options.tracksRunningStatistics = false
      normalized = x.batchNormalization(options, name: "\(name).batch")
    }
    func state(_ part: String) -> Graph.Value {
      guard let id = x.builder.graph.value(named: "\(name).\(part)") else {
        fatalError("The layer \(name) has no \(part).")
      }
      return Graph.Value(builder: x.builder, id: id)
    }
    let gamma = (state("running_var") + options.epsilon).map(.squareRoot)
    return normalized * gamma + state("running_mean")
  }

  /// Normalises with the batch, but collects the statistics of what comes out.
  private func averagedOutput(_ x: Graph.Value, _ name: String) -> Graph.Value {
    let y = x.batchNormalization(
      BatchNormalizationOptions(tracksRunningStatistics: false), name: name)
    // Only the statistics of this one are wanted; nobody reads what it normalises.
    let options = BatchNormalizationOptions(scale: false, shift: false)
    _ = y.batchNormalization(options, name: "\(name).output")
    return y
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, steps: Int, images: Int, _ outcomes: [[Outcome]]
  ) -> ExperimentResult {
    let inference = outcomes.map { Sample($0.map(\.inference)) }
    let gaps = outcomes.map { Sample($0.map { $0.asTrained - $0.inference }) }
    var table = ExperimentResult.Table([
      "layer", "test accuracy as in training", "in inference", "gap", "lost to the mistake",
    ])
    for (index, variant) in Variant.allCases.enumerated() {
      let lost = zip(inference[0].values, inference[index].values).map { $0 - $1 }
      table.rows.append([
        variant.rawValue, Sample(outcomes[index].map(\.asTrained)).percent,
        inference[index].percent, gaps[index].points, index == 0 ? "-" : Sample(lost).points,
      ])
    }
    let checks = zip(Variant.allCases, inference).dropFirst().map { variant, accuracy in
      Verdict.Check(
        "with “\(variant.rawValue)” inference is right in \(accuracy.percent), as it should be in "
          + "\(inference[0].percent)",
        inference[0].isClearlyAbove(accuracy))
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", "a residual network of ten 3×3 convolutions with 8 and 16 filters"),
        .init(
          "training",
          "\(steps) steps of \(Self.batchSize) of \(images) images, SGD of rate "
            + "\(Self.learningRate) and momentum 0.9"),
        .init("as in training", "with the statistics of each batch of test images"),
      ], table: table, figures: [figure(outcomes)], verdict: Verdict(Array(checks)),
      names: SampleLayer.names)
  }

  private func figure(_ outcomes: [[Outcome]]) -> Figure {
    let series = [true, false].map { isInference in
      Figure.Series(
        isInference ? "in inference" : "as in training",
        outcomes.enumerated().map { index, seeds in
          Figure.Point(
            Double(index), Sample(seeds.map { (isInference ? $0.inference : $0.asTrained) * 100 }))
        })
    }
    let legend = Variant.allCases.enumerated().map { "\($0.offset) \($0.element.rawValue)" }
    return Figure(
      "Mistakes of the sample layer", subtitle: legend.joined(separator: ", "),
      x: Figure.Axis("mistake"), y: Figure.Axis("test accuracy, %"), series: series)
  }
}
