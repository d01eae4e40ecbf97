import ArgumentParser
import ConvNet
import ConvNetImages

/// `convnet inspect`: what is in a saved model, and how it would be run.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows layers, shapes, parameters and batch-norm state of a saved model.",
    discussion: """
      --batch-norm and --folding show these alone. With --data, --batch-norm compares the running \
      statistics of every layer with those of a sample of the training images, and says what is \
      wrong, the likely cause and what mends it; --folding runs the images through the network \
      with batch norm folded into its neighbours and without, and shows how far rounding moves \
      what each layer computes (without --data on random numbers). --plan runs random numbers, too, to \
      show how far Winograd's minimal filtering is from the sums that define a convolution.
      """)

  /// Images the statistics of a layer are taken from unless told otherwise.
  static let sampleCount = 2048

  @Argument(help: NetworkOptions.modelHelp) var model: String
  @OptionGroup var networkOptions: NetworkOptions
  @Flag(help: "Show what was folded, the steps of an inference plan and the bytes it needs.")
  var plan = false
  @Flag(help: "Show the conventions, switches and numbers of the batch-norm layers.")
  var batchNorm = false
  @Flag(help: "Show which batch-norm layers fold into which layers, and how far that moves them.")
  var folding = false
  @Option(help: "Images for --batch-norm or --folding: fashion-mnist or a folder, as for train.")
  var data: String?
  @Option(parsing: .unconditional, help: "Images of the sample for --batch-norm.")
  var samples = Self.sampleCount
  @Option(
    parsing: .unconditional,
    help: "Images at once: by default 1 for --plan, 16 for --folding, 128 for --batch-norm.")
  var batch: Int?
  @Option(
    parsing: .unconditional,
    help: "Height and width for --plan and --folding, where the model leaves them open.")
  var size: Int?
  @OptionGroup var foldingOptions: FoldingOptions
  @OptionGroup var exactnessOptions: ExactnessOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  func run() throws {
    if let batch, batch < 1 { throw ToolError("--batch must be at least 1, not \(batch)") }
    guard samples >= 1 else { throw ToolError("--samples must be at least 1, not \(samples)") }
    if let size, size < 1 { throw ToolError("--size must be at least 1, not \(size)") }
    guard data == nil || batchNorm || folding else {
      throw ToolError("--data belongs to --batch-norm or --folding")
    }
    let model = try networkOptions.load(model)
    let kernels = plan || batchNorm || folding ? try kernelOptions.bootstrap() : ""
    let lanes = try laneOptions.make()
    let images = try data.map {
      try DataOptions.load($0, model.imageTreatment().preprocessing).training()
    }
    var report = InspectReport()
    if !batchNorm && !folding { report.network = NetworkReport(model) }
    if batchNorm || !folding {
      report.batchNorm = try batchNormalization(of: model, images, lanes: lanes)
    }
    if plan {
      report.plan = try PlanReport(
        foldingOptions.fold(model), inputs: randomInputs(of: model, batch: batch ?? 1),
        options: exactnessOptions.planOptions, lanes: lanes, kernels: kernels)
    }
    if folding { report.folding = try drift(of: model, images, lanes: lanes) }
    try json ? Output.json(report) : report.print(showsConventions: batchNorm)
  }

  private func batchNormalization(
    of model: Model, _ images: (any ImageSource)?, lanes: Lanes
  ) throws -> [BatchNormalizationReport] {
    let diagnoses =
      try images.map {
        try model.diagnose(on: $0.sample(samples), batchSize: batch ?? 128, lanes: lanes)
      } ?? []
    let byLayer = Dictionary(diagnoses.map { ($0.layer, $0) }) { first, _ in first }
    let place = RecalibrateCommand.Place(model: self.model, data: data ?? "…")
    return model.batchNormalizationStates.map {
      BatchNormalizationReport($0, byLayer[$0.layer.layer], mendedBy: place)
    }
  }

  private func drift(
    of model: Model, _ images: (any ImageSource)?, lanes: Lanes
  ) throws -> FoldingReport {
    let folded = try FoldBatchNormalization().fold(model)
    let count = batch ?? 16
    let drifts =
      if let images {
        try FoldingDrift.measure(model, folded, on: images.sample(count), lanes: lanes)
      } else {
        try FoldingDrift.measure(
          model, folded, inputs: randomInputs(of: model, batch: count), lanes: lanes)
      }
    return FoldingReport(folded.report, drifts, data: data, images: count)
  }

  /// The shape of every input: an open first extent is the batch, others are the size.
  private func inputShapes(of model: Model, batch: Int) throws -> [String: Shape] {
    let graph = try ResolveMode(.inference).apply(to: model.graph)
    return try graph.inputViews.reduce(into: [:]) { shapes, input in
      let extents = try input.type.dimensions.enumerated().map { axis, dimension in
        if let extent = dimension.extent { return extent }
        if axis == 0 { return batch }
        if let size { return size }
        throw ToolError("the input “\(input.name)” is \(input.type), so --size is needed")
      }
      shapes[input.name] = try Shape(checking: extents)
    }
  }

  /// Numbers between −√3 and √3, whose variance is 1, for float32 inputs; zeros for the others.
  private func randomInputs(of model: Model, batch: Int) throws -> [String: Tensor] {
    let types = model.graph.inputViews.map { ($0.name, $0.type.elementType) }
    let elements = Dictionary(types) { first, _ in first }
    return try inputShapes(of: model, batch: batch).reduce(into: [:]) { inputs, entry in
      let (name, shape) = entry
      let random = Philox(seed: 1, purpose: name)
      inputs[name] =
        elements[name] == .float32
        ? Tensor(
          random.uniforms(shape.count, bound: 3.0.squareRoot()).map { Float($0) }, shape: shape)
        : Tensor(zeros: shape, elementType: elements[name] ?? .float32)
    }
  }
}
