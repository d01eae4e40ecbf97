/// The speed of a whole network in inference, as a caller of `Predictor` sees it.
///
///     let benchmark = try InferenceBenchmark(network: .resnet18)
///     print(try benchmark.run().timing.median)
public final class InferenceBenchmark {
  /// How a network is run.
  public struct Configuration: Sendable {
    /// Images of a run.
    public var batchSize: Int
    /// The height and width of the images; nil for the network's own.
    public var size: Int?
    /// Whether batch norm is folded into the layers beside it.
    public var foldsBatchNormalization: Bool
    /// The threads that compute.
    public var lanes: Lanes
    /// Strategies to force.
    public var options: PlanOptions

    /// Makes a configuration.
    public init(
      batchSize: Int = 1, size: Int? = nil, foldsBatchNormalization: Bool = true,
      lanes: Lanes = .shared, options: PlanOptions = PlanOptions()
    ) {
      self.batchSize = batchSize
      self.size = size
      self.foldsBatchNormalization = foldsBatchNormalization
      self.lanes = lanes
      self.options = options
    }
  }

  /// What was measured.
  public struct Result: Sendable {
    /// Whole runs.
    public let timing: Timing
    /// Bytes that the plan needs besides parameters.
    public let peakByteCount: Int
    /// Bytes of the model's parameters, before any is folded or packed.
    public let weightByteCount: Int
    /// Floating-point operations of a run by direct convolution: 2 for each multiply-add.
    public let operationCount: Int

    /// 10⁹ operations of direct convolution a second.
    public var gigaflops: Double { Double(operationCount) / timing.median / 1e9 }
  }

  private let predictor: Predictor
  private let inputs: [String: Tensor]
  private let weightByteCount: Int
  private let operationCount: Int

  /// Prepares a built-in network with random weights and the running statistics of a new one.
  ///
  /// - Throws: `GraphError` or `PlanError` where the network cannot have images of this size.
  public convenience init(
    network: Network, _ configuration: Configuration = Configuration()
  ) throws {
    let graph = try network.graph(size: configuration.size)
    _ = try Self.resolve(graph, configuration)
    try self.init(model: Model(randomizing: graph), configuration)
  }

  /// Prepares a model; extents it leaves open are the batch's first, then the image's.
  ///
  /// - Throws: `GraphError` or `PlanError` where it cannot be run in inference with these extents.
  public init(model: Model, _ configuration: Configuration = Configuration()) throws {
    let (shapes, resolved) = try Self.resolve(model.graph, configuration)
    weightByteCount = model.parameters.values.reduce(0) { $0 + $1.byteCount }
    operationCount = 2 * resolved.multiplyAddCount
    inputs = Dictionary(
      uniqueKeysWithValues: resolved.inputs.map { input in
        let (shape, type) = (shapes[input.name] ?? [], resolved.type(of: input.value).elementType)
        return (
          input.name,
          type == .float32
            ? Tensor(random: input.name, shape: shape) : Tensor(zeros: shape, elementType: type)
        )
      })
    predictor = try Predictor(
      model,
      options: PredictorOptions(
        plan: configuration.options, lanes: configuration.lanes, maximumConcurrency: 1,
        foldsBatchNormalization: configuration.foldsBatchNormalization))
  }

  /// Measures, in at least 5 runs and so many seconds, after two that do not count.
  ///
  /// Weights are packed in the first run, not before, so that a caller who has let the model go does not
  /// hold them twice.
  ///
  /// - Throws: `PlanError` where the engine cannot run the network.
  public func run(seconds: Double = 2) throws -> Result {
    _ = try predictor.predict(inputs)
    var failure: (any Error)?
    let timing = Timing.compare(
      seconds: seconds,
      [
        { [predictor, inputs] in
          do { _ = try predictor.predict(inputs) } catch { failure = error }
        }
      ])[0]
    if let failure { throw failure }
    return Result(
      timing: timing,
      peakByteCount: try predictor.plan(inputShapes: inputs.mapValues(\.shape)).peakByteCount,
      weightByteCount: weightByteCount, operationCount: operationCount)
  }

  /// The steps of the fastest of several runs.
  ///
  /// - Throws: `PlanError` where the engine cannot run the network.
  public func profile(runs: Int = 5) throws -> [Plan.StepTiming] {
    _ = try predictor.predict(inputs)
    return try .fastest(of: runs) { try predictor.profile(inputs) }
  }

  /// The shapes of the inputs, and the graph in inference for them.
  ///
  /// - Throws: besides errors of the graph, `PlanError` where it is clear from one layer that memory does
  ///   not suffice; so a slip of the finger does not bring a machine down.
  private static func resolve(
    _ graph: Graph, _ configuration: Configuration
  ) throws -> (shapes: [String: Shape], resolved: Graph) {
    guard configuration.batchSize >= 1 else {
      throw GraphError(
        .invalidShape, "a batch of \(configuration.batchSize) images cannot be measured")
    }
    let graph = try ResolveMode(.inference).apply(to: graph)
    let shapes = try shapes(of: graph.inputViews, configuration)
    let resolved = try graph.resolved(inputShapes: shapes)
    let largest = resolved.types.reduce(0) { max($0, $1.shape?.count ?? 0) }
    try ProcessMemory.check(
      4 * (largest + graph.trainableCount),
      for: "a run on \(shapes.map { "\($0) \($1)" }.sorted().joined(separator: ", "))")
    return (shapes, resolved)
  }

  private static func shapes(
    of inputs: [Graph.PortView], _ configuration: Configuration
  ) throws -> [String: Shape] {
    var shapes: [String: Shape] = [:]
    for input in inputs {
      let extents = try input.type.dimensions.enumerated().map { axis, dimension in
        if let extent = dimension.extent { return extent }
        if axis == 0 { return configuration.batchSize }
        if let size = configuration.size { return size }
        throw GraphError(
          .invalidShape, "\(input.type) leaves its size open, and none is given", at: input.name)
      }
      shapes[input.name] = try Shape(checking: extents)
    }
    return shapes
  }
}

extension Model {
  /// A network to be measured: evenly distributed weights of the variance 2/fan-in that keeps activations
  /// through ReLU layers, biases 0, γ 1, running means 0 and variances 1.
  ///
  /// Numbers go straight into place, because a benchmark's peak memory is to be the engine's.
  package init(randomizing graph: Graph) throws {
    var parameters: [String: Tensor] = [:]
    for parameter in graph.parameterViews {
      let shape = parameter.type.shape ?? []
      var tensor = Tensor(zeros: shape)
      switch parameter.role {
      case .bias, .normalizationShift, .constant: break
      case .normalizationScale: tensor = Tensor(repeating: Float(1), shape: shape)
      case .convolutionFilter, .denseWeight:
        let inputs = shape.dimensions.dropLast().reduce(1, *)
        Philox(seed: 1, purpose: parameter.name)
          .fill(&tensor, bound: Float((6 / Double(max(inputs, 1))).squareRoot()))
      }
      parameters[parameter.name] = tensor
    }
    try self.init(graph: graph, parameters: parameters, state: Model.initialState(of: graph))
  }
}

extension Philox {
  /// Fills memory with numbers evenly distributed in ±bound.
  func fill(_ values: UnsafeMutableBufferPointer<Float>, bound: Float) {
    for start in stride(from: 0, to: values.count, by: 4) {
      let words = block(UInt64(start / 4))
      for index in start..<min(start + 4, values.count) {
        values[index] = (Float(words[index - start]) * 0x1p-31 - 1) * bound
      }
    }
  }

  fileprivate func fill(_ tensor: inout Tensor, bound: Float) {
    tensor.withMutableBytes { fill($0.assumingMemoryBound(to: Float.self), bound: bound) }
  }
}

extension Tensor {
  /// Numbers evenly distributed in ±1, of a purpose.
  init(random purpose: String, shape: Shape) {
    self.init(zeros: shape)
    Philox(seed: 1, purpose: purpose).fill(&self, bound: 1)
  }
}

extension [Plan.StepTiming] {
  /// The profile that took the least time of several.
  static func fastest(of runs: Int, _ take: () throws -> Self) rethrows -> Self {
    let profiles = try (0..<Swift.max(runs, 1)).map { _ in try take() }
    func length(_ steps: Self) -> Double { steps.last.map { $0.start + $0.seconds } ?? 0 }
    return profiles.min { length($0) < length($1) } ?? []
  }
}
