import ConvNet

/// What `convnet inspect` found out; sections that were not asked for are nil.
struct InspectReport: Encodable {
  var network: NetworkReport?
  var batchNorm: [BatchNormalizationReport]?
  var plan: PlanReport?
  var folding: FoldingReport?

  /// Prints the sections as text, an empty line between them.
  func print(showsConventions: Bool) throws {
    var sections: [() throws -> Void] = []
    if let network { sections.append(network.print) }
    if let batchNorm, network == nil || !batchNorm.isEmpty {
      sections.append {
        try BatchNormalizationReport.print(batchNorm, showsConventions: showsConventions)
      }
    }
    if let plan { sections.append(plan.print) }
    if let folding { sections.append(folding.print) }
    for (index, section) in sections.enumerated() {
      if index > 0 { try Output.line() }
      try section()
    }
  }
}

/// Metadata, layers and parameters.
struct NetworkReport: Encodable {
  struct Layer: Encodable {
    var name: String
    var operation: String
    var results: [String]
  }
  struct Parameter: Encodable {
    var name: String
    var role: String
    var type: String
    var count: Int
    var frozen: Bool
  }

  var metadata: [String: String]
  /// Inputs, operations and outputs, in the order of the network.
  var layers: [Layer]
  var parameters: [Parameter]
  var trainableCount: Int

  init(_ model: Model) {
    let graph = model.graph
    func port(_ port: Graph.PortView, _ kind: String) -> Layer {
      Layer(name: port.name, operation: kind, results: [port.type.description])
    }
    metadata = model.metadata
    layers =
      graph.inputViews.map { port($0, "input") }
      + graph.nodeViews.map {
        Layer(name: $0.name, operation: $0.operation, results: $0.outputs.map(\.description))
      } + graph.outputViews.map { port($0, "output") }
    parameters = graph.parameterViews.map {
      Parameter(
        name: $0.name, role: $0.role.rawValue, type: $0.type.description,
        count: $0.type.shape?.count ?? 0, frozen: !$0.isTrainable)
    }
    trainableCount = graph.trainableCount
  }

  func print() throws {
    if !metadata.isEmpty {
      try Output.table(
        metadata.sorted { $0.key < $1.key }.map { key, value in
          [key, value.split(separator: "\n").joined(separator: ", ")]
        })
      try Output.line()
    }
    try Output.table(
      [["layer", "operation", "result"]]
        + layers.map { [$0.name, $0.operation, $0.results.joined(separator: ", ")] })
    try Output.line()
    try Output.table(
      [["parameter", "role", "type", "numbers"]]
        + parameters.map {
          [$0.name, $0.role, $0.type, "\($0.count)", $0.frozen ? "frozen" : ""]
        }, right: [3])
    try Output.line("\(trainableCount) numbers are trained")
  }
}

/// How a model would be run for inference.
struct PlanReport: Encodable {
  /// The strategy of one convolution, and why others are not taken.
  struct Convolution: Encodable {
    var layer: String
    var strategy: String
    var declined: [String: String]
    /// The tiles of Winograd's minimal filtering.
    var tiles: String?
    /// Their largest error in units of the layer's largest result.
    var error: Double?

    init(_ choice: ConvolutionChoice, _ error: WinogradError?) {
      (layer, strategy) = (choice.layer, choice.chosen)
      (tiles, self.error) = (error?.tiles, error?.relative)
      declined = Dictionary(choice.declined.map { ($0.strategy, $0.reason) }) { first, _ in first }
    }
  }

  var inputs: [String: [Int]]
  var lanes: Int
  var kernels: String
  var folded: [FoldingReport.Fold]
  var kept: [FoldingReport.Kept]
  var convolutions: [Convolution]
  /// Transposes of activations that are left.
  var transposes: Int
  var steps: [String]
  var peakBytes: Int
  var arenaBytes: Int
  var scratchBytes: Int

  init(
    _ folded: (model: Model, report: FoldBatchNormalization.Report), inputs: [String: Tensor],
    options: PlanOptions, lanes: Lanes, kernels: String
  ) throws {
    let plan = try Plan(
      folded.model, mode: .inference, inputShapes: inputs.mapValues(\.shape), lanes: lanes,
      options: options)
    let errors = try WinogradError.measure(
      folded.model, inputs: inputs, lanes: lanes, options: options)
    let errorOfLayer = Dictionary(errors.map { ($0.layer, $0) }) { first, _ in first }
    self.inputs = inputs.mapValues(\.shape.dimensions)
    self.lanes = lanes.count
    self.kernels = kernels
    self.folded = folded.report.folds.map {
      FoldingReport.Fold(batchNorm: $0.normalization, layer: $0.layer)
    }
    kept = folded.report.kept.map {
      FoldingReport.Kept(batchNorm: $0.normalization, reason: $0.reason)
    }
    convolutions = plan.convolutionChoices.map { Convolution($0, errorOfLayer[$0.layer]) }
    transposes = plan.transposeCount
    steps = plan.stepDescriptions
    peakBytes = plan.peakByteCount
    arenaBytes = plan.arenaByteCount
    scratchBytes = plan.scratchByteCount
  }

  func print() throws {
    let shapes = inputs.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    try Output.line(
      "plan for \(shapes.joined(separator: ", ")), \(lanes) lanes, \(kernels) kernels")
    for fold in folded {
      try Output.line(
        fold.layer == fold.batchNorm
          ? "  \(fold.batchNorm) became a scale and a shift"
          : "  \(fold.batchNorm) is folded into \(fold.layer)")
    }
    for layer in kept { try Output.line("  \(layer.batchNorm) is not folded: \(layer.reason)") }
    for layer in convolutions {
      let declined = layer.declined.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value))" }
      try Output.line(
        "  \(layer.layer) is computed by \(layer.strategy)"
          + (layer.tiles.map { " \($0), error \(significant(layer.error ?? .nan)) of the largest" }
            ?? "")
          + (declined.isEmpty ? "" : "; declined: \(declined.joined(separator: ", "))"))
    }
    try Output.line("  transposes of activations: \(transposes)")
    for step in steps { try Output.line("  \(step)") }
    try Output.line(
      "\(peakBytes) bytes: arena \(arenaBytes), scratch of a lane \(scratchBytes), "
        + "the rest packed weights")
  }
}

/// What folding did and how far it moved the layers.
struct FoldingReport: Encodable {
  struct Fold: Encodable {
    var batchNorm: String
    var layer: String
    /// Absolute, relative to the largest result, and that.
    var difference: Double?
    var relative: Double?
    var largest: Double?
  }
  struct Kept: Encodable {
    var batchNorm: String
    var reason: String
  }

  /// Where images came from; nil for random numbers.
  var data: String?
  var images: Int
  var folded: [Fold]
  var kept: [Kept]

  init(
    _ report: FoldBatchNormalization.Report, _ drifts: [FoldingDrift], data: String?, images: Int
  ) {
    self.data = data
    self.images = images
    folded = drifts.map {
      Fold(
        batchNorm: $0.normalization, layer: $0.layer, difference: $0.difference,
        relative: $0.relative, largest: $0.largest)
    }
    kept = report.kept.map { Kept(batchNorm: $0.normalization, reason: $0.reason) }
  }

  func print() throws {
    if folded.isEmpty { try Output.line("no batch norm is folded") }
    if !folded.isEmpty {
      try Output.table(
        [["batch norm", "folded into", "largest drift", "of largest result", "which is"]]
          + folded.map { fold in
            [fold.batchNorm, fold.layer]
              + [fold.difference, fold.relative, fold.largest].map { significant($0 ?? .nan) }
          }, right: [2, 3, 4])
      try Output.line(
        "on a batch of \(images) from \(data ?? "random numbers"); float32 itself resolves "
          + significant(Double(Float.ulpOfOne)))
    }
    for layer in kept { try Output.line("\(layer.batchNorm) is not folded: \(layer.reason)") }
  }
}
