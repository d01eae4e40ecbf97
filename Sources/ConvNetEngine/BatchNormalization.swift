public import ConvNetGraph
import Synchronization

/// Batch normalisation of plain tensors, without a network (Ioffe & Szegedy 2015).
///
///     let norm = BatchNormalization(.pyTorch)
///     let (y, batch) = try norm.forward(x, scale: gamma, shift: beta)         // training
///     running = norm.updated(running, with: batch) ?? running
///     let (dx, dGamma, dBeta) = try norm.backward(dy, x: x, scale: gamma, statistics: batch)
///     let z = try norm.inference(x, scale: gamma, shift: beta, running: running)
///
/// Tensors are float32 of any rank with their channels along `axis`: `[N, C]`, `[N, L, C]`,
/// `[N, H, W, C]`, `[N, D, H, W, C]` with axis −1, or channels first with axis 1. γ and β are float32
/// `[C]`; nil stands for 1 and 0. The results have the same bits on any number of lanes. What is prepared
/// for a shape is kept, shared by copies of the value, and may be used from several threads at once.
public struct BatchNormalization: Sendable {
  /// The conventions; whether there are γ, β and running statistics is said by the arguments instead.
  public let options: BatchNormalizationOptions
  /// Where the channels are; negative axes count from the back.
  public let axis: Int
  /// How it computes.
  public let strategy: PlanOptions.BatchNormalizationStrategy
  /// The threads that compute.
  public let lanes: Lanes
  private let plans = PlanCache()

  /// Makes a batch normalisation; nothing is prepared before the first call.
  public init(
    _ options: BatchNormalizationOptions = BatchNormalizationOptions(), axis: Int = -1,
    strategy: PlanOptions.BatchNormalizationStrategy = .fused, lanes: Lanes = .shared
  ) {
    self.options = options
    self.axis = axis
    self.strategy = strategy
    self.lanes = lanes
  }

  /// What a mini-batch's channels are like: the triple that merges by Chan, Golub & LeVeque's formula.
  public struct Statistics: Sendable, Equatable {
    /// m, the samples of a channel.
    public let count: Int
    /// μ, float64 `[C]`.
    public let mean: Tensor
    /// M2 = Σ(x − μ)², float64 `[C]`.
    public let m2: Tensor

    /// The variance, float64 `[C]`: M2/m or M2/(m − 1).
    public func variance(_ estimator: RunningVariance) -> Tensor {
      let divisor = Double(estimator == .unbiased ? count - 1 : count)
      return Tensor(m2.doubles.map { $0 / divisor }, shape: m2.shape)
    }
  }

  /// Running statistics.
  public struct Running: Sendable, Equatable {
    /// μ̂, float32 `[C]`.
    public var mean: Tensor
    /// σ̂², float32 `[C]`.
    public var variance: Tensor
    /// The updates so far.
    public var updateCount: Int

    /// Puts running statistics together.
    public init(mean: Tensor, variance: Tensor, updateCount: Int = 0) {
      self.mean = mean
      self.variance = variance
      self.updateCount = updateCount
    }

    /// Means 0 and variances 1, before any update.
    ///
    /// A negative number of channels stops the program.
    public init(channels: Int) {
      self.init(
        mean: Tensor(zeros: [channels]), variance: Tensor(repeating: Float(1), shape: [channels]))
    }
  }

  /// Gradients with respect to x, γ and β: dx of x's shape, dγ and dβ float32 `[C]`.
  public typealias Gradients = (dx: Tensor, dScale: Tensor, dShift: Tensor)

  /// Training: y = γ·(x − μ)/√(σ² + ε) + β with the batch's own mean and population variance.
  ///
  /// - Returns: y of x's shape, and the statistics, which `updated` and `backward` take.
  /// - Throws: `PlanError` of code `.singleSample` where channels have one sample and so no variance;
  ///   `PlanError` or `GraphError` where types or shapes do not fit.
  public func forward(
    _ x: Tensor, scale: Tensor? = nil, shift: Tensor? = nil
  ) throws -> (y: Tensor, statistics: Statistics) {
    let results = try run(
      .forward, ["x": x, "scale": scale, "shift": shift], shape: x.shape,
      hasScale: scale != nil, hasShift: shift != nil)
    let count = Int(results[1].doubles[0])
    return (results[0], Statistics(count: count, mean: results[2], m2: results[3]))
  }

  /// Inference: y = γ·(x − μ̂)/√(σ̂² + ε) + β with running statistics.
  ///
  /// - Throws: `PlanError` or `GraphError` where types or shapes do not fit.
  public func inference(
    _ x: Tensor, scale: Tensor? = nil, shift: Tensor? = nil, running: Running
  ) throws -> Tensor {
    try run(
      .inference,
      ["x": x, "scale": scale, "shift": shift, "mean": running.mean, "variance": running.variance],
      shape: x.shape, hasScale: scale != nil, hasShift: shift != nil)[0]
  }

  /// The gradients of training: dβ = Σ dy, dγ = Σ dy·x̂,
  /// dx = γ/√(σ² + ε)·(dy − dβ/m − x̂·dγ/m).
  ///
  /// - Parameters:
  ///   - dy: the gradient of y, of x's shape.
  ///   - x: what `forward` took.
  ///   - scale: γ as in `forward`.
  ///   - statistics: what `forward` returned.
  /// - Throws: `PlanError` or `GraphError` where types or shapes do not fit.
  public func backward(
    _ dy: Tensor, x: Tensor, scale: Tensor? = nil, statistics: Statistics
  ) throws -> Gradients {
    let results = try run(
      .backward(.batch),
      [
        "dy": dy, "x": x, "scale": scale, "count": Tensor(scalar: Double(statistics.count)),
        "mean": statistics.mean, "m2": statistics.m2,
      ], shape: x.shape, hasScale: scale != nil)
    return (results[0], results[1], results[2])
  }

  /// The gradients of inference and of a frozen layer, whose statistics are constants: dβ = Σ dy,
  /// dγ = Σ dy·x̂, dx = γ/√(σ̂² + ε)·dy.
  ///
  /// - Throws: `PlanError` or `GraphError` where types or shapes do not fit.
  public func backward(
    _ dy: Tensor, x: Tensor, scale: Tensor? = nil, running: Running
  ) throws -> Gradients {
    let results = try run(
      .backward(.running),
      ["dy": dy, "x": x, "scale": scale, "mean": running.mean, "variance": running.variance],
      shape: x.shape, hasScale: scale != nil)
    return (results[0], results[1], results[2])
  }

  /// The running statistics after one update by a batch's, as `options` says; nil where they must stay
  /// as they are, because a result would not be finite or the batch is too small for the estimator.
  ///
  /// Statistics of another number of channels stop the program. A decay outside 0...1 is not refused here,
  /// as it is in a network.
  public func updated(_ running: Running, with batch: Statistics) -> Running? {
    let rule = RunningStatistics(
      layer: "", mean: "", variance: "", updateCount: "", decay: options.decay,
      estimator: options.runningVariance)
    let new = rule.updated(
      RunningStatistics.Values(
        mean: running.mean, variance: running.variance,
        updateCount: Tensor(scalar: Int64(running.updateCount))),
      with: Moments(
        count: Double(batch.count), mean: batch.mean.doubles, m2: batch.m2.doubles))
    return new.map {
      Running(
        mean: $0.mean, variance: $0.variance,
        updateCount: Int($0.updateCount.elements(of: Int64.self)[0]))
    }
  }

  private func run(
    _ function: PlanKey.Function, _ inputs: [String: Tensor?], shape: Shape, hasScale: Bool,
    hasShift: Bool = false
  ) throws -> [Tensor] {
    let key = PlanKey(function: function, shape: shape, hasScale: hasScale, hasShift: hasShift)
    let plan = try plans.plan(key) {
      try BoundPlan(
        key.graph(axis: axis, epsilon: options.epsilon), lanes: lanes,
        options: PlanOptions(batchNormalization: strategy))
    }
    return try plan.run(inputs)
  }
}

/// What distinguishes the plans of one batch normalisation.
private struct PlanKey: Hashable {
  enum Function: Hashable {
    case forward
    case inference
    case backward(StatisticsSource)
  }

  let function: Function
  let shape: Shape
  let hasScale: Bool
  let hasShift: Bool

  /// The operations of a function, from named inputs to outputs in the order it returns them.
  func graph(axis: Int, epsilon: Double) throws -> Graph {
    let builder = GraphBuilder()
    let type = TensorType(.float32, shape)
    let channels: Shape = [shape[try type.normalizedAxis(axis)]]
    func row(_ name: String, _ elementType: ElementType = .float32) -> Graph.ValueID {
      builder.addInput(name, TensorType(elementType, channels))
    }
    func statistics(_ source: StatisticsSource) -> [Graph.ValueID] {
      source == .running
        ? [row("mean"), row("variance")]
        : [
          builder.addInput("count", TensorType(.float64, [] as Shape)), row("mean", .float64),
          row("m2", .float64),
        ]
    }
    let dy = if case .backward = function { builder.addInput("dy", type) } else { Graph.ValueID(0) }
    let x = builder.addInput("x", type)
    let scale = hasScale ? [row("scale")] : []
    var results: [Graph.ValueID]
    switch function {
    case .forward, .inference:
      let source: StatisticsSource = function == .forward ? .batch : .running
      let shift = hasShift ? [row("shift")] : []
      let moments =
        source == .running
        ? statistics(source)
        : builder.add(.batchMoments(BatchMoments(axis: axis)), [x], name: "batchNormalization")
      let normalize = Normalize(
        axis: axis, epsilon: epsilon, source: source, hasScale: hasScale, hasShift: hasShift)
      results = builder.add(.normalize(normalize), [x] + moments + scale + shift)
      if source == .batch { results += moments }
    case .backward(let source):
      let operands = [dy, x] + statistics(source)
      let gradient = NormalizeGradient(
        axis: axis, epsilon: epsilon, source: source, hasScale: hasScale)
      let sums = builder.add(.normalizeGradientSums(gradient), operands)
      results = builder.add(
        .normalizeGradientInput(gradient), operands + (source == .batch ? sums : []) + scale)
      results += [sums[1], sums[0]].map { builder.add(.cast(.float32), $0) }
    }
    for (index, result) in results.enumerated() { builder.addOutput("\(index)", result) }
    let graph = try builder.finish()
    try graph.verify()
    return graph
  }
}

/// The plans made so far; starts anew when there are many, as shapes that vary without end would keep
/// them all.
private final class PlanCache: Sendable {
  private static let limit = 32
  private let plans = Mutex<[PlanKey: BoundPlan]>([:])

  func plan(_ key: PlanKey, make: () throws -> BoundPlan) throws -> BoundPlan {
    if let plan = plans.withLock({ $0[key] }) { return plan }
    let plan = try make()
    plans.withLock {
      if $0.count >= Self.limit { $0.removeAll() }
      $0[key] = plan
    }
    return plan
  }
}
