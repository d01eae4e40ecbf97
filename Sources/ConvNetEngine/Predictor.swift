import CConvNetThreads
public import ConvNetGraph

/// What can be decided about a predictor from outside.
public struct PredictorOptions: Sendable {
  /// Strategies to force.
  public var plan: PlanOptions
  /// The threads that one prediction is spread over.
  public var lanes: Lanes
  /// How many predictions are computed at once, each in a workspace of its own; further callers wait.
  public var maximumConcurrency: Int
  /// How many input shapes keep their plan; the least recently used goes.
  public var planCacheLimit: Int
  /// Whether batch norm is folded into the layers beside it.
  public var foldsBatchNormalization: Bool

  /// Makes options.
  ///
  /// - Parameters:
  ///   - plan: strategies to force.
  ///   - lanes: the threads that one prediction is spread over, the caller's among them. While another
  ///     prediction has them, a prediction computes on its caller's thread alone.
  ///   - maximumConcurrency: how many predictions are computed at once, at least 1; as many as there are
  ///     lanes unless given.
  ///   - planCacheLimit: how many input shapes keep their plan, at least 1.
  ///   - foldsBatchNormalization: whether batch norm is folded into the layers beside it.
  public init(
    plan: PlanOptions = PlanOptions(), lanes: Lanes = .shared, maximumConcurrency: Int? = nil,
    planCacheLimit: Int = 8, foldsBatchNormalization: Bool = true
  ) {
    self.plan = plan
    self.lanes = lanes
    self.maximumConcurrency = maximumConcurrency ?? lanes.count
    self.planCacheLimit = planCacheLimit
    self.foldsBatchNormalization = foldsBatchNormalization
  }
}

/// A model made ready to answer: what a server program holds.
///
///     let predictor = try Predictor(model)
///     let y = try predictor.predict(x)                      // on the calling thread and the lanes
///     let ys = try await predictor.predict(["input": x])    // the task is suspended meanwhile
///
/// A predictor never changes and may be called by any number of threads and tasks at once. It runs the
/// model in inference mode. Equal inputs give equal bits, whoever asks and whoever asks at the same time.
///
/// Callers beyond `maximumConcurrency` wait their turn, first come, first served. A calling thread sleeps
/// meanwhile and then computes itself. A task is suspended until its result is there, and may be cancelled
/// while it waits; it is computed on a thread of the predictor, never on Swift's cooperative pool.
///
/// Memory: the model's tensors are shared, not copied, until their weights are packed by the first plan.
/// Where all extents but the batch's are fixed, a packed tensor is let go, so that the predictor holds each
/// weight once, provided the caller keeps no model. Plans share the packed weights; predictions at once take
/// one workspace each, as large as the largest kept plan needs.
public final class Predictor: Sendable {
  /// The network that runs: in inference mode, constants and, unless told otherwise, batch norm folded.
  public let graph: Graph
  let interface: PredictorInterface
  let core: PredictorCore
  private let queue: PredictorQueue

  /// Makes a model ready; plans are made when a shape is first asked for.
  ///
  /// - Throws: `GraphError` where the model cannot be brought into inference form, `PlanError` where an
  ///   option is below 1 or a constant of the model cannot be computed.
  public init(_ model: Model, options: PredictorOptions = PredictorOptions()) throws {
    for (name, value) in [
      ("maximumConcurrency", options.maximumConcurrency),
      ("planCacheLimit", options.planCacheLimit),
    ] where value < 1 {
      throw PlanError(.unsupported, "must be at least 1, not \(value)", at: name)
    }
    // Constants first: batch norm folds into a weight that is computed, too, and moved transposes leave
    // reshaped parameters.
    var model = try FoldConstants().apply(to: MoveTransposes().apply(to: model))
    if options.foldsBatchNormalization {
      model = try FoldBatchNormalization().apply(to: model)
      cnt_trim_heap()
    }
    graph = try RemoveUnused().apply(to: ResolveMode(.inference).apply(to: model.graph))
    interface = PredictorInterface(graph)
    let core = PredictorCore(
      graph: graph,
      weights: SealedWeights(model.parameters.merging(model.state) { $1 }, of: graph),
      options: options)
    self.core = core
    queue = PredictorQueue(limit: options.maximumConcurrency) { try core.run($0) }
  }

  /// Ends the predictor's threads.
  ///
  /// Nobody is inside, as `compute` holds the predictor until it returns.
  deinit { queue.stop() }

  /// Predicts on the calling thread and the lanes; sleeps first where too many others compute.
  ///
  /// - Parameters:
  ///   - inputs: all inputs by name; extents that are symbols, such as the batch's, may be any.
  ///   - outputs: the outputs that are wanted; all of them unless given.
  /// - Returns: the outputs by name.
  /// - Throws: `PlanError` where inputs are missing, unknown or of another type or shape than declared,
  ///   outputs are unknown, the engine cannot run the network, or a run needs more memory than the machine
  ///   has; `GraphError` where the network cannot take inputs of such a size.
  public func predict(
    _ inputs: [String: Tensor], outputs: [String]? = nil
  ) throws -> [String: Tensor] {
    let request = try interface.request(inputs, outputs: outputs)
    return named(try compute(request), request)
  }

  /// Predicts one output of a model of one input, as `predict(_:outputs:)`.
  ///
  /// - Throws: also `PlanError` where the model has several inputs, or several outputs and none is named.
  public func predict(_ input: Tensor, output: String? = nil) throws -> Tensor {
    try compute(interface.request(input, output: output))[0]
  }

  /// Predicts while the calling task is suspended; computes on a thread of the predictor.
  ///
  /// Parameters, result and errors are those of the function that is not `async`.
  ///
  /// - Throws: `CancellationError` where the task is cancelled before its turn has come;
  ///   `ThreadBudgetError` where the system refuses the predictor a thread.
  public func predict(
    _ inputs: [String: Tensor], outputs: [String]? = nil
  ) async throws -> [String: Tensor] {
    let request = try interface.request(inputs, outputs: outputs)
    return named(try await compute(request), request)
  }

  /// Predicts one output of a model of one input, as the `async` `predict(_:outputs:)`.
  ///
  /// - Throws: also `PlanError` where the model has several inputs, or several outputs and none is named.
  public func predict(_ input: Tensor, output: String? = nil) async throws -> Tensor {
    try await compute(interface.request(input, output: output))[0]
  }

  /// The plan for inputs of these shapes, made and its weights packed where it is not kept.
  ///
  /// To be called for the usual shapes before requests come: the first request then is as fast as the
  /// others. The plan also says what it needs: `peakByteCount`.
  ///
  /// - Throws: as `predict(_:outputs:)`.
  @discardableResult
  public func plan(inputShapes: [String: Shape]) throws -> Plan {
    try core.plan(for: interface.shapes(inputShapes)).plan
  }

  /// Bytes of weights, packed or not, and of workspaces that the predictor holds now.
  ///
  /// Tensors that a model outside still shares are counted.
  public var residentByteCount: Int { core.byteCount }

  /// How many callers wait for their turn now.
  public var waitingCount: Int { queue.waitingCount }

  private func compute(_ request: PredictorRequest) throws -> [Tensor] {
    try withExtendedLifetime(self) { try queue.run(request) }
  }

  private func compute(_ request: PredictorRequest) async throws -> [Tensor] {
    defer { withExtendedLifetime(self) {} }
    return try await queue.run(request)
  }

  private func named(_ results: [Tensor], _ request: PredictorRequest) -> [String: Tensor] {
    let names = request.wanted.lazy.map { self.interface.outputs[$0] }
    return Dictionary(zip(names, results)) { first, _ in first }
  }
}
