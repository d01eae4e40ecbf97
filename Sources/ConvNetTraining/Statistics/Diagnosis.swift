public import ConvNetEngine
public import ConvNetGraph

extension Model {
  /// Compares the running statistics of every batch-normalisation layer with those of labelled data.
  ///
  /// The data run forward as in training, without dropout, so that each layer sees what recalibration
  /// would see. Nothing changes. Of decorrelated layers means and variances are compared, not covariances.
  /// Samples that their source leaves out as unreadable are not counted.
  ///
  /// - Parameters:
  ///   - data: a sample of what the model was trained on, or is to be used on.
  ///   - batchSize: the largest number of images computed together.
  ///   - lanes: the threads that compute.
  /// - Returns: the layers in the order of the network.
  /// - Throws: `TrainingError` where `batchSize` is below 1; `TrainingError`, `GraphError` or `PlanError`
  ///   where the data do not fit; `FileError` where an image cannot be read.
  public func diagnose(
    on data: any ImageSource, batchSize: Int = 128, lanes: Lanes = .shared
  ) throws -> [LayerDiagnosis] {
    var collector = try StatisticsCollector(self, includesFrozen: true, lanes: lanes)
    try collector.run(data, batchSize: batchSize)
    return collector.layers.map { LayerExamination(self, $0).diagnosis }
  }

  /// Compares the running statistics of every batch-normalisation layer with those of batches of inputs.
  ///
  /// - Parameters:
  ///   - batches: float32 inputs of a network with one input, normalised as it wants them.
  ///   - lanes: the threads that compute.
  /// - Returns: the layers in the order of the network.
  /// - Throws: as `diagnose(on:batchSize:lanes:)`.
  public func diagnose(on batches: [Tensor], lanes: Lanes = .shared) throws -> [LayerDiagnosis] {
    var collector = try StatisticsCollector(self, includesFrozen: true, lanes: lanes)
    try collector.run(batches)
    return collector.layers.map { LayerExamination(self, $0).diagnosis }
  }
}

/// One layer's numbers side by side.
struct LayerExamination {
  private let running: RunningStatistics
  private let batch: Moments?
  private let batchVariance: [Double]
  private let mean: [Double]
  private let variance: [Double]
  private let updateCount: Int
  private let scale: [Double]?
  private let shift: [Double]?
  private let epsilon: Double
  /// The samples of a channel in the smallest batch.
  private let smallestBatch: Double
  private let invalidBatches: Int

  init(_ model: Model, _ layer: StatisticsCollector.Layer) {
    running = layer.running
    batch = Moments.pooledRegardlessOfOrder(layer.batches)
    let mean = model.state[running.mean]?.doubles ?? []
    self.mean = mean
    func variances(_ numbers: [Double]) -> [Double] {
      RunningStatistics.variances(numbers, channels: mean.count)
    }
    variance = variances(model.state[running.variance]?.doubles ?? [])
    let updates = model.state[running.updateCount]?.doubles.first ?? 0
    updateCount = Int(max(0, min(updates, 1e15)))
    batchVariance = batch?.variance(running.estimator).map(variances) ?? variance
    invalidBatches = layer.invalidBatches
    smallestBatch = layer.batches.map(\.count).min() ?? 0
    let view = model.graph.batchNormalizationViews.first { $0.running?.mean == layer.running.mean }
    epsilon = view?.options.epsilon ?? 0
    scale = view?.scale.flatMap { model.parameters[$0]?.doubles }
    shift = view?.shift.flatMap { model.parameters[$0]?.doubles }
  }

  // MARK: Measures

  /// By channel, in units of the batch's deviation.
  private var meanDistances: [Double] {
    guard let batch else { return [] }
    return mean.indices.map {
      abs(mean[$0] - batch.mean[$0]) / (max(batchVariance[$0], 0) + floor).squareRoot()
    }
  }

  private var varianceRatios: [Double] {
    variance.indices.map { (max(variance[$0], 0) + floor) / (max(batchVariance[$0], 0) + floor) }
  }

  /// ε, or where there is none the least that keeps quotients finite.
  private var floor: Double { max(epsilon, 1e-12) }

  private var invalidChannels: [Int] {
    mean.indices.filter { c in
      let numbers = [mean[c], variance[c], scale?[c] ?? 1, shift?[c] ?? 0]
      return !numbers.allSatisfy(\.isFinite) || variance[c] < 0
    }
  }

  private var smallScales: Int {
    guard let scale, let largest = scale.map(abs).max(), largest.isFinite else { return 0 }
    return scale.count { abs($0) <= largest / 1000 }
  }

  /// Channels whose variance, running or of the batch, is finite and beyond the limit.
  private var explodingChannels: [Int] {
    variance.indices.filter { c in
      [variance[c], batchVariance[c]].contains { $0.isFinite && $0 > Self.explosion }
    }
  }

  private var isFrozen: Bool { !running.updates }

  var diagnosis: LayerDiagnosis {
    let (distances, ratios) = (meanDistances, varianceRatios)
    // NaN among the running statistics has findings of its own and does not hide the rest.
    let finite = ratios.filter(\.isFinite)
    let severity = ratios.indices.map { c in
      max(distances.isEmpty ? 0 : distances[c], abs(Self.logarithm(ratios[c])))
    }
    let worst = severity.indices.max { severity[$0] < severity[$1] } ?? 0
    return LayerDiagnosis(
      layer: running.layer, channels: mean.count, samples: Int(batch?.count ?? 0),
      updateCount: updateCount, isFrozen: isFrozen,
      meanDivergence: distances.filter(\.isFinite).max() ?? 0,
      varianceRatio: (finite.min() ?? 1)...(finite.max() ?? 1), worstChannel: worst,
      smallScaleCount: smallScales, smallVarianceCount: batchVariance.count { $0 <= epsilon },
      largeVarianceCount: explodingChannels.count, invalidCount: invalidChannels.count,
      findings: findings(distances, ratios))
  }

  /// log₂ of a ratio's size, by its exponent: enough to compare.
  private static func logarithm(_ ratio: Double) -> Double {
    ratio.isFinite && ratio > 0 ? Double(ratio.exponent) + ratio.significand - 1 : 0
  }

  // MARK: Findings

  /// A mean off by half a deviation or a variance by a factor of 2 changes what a network answers; noise
  /// of m samples is about √(2/m) of the variance.
  private static let meanLimit = 0.5
  private static let ratioLimit = 2.0
  /// Below so many samples the variance of a batch is off by a quarter and more as a rule: √(2/32).
  private static let tinyBatch = 32.0
  /// A deviation of a million: squares of what lies thirteen orders further are beyond float32, and
  /// activations that grew this far do not stop here.
  private static let explosion = 1e12

  /// The command that recalibrates this layer.
  private var recalibrate: String {
    "convnet recalibrate MODEL --data …" + (isFrozen ? " --including-frozen" : "")
  }
  private var recalibration: String { "Mend it with: \(recalibrate)" }

  private func findings(_ distances: [Double], _ ratios: [Double]) -> [LayerDiagnosis.Finding] {
    var findings: [LayerDiagnosis.Finding] = []
    func add(_ kind: LayerDiagnosis.Finding.Kind, _ cause: String, _ remedy: String) {
      findings.append(LayerDiagnosis.Finding(kind: kind, cause: cause, remedy: remedy))
    }
    let invalid = invalidChannels
    if !invalid.isEmpty {
      add(
        .notFinite,
        "\(invalid.count) of \(mean.count) channels, the first being \(invalid[0]), hold a number that "
          + "is not finite or a negative variance: the training that made them diverged.",
        "Where only running statistics are concerned: \(recalibrate); otherwise "
          + "go back to an earlier checkpoint and lower the learning rate.")
    }
    if invalidBatches > 0 {
      add(
        .notFinite,
        "In \(invalidBatches) batches the layer's input is not finite: the data, or a layer before this "
          + "one, give infinities or NaN.",
        "Mend the data and the layers before; recalibration refuses such input.")
    }
    let exploding = explodingChannels
    if let first = exploding.first {
      add(
        .exploding,
        "\(exploding.count) of \(mean.count) channels, the first being \(first), have a variance beyond "
          + "\(Self.explosion): activations grow from layer to layer or from step to step, until they are "
          + "not finite.",
        "Lower the learning rate or warm it up, normalise the data, or initialise with smaller weights."
      )
    }
    let diverges =
      distances.contains { $0 > Self.meanLimit }
      || ratios.contains { $0 > Self.ratioLimit || $0 < 1 / Self.ratioLimit }
    if updateCount == 0, !isFrozen {
      add(
        .neverUpdated,
        "The running statistics have never been updated: training ran without this layer's batch "
          + "statistics, or the model was imported without them.",
        recalibration)
    } else if diverges {
      findings.append(cause(distances, ratios))
    }
    addChannels(to: &findings)
    return findings
  }

  /// Why running statistics differ from the batch's, most specific first.
  private func cause(_ distances: [Double], _ ratios: [Double]) -> LayerDiagnosis.Finding {
    let finite = ratios.filter(\.isFinite)
    let farthest = distances.filter(\.isFinite).max() ?? 0
    let measure =
      "Running and batch statistics differ by up to \(Self.rounded(farthest)) deviations "
      + "in the mean and by factors of \(Self.rounded(finite.min() ?? 1)) to "
      + "\(Self.rounded(finite.max() ?? 1)) in the variance:"
    if isFrozen {
      return LayerDiagnosis.Finding(
        kind: .frozenMismatch,
        cause: "\(measure) the layer is frozen on statistics of other data.",
        remedy: "Unfreeze it and train on, or: \(recalibrate)")
    }
    let initial = initialWeight
    if initial > 0.01 {
      return LayerDiagnosis.Finding(
        kind: .tooFewUpdates,
        cause: "\(measure) after \(updateCount) updates the initial values still weigh "
          + "\(Self.rounded(initial * 100)) %, too few updates for the decay.",
        remedy: "Train longer or with a faster decay, or: \(recalibrate)")
    }
    if smallestBatch < Self.tinyBatch {
      return LayerDiagnosis.Finding(
        kind: .tinyBatches,
        cause:
          "\(measure) a batch has \(Int(smallestBatch)) samples of a channel, whose statistics are "
          + "mostly noise.",
        remedy: "Use larger batches, accumulate with pooled statistics, or group normalisation.")
    }
    return LayerDiagnosis.Finding(
      kind: .divergence,
      cause:
        "\(measure) the weights moved on since the last updates, or the data are of another kind "
        + "or normalised otherwise than in training.",
      remedy: recalibration)
  }

  /// What is left of the values that running statistics started from.
  private var initialWeight: Double {
    switch running.decay {
    case .cumulative: return 0
    case .keepOld, .takeNew:
      var (weight, factor, exponent) = (1.0, 1 - running.decay.weight(update: 1), updateCount)
      while exponent > 0 {
        if exponent & 1 == 1 { weight *= factor }
        factor *= factor
        exponent >>= 1
      }
      return weight
    }
  }

  private func addChannels(to findings: inout [LayerDiagnosis.Finding]) {
    let dead = smallScales
    if dead > 0 {
      findings.append(
        LayerDiagnosis.Finding(
          kind: .deadScale,
          cause:
            "\(dead) of \(mean.count) channels have a γ below a thousandth of the largest: they "
            + "give β whatever comes in.",
          remedy: "Prune them, or exempt γ from weight decay and train again."))
    }
    let constant = batchVariance.count { $0 <= epsilon }
    if constant > 0, batch != nil {
      findings.append(
        LayerDiagnosis.Finding(
          kind: .constantChannels,
          cause:
            "\(constant) of \(mean.count) channels have a variance below ε = \(epsilon): their "
            + "input is constant, as behind a dead rectifier or an empty border.",
          remedy: "Lower the learning rate or initialise the layer before anew."))
    }
  }

  /// Three significant digits.
  private static func rounded(_ value: Double) -> Double {
    guard value.isFinite, value != 0 else { return value }
    var scale = 1.0
    while abs(value) * scale < 100 { scale *= 10 }
    return (value * scale).rounded() / scale
  }
}
