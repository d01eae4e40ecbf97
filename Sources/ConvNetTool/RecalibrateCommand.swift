import ArgumentParser
import ConvNet
import ConvNetImages

/// `convnet recalibrate`: exact running statistics in the place of moving averages.
struct RecalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recalibrate",
    abstract: "Replaces running statistics by the exact ones of the training images.",
    discussion: """
      One pass over the images in training mode, without dropout. The mean and variance of each \
      batch-norm layer become those of all it has seen, whatever the order of the batches. Weights \
      stay as they are, and so do frozen layers unless --including-frozen is given. The file is \
      replaced as a whole or not at all.
      """)

  @Argument(help: "A model that train --save wrote.") var model: String
  @OptionGroup var dataOptions: DataOptions
  @Option(help: "Where to write the model; by default it replaces the one that was read.")
  var output: String?
  @Option(
    parsing: .unconditional,
    help: "Images computed together; best as many as in training.")
  var batchSize = 128
  @Option(
    parsing: .unconditional,
    help: "Use so many training images, spread evenly over all; by default all of them.")
  var samples: Int?
  @Flag(help: "Recalibrate frozen layers, too; they stay frozen, on the new statistics.")
  var includingFrozen = false
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Result: Encodable {
    struct Layer: Encodable {
      var layer: String
      var recalibrated: Bool
      /// In deviations of the new statistics.
      var meanChange: Double
      /// Old over new.
      var varianceRatio: BatchNormalizationReport.Range
      var invalidCount: Int
      var updateCount: Int
    }

    var saved: String
    var samples: Int
    var lanes: Int
    var kernels: String
    var layers: [Layer]
  }

  func run() throws {
    if let samples, samples < 1 {
      throw ToolError("--samples must be at least 1, not \(samples)")
    }
    guard try output != nil || ModelFormat.recognize(model) == .saved else {
      throw ToolError("\(model) is no saved model, so --output is needed")
    }
    let path = output ?? model
    try Output.checkFolder(of: path)
    var old = try ModelFormat.load(model)
    let targets = try layers(of: old)
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let labelled = try dataOptions.load(old.imageTreatment().preprocessing)
    defer { labelled.remarkOnUnreadable() }
    var data = try labelled.training()
    if let samples { data = try data.sample(samples) }
    old = try old.taking(data)
    let new = try recalibrated(old, targets, data, lanes: lanes)
    try ModelFile.save(new, to: path)
    let changes = try new.statisticsChanges(since: old).map {
      Result.Layer(
        layer: $0.layer, recalibrated: targets.contains($0.layer), meanChange: $0.meanChange,
        varianceRatio: .init($0.varianceRatio), invalidCount: $0.invalidCount,
        updateCount: $0.updateCount)
    }
    try report(
      Result(
        saved: path, samples: data.count, lanes: lanes.count, kernels: kernels, layers: changes))
  }

  /// The layers that will have other statistics.
  private func layers(of model: Model) throws -> Set<String> {
    let all = model.graph.batchNormalizationViews.filter(\.options.tracksRunningStatistics)
    guard !all.isEmpty else {
      throw ToolError("\(self.model) has no batch norm with running statistics")
    }
    let targets = all.filter { $0.updates || includingFrozen }
    guard !targets.isEmpty else {
      throw ToolError(
        "all batch-norm layers of \(self.model) are frozen, see --including-frozen")
    }
    return Set(targets.map(\.layer))
  }

  private func recalibrated(
    _ model: Model, _ layers: Set<String>, _ data: any ImageSource, lanes: Lanes
  ) throws -> Model {
    // Frozen layers learn from the batch meanwhile; replacing the graph puts their switches back.
    let fixed = model.graph.batchNormalizationViews.filter {
      layers.contains($0.layer) && !$0.updates
    }
    var changed = try model.settingBatchNormalization(
      fixed.map(\.layer), source: .batch, updates: true)
    try changed.recalibrate(on: data, batchSize: batchSize, lanes: lanes)
    return try changed.replacingGraph(model.graph)
  }

  private func report(_ result: Result) throws {
    if json { return try Output.json(result) }
    let header = ["batch norm", "mean moved by", "old / new variance", "updates", ""]
    try Output.table(
      [header]
        + result.layers.map { layer in
          [
            layer.layer, significant(layer.meanChange), layer.varianceRatio.description,
            "\(layer.updateCount)",
            layer.recalibrated
              ? layer.invalidCount > 0 ? "\(layer.invalidCount) channels were not finite" : ""
              : "frozen, left alone",
          ]
        }, right: [1, 3])
    try Output.line(
      "means moved in deviations of the new statistics; \(result.samples) images, saved in "
        + result.saved)
  }

  /// What a diagnosis was made of, to be named in the command that mends it.
  struct Place {
    var model: String
    var data: String

    /// The finding with this model and data in its remedy.
    func finding(_ finding: LayerDiagnosis.Finding) -> BatchNormalizationReport.Finding {
      let command = "convnet recalibrate \(Self.quoted(model)) --data \(Self.quoted(data))"
      let general = "convnet recalibrate MODEL --data …"
      let isMended = finding.remedy.contains(general)
      let flag = " --including-frozen"
      return BatchNormalizationReport.Finding(
        kind: finding.kind.rawValue, cause: finding.cause,
        remedy: finding.remedy.replacing(general, with: command),
        command: isMended ? command + (finding.remedy.contains(flag) ? flag : "") : nil)
    }

    /// A word as a shell reads it.
    private static func quoted(_ word: String) -> String {
      let isPlain = word.allSatisfy { $0.isLetter || $0.isNumber || "/._-+=:,@%".contains($0) }
      return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
    }
  }
}
