import ConvNet

/// A batch-norm layer for `convnet inspect`: conventions, switches, numbers and, with data, a diagnosis.
struct BatchNormalizationReport: Encodable {
  /// The smallest and largest of some numbers.
  struct Range: Encodable, CustomStringConvertible {
    var min: Double
    var max: Double

    /// NaN makes both ends NaN, so that it shows.
    init?(_ tensor: Tensor?) {
      guard let values = tensor?.doubles, let first = values.first else { return nil }
      let hasNaN = values.contains(where: \.isNaN)
      min = hasNaN ? .nan : values.reduce(first) { Swift.min($0, $1) }
      max = hasNaN ? .nan : values.reduce(first) { Swift.max($0, $1) }
    }

    init(_ range: ClosedRange<Double>) { (min, max) = (range.lowerBound, range.upperBound) }

    var description: String { "\(significant(min)) to \(significant(max))" }
  }

  struct Finding: Encodable {
    var kind: String
    var cause: String
    var remedy: String
    /// What to call, where a command mends it.
    var command: String?
  }

  struct Diagnosis: Encodable {
    var samples: Int
    var meanDivergence: Double
    var varianceRatio: Range
    var worstChannel: Int
    var smallScaleCount: Int
    var smallVarianceCount: Int
    var largeVarianceCount: Int
    var invalidCount: Int
    var findings: [Finding]
  }

  var layer: String
  var channels: Int
  var axis: Int
  /// The channels that a decorrelated layer whitens together.
  var groupSize: Int?
  var epsilon: Double
  /// These five are nil where the layer keeps no running statistics.
  var decay: String?
  var estimator: String?
  var updateCount: Int?
  var runningMean: Range?
  var runningVariance: Range?
  var source: String
  var updates: Bool
  var trainsAffine: Bool
  var frozen: Bool
  var scale: Range?
  var shift: Range?
  var diagnosis: Diagnosis?

  init(
    _ state: Model.BatchNormalizationState, _ diagnosis: LayerDiagnosis?,
    mendedBy place: RecalibrateCommand.Place
  ) {
    let view = state.layer
    let tracks = view.options.tracksRunningStatistics
    (layer, channels, axis, epsilon) = (view.layer, view.channels, view.axis, view.options.epsilon)
    groupSize = view.groupSize
    decay = tracks ? "\(view.options.decay)" : nil
    estimator = tracks ? view.options.runningVariance.rawValue : nil
    updateCount = state.updateCount
    (runningMean, runningVariance) = (Range(state.runningMean), Range(state.runningVariance))
    source = view.source.rawValue
    (updates, trainsAffine, frozen) = (view.updates, view.trainsAffine, view.isFrozen)
    (scale, shift) = (Range(state.scale), Range(state.shift))
    self.diagnosis = diagnosis.map { found in
      Diagnosis(
        samples: found.samples, meanDivergence: found.meanDivergence,
        varianceRatio: Range(found.varianceRatio), worstChannel: found.worstChannel,
        smallScaleCount: found.smallScaleCount, smallVarianceCount: found.smallVarianceCount,
        largeVarianceCount: found.largeVarianceCount, invalidCount: found.invalidCount,
        findings: found.findings.map(place.finding))
    }
  }

  /// What training does not do with the layer, in words; empty for a layer that learns as usual.
  private var switches: String {
    if frozen { return "frozen" }
    if estimator == nil { return "keeps no running statistics" }
    var words: [String] = []
    if source == StatisticsSource.running.rawValue { words.append("trains on running statistics") }
    if !updates { words.append("statistics fixed") }
    if !trainsAffine, scale != nil || shift != nil { words.append("γ, β fixed") }
    return words.joined(separator: ", ")
  }

  /// Prints all layers as tables.
  static func print(_ layers: [BatchNormalizationReport], showsConventions: Bool) throws {
    guard !layers.isEmpty else { return try Output.line("there is no batch norm") }
    if showsConventions {
      try Output.table(
        [["batch norm", "channels", "ε", "decay", "variance", "in training"]]
          + layers.map {
            [
              $0.layer, "\($0.channels)", "\($0.epsilon)", $0.decay ?? "", $0.estimator ?? "",
              $0.switches.isEmpty ? "learns" : $0.switches,
            ]
          }, right: [1, 2])
      try Output.line()
    }
    try Output.table(
      [["batch norm", "updates", "running mean", "running variance", "γ", "β", ""]]
        + layers.map {
          [$0.layer, $0.updateCount.map { "\($0)" } ?? ""]
            + [$0.runningMean, $0.runningVariance, $0.scale, $0.shift].map {
              $0?.description ?? "none"
            } + [showsConventions ? "" : $0.switches]
        }, right: [1])
    let diagnosed = layers.filter { $0.diagnosis != nil }
    if !diagnosed.isEmpty { try printDiagnoses(diagnosed) }
  }

  private static func printDiagnoses(_ layers: [BatchNormalizationReport]) throws {
    try Output.line()
    let header = [
      "batch norm", "samples", "mean off by", "running / batch variance", "worst channel",
    ]
    try Output.table(
      [header]
        + layers.map { layer in
          guard let found = layer.diagnosis else { return [layer.layer] }
          return [
            layer.layer, "\(found.samples)", significant(found.meanDivergence),
            found.varianceRatio.description, "\(found.worstChannel)",
          ]
        }, right: [1, 2, 4])
    try Output.line("means are compared in deviations of the batch\n")
    try printFindings(layers)
  }

  /// What is wrong, followed by what mends it; layers that the same thing mends stand together.
  private static func printFindings(_ layers: [BatchNormalizationReport]) throws {
    let findings = layers.flatMap { layer in
      (layer.diagnosis?.findings ?? []).map { (layer: layer.layer, finding: $0) }
    }
    guard !findings.isEmpty else {
      return try Output.line("nothing is wrong with any of these layers")
    }
    var mended: Set<String> = []
    for (_, finding) in findings where mended.insert(finding.remedy).inserted {
      for other in findings where other.finding.remedy == finding.remedy {
        try Output.line("\(other.layer): \(other.finding.cause)")
      }
      try Output.line("-> \(finding.remedy)")
    }
  }
}
