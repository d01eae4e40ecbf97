public import ConvNetEngine
public import ConvNetGraph

/// Trains a classifier.
///
///     var model = try Model(initializing: Network.fashion.graph(), seed: 1)
///     model.normalization = try train.measuredNormalization()
///     let trainer = try Trainer(
///       model: model, optimizer: .sgd(SGD(learningRate: 0.1)),
///       schedule: .cosine(steps: 4 * train.stepCount(batchSize: 128)), seed: 1)
///     try trainer.run(epochs: 4, data: train, validation: test) { bar.update($0) }
///     let trained = trainer.model
///
/// Everything random is a pure function of the seed and of where it happens, and work is cut by geometry
/// alone: the same seed gives the same bits on every repeat and for any number of lanes.
///
/// A step either happens as a whole or, where its loss or a gradient is not finite, not at all. Running
/// statistics move once a step, all of them or, where one would not be finite, none; such steps are
/// counted in `rejectedUpdates`.
public final class Trainer {
  /// What training makes small.
  public let loss: Loss
  /// How parameters follow their gradients.
  public let optimizer: Optimizer
  /// What the optimiser's learning rate is multiplied by at each step.
  public let schedule: Schedule
  /// The images of a step.
  public let batchSize: Int
  /// What order, augmentation and dropout are drawn from.
  public let seed: UInt64
  /// Changes of training images; none by default.
  public let augmentation: Augmentation?
  /// Steps so far.
  public private(set) var stepCount = 0
  /// Epochs so far.
  public internal(set) var epochCount = 0
  /// Steps whose running statistics were not finite and left out.
  public private(set) var rejectedUpdates = 0

  let lanes: Lanes
  let ports: TrainingPorts
  let store: ParameterStore
  /// The moments, for checkpoints.
  package let optimizerState: OptimizerState
  private let metadata: [String: String]
  private let graph: Graph
  private let statistics: [StatisticsPorts]
  private var executions: [Shape: Execution] = [:]

  /// Prepares a training.
  ///
  /// - Parameters:
  ///   - model: where training starts; it is copied.
  ///   - loss: what training makes small.
  ///   - optimizer: how parameters follow their gradients.
  ///   - schedule: the learning rate over time.
  ///   - batchSize: the images of a step.
  ///   - seed: what order, augmentation and dropout are drawn from.
  ///   - augmentation: changes of training images.
  ///   - lanes: the threads that compute.
  ///   - decays: which parameters weight decay applies to, by name and role; by default weights, but not
  ///     biases, γ or β.
  /// - Throws: `GraphError` or `TrainingError` where the model is no classifier, or an option is outside
  ///   its range.
  public init(
    model: Model, loss: Loss = .softmaxCrossEntropy(), optimizer: Optimizer,
    schedule: Schedule = .constant(), batchSize: Int = 128, seed: UInt64 = 0,
    augmentation: Augmentation? = nil, lanes: Lanes = .shared,
    decays: (_ name: String, _ role: ParameterRole) -> Bool = { $1.decaysByDefault }
  ) throws {
    guard batchSize >= 1 else {
      throw TrainingError(.invalidOption, "a batch cannot have \(batchSize) images")
    }
    try optimizer.check()
    let resolved = try ResolveMode(.training).apply(to: loss.added(to: model.graph))
    ports = try TrainingPorts(resolved)
    (graph, statistics) = try resolved.gradient(of: Loss.lossName).exposingStatistics()
    store = ParameterStore(model)
    optimizerState = OptimizerState(optimizer, graph: model.graph, decays: decays)
    metadata = model.metadata
    self.loss = loss
    self.optimizer = optimizer
    self.schedule = schedule
    self.batchSize = batchSize
    self.seed = seed
    self.augmentation = augmentation
    self.lanes = lanes
  }

  /// A copy of the model as it is now, metadata included.
  public var model: Model {
    var model = store.snapshot()
    model.metadata = metadata
    return model
  }

  /// The rate of the next step.
  public var learningRate: Double { optimizer.learningRate * schedule.factor(at: stepCount) }

  /// One step on a batch of normalised images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`.
  ///   - labels: int64 `[N]`, or targets float32 of the output's shape for `.meanSquaredError`.
  /// - Returns: the loss before the step.
  /// - Throws: `TrainingError` naming the step where the loss or a gradient is not finite; parameters,
  ///   state and moments are as before then.
  @discardableResult
  public func step(images: Tensor, labels: Tensor) throws -> Double {
    let execution = try execution(for: images.shape)
    try execution.load(images: images, labels: labels)
    return try advance(execution)
  }

  /// How the model, as it is now, does on labelled data.
  public func evaluate(_ data: TrainingData) throws -> Evaluation {
    try Evaluator(model, loss: loss, lanes: lanes).evaluate(data)
  }

  /// The plan and workspace for images of a shape, made when first needed.
  func execution(for images: Shape) throws -> Execution {
    if let execution = executions[images] { return execution }
    let plan = try Plan(
      graph, inputShapes: Execution.inputShapes(ports, images: images), lanes: lanes)
    let execution = Execution(plan: plan, store: store, ports: ports, batchSize: images[0])
    executions[images] = execution
    return execution
  }

  /// Runs forward and backward on what was loaded, then moves parameters and running statistics.
  func advance(_ execution: Execution) throws -> Double {
    try execution.run(seed: seed, step: stepCount)
    let loss = try execution.loss()
    guard loss.isFinite else {
      rejectedUpdates += statistics.isEmpty ? 0 : 1
      throw TrainingError(.notFinite, "the loss of step \(stepCount + 1) is \(loss)")
    }
    try optimizerState.bind(
      parameters: { store.pointer($0) }, gradients: { try execution.output($0, of: Float.self) })
    if let name = optimizerState.firstNonFiniteGradient(lanes: lanes) {
      rejectedUpdates += statistics.isEmpty ? 0 : 1
      throw TrainingError(
        .notFinite, "the gradient of \(name) at step \(stepCount + 1) is not finite")
    }
    optimizerState.update(factor: schedule.factor(at: stepCount), lanes: lanes)
    if try !commitStatistics(of: execution) { rejectedUpdates += 1 }
    store.markChanged()
    stepCount += 1
    return loss
  }

  /// Moves all running statistics, or none where one would not be finite.
  private func commitStatistics(of execution: Execution) throws -> Bool {
    var updates: [(String, Tensor)] = []
    for ports in statistics {
      let running = ports.running
      guard
        let new = running.updated(
          mean: store.state(running.mean), variance: store.state(running.variance),
          updateCount: store.state(running.updateCount), with: try execution.tensor(ports.count),
          batchMean: try execution.tensor(ports.mean), m2: try execution.tensor(ports.m2))
      else { return false }
      updates += [
        (running.mean, new.mean), (running.variance, new.variance),
        (running.updateCount, new.updateCount),
      ]
    }
    for (name, tensor) in updates { store.setState(name, to: tensor) }
    return true
  }
}
