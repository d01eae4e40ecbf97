import ConvNetEngine
import ConvNetGraph

/// Runs a model forward in training mode and collects the moments its batch-normalisation layers see.
struct StatisticsCollector {
  /// What one layer saw.
  struct Layer {
    let running: RunningStatistics
    /// The moments of each batch.
    var batches: [Moments] = []
    /// Batches whose moments were not finite and left out; an error unless frozen layers are looked at.
    var invalidBatches = 0
  }

  private let model: Model
  private let includesFrozen: Bool
  private let lanes: Lanes
  private let input: String
  private let store: ParameterStore
  private var passes: [Shape: ForwardPass] = [:]
  /// The layers in the order of the network.
  private(set) var layers: [Layer] = []

  /// Prepares a model with one input.
  ///
  /// - Parameter includesFrozen: whether layers that do not update are looked at too.
  init(_ model: Model, includesFrozen: Bool, lanes: Lanes) throws {
    let inputs = model.graph.inputs.filter { $0.name != GraphBuilder.randomKeyName }
    guard inputs.count == 1 else {
      throw TrainingError(
        .invalidData,
        "statistics are collected from networks with one input, not "
          + "\(inputs.map(\.name).joined(separator: ", "))")
    }
    self.model = model
    self.includesFrozen = includesFrozen
    self.lanes = lanes
    input = inputs[0].name
    store = ParameterStore(model)
    for node in model.graph.nodes {
      guard let running = node.operation.running, includesFrozen || running.updates,
        !layers.contains(where: { $0.running.mean == running.mean })
      else { continue }
      layers.append(Layer(running: running))
    }
  }

  /// Runs every batch of plain tensors.
  mutating func run(_ batches: [Tensor]) throws {
    for batch in batches {
      let pass = try pass(for: batch.shape)
      try pass.workspace.setInput(input, to: batch)
      try collect(pass, shape: batch.shape)
    }
  }

  /// Runs all samples in batches whose sizes differ by one at most, so that none is left with one sample.
  mutating func run(_ data: any ImageSource, batchSize: Int) throws {
    guard batchSize >= 1 else {
      throw TrainingError(.invalidOption, "a batch cannot have \(batchSize) images")
    }
    let assembler = try BatchAssembler(data: data, normalization: model.normalization)
    let loader = try BatchLoader(
      assembler, order: 0..<data.count, batchSize: batchSize, lanes: lanes)
    let parts = (data.count + batchSize - 1) / batchSize
    for samples in Accumulation(steps: max(parts, 1)).parts(of: data.count) {
      try run(loader, shape: data.batchShape(samples.count))
    }
  }

  /// Runs the next images of a loader, of which fewer may be left where samples are unreadable.
  private mutating func run(_ loader: BatchLoader, shape: Shape) throws {
    let pass = try pass(for: shape)
    let count = try pass.workspace.withInput(input) {
      try loader.next(into: $0.assumingMemoryBound(to: Float.self)).count
    }
    guard count < shape[0] else { return try collect(pass, shape: shape) }
    guard count > 0 else { return }
    let images = try pass.workspace.withInput(input) { bytes in
      Tensor(Array(bytes.assumingMemoryBound(to: Float.self)), shape: shape)
    }
    try run([images.samples(0..<count)])
  }

  /// Runs a pass whose input is there, and keeps the moments of every layer.
  private mutating func collect(_ pass: ForwardPass, shape: Shape) throws {
    pass.plan.run(in: &pass.workspace)
    for layer in pass.ports {
      guard let place = layers.firstIndex(where: { $0.running.mean == layer.running.mean }) else {
        continue
      }
      let moments = try layer.moments { try pass.workspace.output($0) }
      if includesFrozen, !moments.isFinite {
        layers[place].invalidBatches += 1
        continue
      }
      guard moments.isFinite else {
        throw TrainingError(
          .notFinite,
          "the statistics of \(layer.running.layer) over a batch \(shape) are not finite")
      }
      if moments.count > 0 { layers[place].batches.append(moments) }
    }
  }

  private mutating func pass(for shape: Shape) throws -> ForwardPass {
    if let known = passes[shape] { return known }
    let step = try model.graph.statisticsStep(
      inputShapes: [input: shape], includesFrozen: includesFrozen)
    let plan = try Plan(step.graph, inputShapes: [:], lanes: lanes)
    let pass = try ForwardPass(plan: plan, ports: step.layers, store: store)
    passes[shape] = pass
    return pass
  }

  /// A plan for one batch shape and the memory it runs in.
  private final class ForwardPass {
    let plan: Plan
    let ports: [StatisticsPorts]
    var workspace: Workspace

    init(plan: Plan, ports: [StatisticsPorts], store: ParameterStore) throws {
      self.plan = plan
      self.ports = ports
      workspace = plan.makeWorkspace(for: store)
      let limits = GraphBuilder.renormalizationLimitsName
      if (try? plan.inputType(limits)) != nil {
        // Statistics for inference are those of plain batch norm.
        try workspace.setInput(limits, to: Tensor([1, 0] as [Float]))
      }
    }
  }
}
