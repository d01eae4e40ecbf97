import ConvNet

/// Asks whether gradients vanish or explode in deep plain networks, and what batch norm changes.
package struct GradientExperiment: Experiment {
  package init() {}

  package var name: String { "gradients" }

  package var claim: Claim {
    Claim(
      "Batch normalisation prevents vanishing and exploding gradients: in deep plain networks all "
        + "layers get gradients of similar size, whatever the activation and the scale of the weights.",
      source: "Ioffe & Szegedy 2015, sections 1 and 3.3")
  }

  private enum Activation: String, CaseIterable {
    case sigmoid
    case relu = "ReLU"
  }

  private struct Variant: Sendable {
    var activation: Activation
    /// What He's initial weights are multiplied by.
    var gain: Double
    var depth: Int
    var isNormalized: Bool

    var name: String { "\(activation.rawValue), weights ×\(shortest(gain)), depth \(depth)" }
    var normalization: String { isNormalized ? "with batch norm" : "without batch norm" }
  }

  /// What one training shows.
  private struct Outcome: Sendable {
    /// The norm of each hidden layer's weight gradient before training, from the first layer on, and
    /// after; empty where training stopped.
    var initial: [Double]
    var trained: [Double]
    /// On the last steps' images.
    var loss: Double

    /// The gradient of the first hidden layer over that of the last.
    static func ratio(_ norms: [Double]) -> Double {
      guard let first = norms.first, let last = norms.last else { return .nan }
      return first == 0 ? 0 : first / last
    }
  }

  private static let batchSize = 128
  /// Gradients of all layers within two orders of magnitude count as of similar size.
  private static let bound = 100.0

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let depths = context.choose(full: [10, 20, 30, 40, 50], quick: [10, 50], tiny: [3])
    let gains = context.choose(full: [0.5, 1, 2], quick: [1], tiny: [1.0])
    let steps = context.choose(full: 200, quick: 10, tiny: 2)
    let variants = Activation.allCases.flatMap { activation in
      gains.flatMap { gain in
        depths.flatMap { depth in
          [true, false].map {
            Variant(activation: activation, gain: gain, depth: depth, isNormalized: $0)
          }
        }
      }
    }
    let outcomes = try context.forEachSeed(
      of: variants,
      label: { variant, seed, outcome in
        "\(variant.name), \(variant.normalization), seed \(seed): first over last gradient "
          + scientific(Outcome.ratio(outcome.initial))
      }
    ) { try outcome(context, $0, steps: steps, seed: $1, lanes: $2) }
    return result(context, variants, steps: steps, outcomes)
  }

  private func graph(_ context: ExperimentContext, _ variant: Variant) throws -> Graph {
    let units = context.choose(full: 64, quick: 64, tiny: 4)
    return try Graph(input: context.inputType) { x in
      (1...variant.depth).reduce(x.flatten()) { x, layer in
        var y = x.dense(units, bias: !variant.isNormalized, name: "hidden\(layer)")
        if variant.isNormalized { y = y.batchNormalization() }
        return variant.activation == .sigmoid ? y.sigmoid() : y.relu()
      }.dense(context.train.classCount)
    }
  }

  private func outcome(
    _ context: ExperimentContext, _ variant: Variant, steps: Int, seed: UInt64, lanes: Lanes
  ) throws -> Outcome {
    let data = context.train
    let trial = Trial(
      graph: try graph(context, variant), data: data, normalization: context.normalization,
      optimizer: .sgd(SGD(learningRate: 0.01)), batchSize: min(Self.batchSize, data.count),
      steps: steps, seed: seed)
    // A batch that training does not begin with.
    var batches = Batches(
      data, context.normalization, batchSize: trial.batchSize, seed: seed &+ 1000)
    let batch = batches.next()
    func norms(_ model: Model) throws -> [Double] {
      let gradients = try model.gradients(images: batch.images, labels: batch.labels, lanes: lanes)
      return (1...variant.depth).map { gradients["hidden\($0).weight"]?.norm ?? .nan }
    }
    var initial: [Double] = []
    let trained = try trial.run(
      lanes: lanes, changing: { try $0.scaleWeights(by: variant.gain) }, checkpoints: [0]
    ) { initial = try norms($1.model) }
    return Outcome(
      initial: initial, trained: try trained.stoppedAt == nil ? norms(trained.model) : [],
      loss: trained.stoppedAt == nil ? trained.lastLoss : .nan)
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ variants: [Variant], steps: Int, _ outcomes: [[Outcome]]
  ) -> ExperimentResult {
    var table = ExperimentResult.Table([
      "network", "", "first norm at the start", "first/last at the start", "after \(steps) steps",
      "loss by then",
    ])
    for (variant, seeds) in zip(variants, outcomes) {
      let losses = Sample(seeds.map(\.loss))
      table.rows.append([
        variant.name, variant.normalization, scientific(Self.firstNorm(seeds)),
        scientific(Self.ratio(seeds, \.initial)), scientific(Self.ratio(seeds, \.trained)),
        losses.mean.isFinite ? losses.text(2) : "not finite",
      ])
    }
    return ExperimentResult(
      self, context,
      settings: [
        .init("network", "hidden layers of 64 units, one after another"),
        .init("initial weights", "Gaussian of variance 2/fan-in, times a factor"),
        .init(
          "training",
          "\(steps) steps of \(Self.batchSize) images, SGD of rate 0.01 and momentum 0.9"),
        .init("first norm", "norm of the first hidden layer's weight gradient, geometric mean"),
        .init(
          "first/last",
          "norm of the first hidden layer's weight gradient over the last one's, geometric mean"),
        .init(
          "similar", "within a factor of \(shortest(Self.bound)), between layers and between scales"
        ),
      ], table: table, figures: figures(variants, outcomes),
      verdict: Verdict(checks(variants, outcomes)))
  }

  private static func ratio(_ seeds: [Outcome], _ path: KeyPath<Outcome, [Double]>) -> Double {
    Sample(seeds.map { Outcome.ratio($0[keyPath: path]) }).geometricMean
  }

  private static func firstNorm(_ seeds: [Outcome]) -> Double {
    Sample(seeds.map { $0.initial.first ?? .nan }).geometricMean
  }

  /// What the claim implies for the deepest networks: layers, and scales of the weights, compared.
  private func checks(_ variants: [Variant], _ outcomes: [[Outcome]]) -> [Verdict.Check] {
    let depth = variants.map(\.depth).max() ?? 0
    return Activation.allCases.flatMap { activation in
      func chosen(_ isNormalized: Bool) -> [(gain: Double, seeds: [Outcome])] {
        variants.indices.filter {
          variants[$0].activation == activation && variants[$0].depth == depth
            && variants[$0].isNormalized == isNormalized
        }.map { (variants[$0].gain, outcomes[$0]) }
      }
      let title = "\(activation.rawValue), depth \(depth)"
      return layerChecks(title, normalized: chosen(true), plain: chosen(false))
        + scaleChecks(title, normalized: chosen(true), plain: chosen(false))
    }
  }

  private static func isBounded(_ ratio: Double) -> Bool {
    ratio.isFinite && (1 / bound...bound).contains(ratio)
  }

  private func layerChecks(
    _ title: String, normalized: [(gain: Double, seeds: [Outcome])],
    plain others: [(gain: Double, seeds: [Outcome])]
  ) -> [Verdict.Check] {
    let gains = normalized.map { "×\(shortest($0.gain))" }.joined(separator: ", ")
    return [(\Outcome.initial, "at the start"), (\Outcome.trained, "after training")].map {
      path, when in
      let ratios = [normalized, others].map { $0.map { Self.ratio($0.seeds, path) } }
      let texts = ratios.map { $0.map(scientific).joined(separator: ", ") }
      return .init(
        "\(title), \(when): the first layer's gradient is \(texts[0]) times the last one's with "
          + "batch norm and \(texts[1]) without (weights \(gains))",
        ratios[0].allSatisfy(Self.isBounded) && !ratios[1].allSatisfy(Self.isBounded))
    }
  }

  private func scaleChecks(
    _ title: String, normalized: [(gain: Double, seeds: [Outcome])],
    plain others: [(gain: Double, seeds: [Outcome])]
  ) -> [Verdict.Check] {
    guard let small = normalized.first?.gain, let large = normalized.last?.gain, small < large
    else { return [] }
    let factors = [normalized, others].map { variants in
      let norms = variants.map { Self.firstNorm($0.seeds) }
      return (norms.max() ?? .nan) / (norms.min() ?? .nan)
    }
    return [
      .init(
        "\(title): from weights ×\(shortest(small)) to ×\(shortest(large)) the first layer's gradient "
          + "changes by a factor of \(scientific(factors[0])) with batch norm and "
          + "\(scientific(factors[1])) without",
        Self.isBounded(factors[0]) && !Self.isBounded(factors[1]))
    ]
  }

  /// Norms layer by layer of the deepest networks with He's weights, before training.
  private func figures(_ variants: [Variant], _ outcomes: [[Outcome]]) -> [Figure] {
    let depth = variants.map(\.depth).max() ?? 0
    return [(\Outcome.initial, "before training"), (\Outcome.trained, "after training")].map {
      path, when in
      let series = variants.indices.filter { variants[$0].depth == depth && variants[$0].gain == 1 }
        .map { index in
          let (variant, seeds) = (variants[index], outcomes[index])
          let points = (0..<depth).compactMap { layer -> Figure.Point? in
            let norms = seeds.compactMap {
              $0[keyPath: path].isEmpty ? nil : $0[keyPath: path][layer]
            }
            guard !norms.isEmpty else { return nil }
            return Figure.Point(
              Double(layer + 1), Sample(norms).geometricMean, low: norms.min(), high: norms.max())
          }
          return Figure.Series(
            "\(variant.activation.rawValue) \(variant.normalization)", points,
            isDashed: !variant.isNormalized, color: variant.activation == .sigmoid ? 0 : 1)
        }
      return Figure(
        "Gradients of \(depth) layers \(when)",
        subtitle: "geometric mean and range over seeds", x: .init("hidden layer"),
        y: .init("norm of the weight gradient", scale: .log10), series: series)
    }
  }
}

extension Model {
  /// The gradients of the mean cross-entropy of a batch in training mode, by parameter.
  fileprivate func gradients(
    images: Tensor, labels: Tensor, lanes: Lanes
  ) throws -> [String: Tensor] {
    let input = graph.inputViews.first?.name ?? "input"
    let graph = try Loss.softmaxCrossEntropy().added(to: graph)
    let step = try graph.trainingStep(
      inputShapes: [input: images.shape, Loss.labelsName: labels.shape], loss: Loss.lossName)
    let plan = try Plan(step.graph, inputShapes: [:], lanes: lanes)
    var workspace = plan.makeWorkspace(for: ParameterStore(self))
    try workspace.setInput(input, to: images)
    try workspace.setInput(Loss.labelsName, to: labels)
    plan.run(in: &workspace)
    var gradients: [String: Tensor] = [:]
    for name in parameters.keys { gradients[name] = try workspace.output("gradient/\(name)") }
    return gradients
  }

  /// Multiplies all weights of dense layers and convolutions.
  fileprivate mutating func scaleWeights(by factor: Double) throws {
    for view in graph.parameterViews where view.role.decaysByDefault {
      guard let tensor = parameters[view.name] else { continue }
      let scaled = tensor.elements(of: Float.self).map { $0 * Float(factor) }
      try setParameter(view.name, to: Tensor(scaled, shape: tensor.shape))
    }
  }
}

extension Tensor {
  /// The Euclidean norm of float32 elements.
  fileprivate var norm: Double {
    elements(of: Float.self).reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
  }
}
