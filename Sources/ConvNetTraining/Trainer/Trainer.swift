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
/// counted in `rejectedUpdates`. With `accumulation` a step computes its batch in parts.
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
  /// The parts a step computes its batch in; one by default.
  public let accumulation: Accumulation
  /// How gradients are made smaller; not at all by default.
  public let clipping: GradientClipping?
  /// Whether steps compute activations again in their backward pass to need less memory.
  public let checkpointing: Bool
  /// The bounds of layers that renormalise.
  public let renormalization: RenormalizationSchedule
  /// How images that are not in memory are read ahead; results do not depend on it.
  public var loading = Loading()
  /// Steps so far.
  public internal(set) var stepCount = 0
  /// Epochs so far.
  public internal(set) var epochCount = 0
  /// Steps whose running statistics were left out: not finite, as the loss or a gradient was, or of too
  /// few samples for their estimator.
  public internal(set) var rejectedUpdates = 0

  let lanes: Lanes
  let ports: TrainingPorts
  let store: ParameterStore
  /// The moments, for checkpoints.
  package let optimizerState: OptimizerState
  /// The average of the weights, where one is kept; for checkpoints.
  package let average: WeightAverage?
  let graph: Graph
  private let hasStatistics: Bool
  private lazy var accumulator = GradientAccumulator(optimizerState)
  private var plans: [Shape: (plan: Plan, statistics: [StatisticsPorts])] = [:]
  private var executions: [Shape: Execution] = [:]
  /// Where the parts of a step are timed, while someone wants to know.
  var stepProfile: StepProfile?

  /// Prepares a training.
  ///
  /// - Parameters:
  ///   - model: where training starts; it is copied.
  ///   - loss: what training makes small.
  ///   - optimizer: how parameters follow their gradients.
  ///   - schedule: the learning rate over time.
  ///   - batchSize: the images of a step, 1...2³¹.
  ///   - seed: what order, augmentation and dropout are drawn from.
  ///   - augmentation: changes of training images.
  ///   - accumulation: the parts a step computes its batch in, and what becomes of their statistics.
  ///   - clipping: how gradients are made smaller.
  ///   - averageDecay: keeps an exponential moving average of weights and running statistics of at most
  ///     this decay, such as 0.999; none by default.
  ///   - checkpointing: whether steps compute the activations of segments of the network again in their
  ///     backward pass instead of keeping them: less memory, more time, the same results but for the
  ///     order in which batch norm's sums are taken.
  ///   - renormalization: the bounds over time of layers that renormalise.
  ///   - lanes: the threads that compute.
  ///   - decays: which parameters weight decay applies to, by name and role; by default weights, but not
  ///     biases, γ or β.
  /// - Throws: `GraphError` or `TrainingError` where the model is no classifier, or an option is outside
  ///   its range.
  public init(
    model: Model, loss: Loss = .softmaxCrossEntropy(), optimizer: Optimizer,
    schedule: Schedule = .constant(), batchSize: Int = 128, seed: UInt64 = 0,
    augmentation: Augmentation? = nil, accumulation: Accumulation = Accumulation(steps: 1),
    clipping: GradientClipping? = nil, averageDecay: Double? = nil,
    checkpointing: Bool = false,
    renormalization: RenormalizationSchedule = RenormalizationSchedule(), lanes: Lanes = .shared,
    decays: (_ name: String, _ role: ParameterRole) -> Bool = { $1.decaysByDefault }
  ) throws {
    guard (1...1 << 31).contains(batchSize) else {
      throw TrainingError(.invalidOption, "a batch cannot have \(batchSize) images")
    }
    guard accumulation.steps >= 1 else {
      throw TrainingError(
        .invalidOption, "a batch cannot be computed in \(accumulation.steps) parts")
    }
    try augmentation?.check()
    try optimizer.check()
    try schedule.check()
    try clipping?.check()
    try renormalization.check()
    graph = try loss.added(to: model.graph, isMixed: augmentation?.mixup ?? 0 > 0)
    let resolved = try ResolveMode(.training).apply(to: graph)
    ports = try TrainingPorts(resolved)
    // What each shape of batch runs is made when it comes; whether it can be differentiated is said now.
    hasStatistics =
      try resolved.hasDeferredOperations
      ? !resolved.exposingStatistics().layers.isEmpty
      : !resolved.gradient(of: Loss.lossName).exposingStatistics().layers.isEmpty
    store = ParameterStore(model)
    optimizerState = OptimizerState(
      optimizer, clipping: clipping, graph: model.graph, decays: decays)
    average = try averageDecay.map { try WeightAverage(model, decay: $0) }
    self.loss = loss
    self.optimizer = optimizer
    self.schedule = schedule
    self.batchSize = batchSize
    self.seed = seed
    self.augmentation = augmentation
    self.accumulation = accumulation
    self.clipping = clipping
    self.checkpointing = checkpointing
    self.renormalization = renormalization
    self.lanes = lanes
  }

  /// A copy of the model as it is now, metadata included.
  public var model: Model { store.snapshot() }

  /// The model with the averages of weights and running statistics in the place of the last ones; nil
  /// where none are kept.
  ///
  /// Averages of statistics lag behind those of the averaged weights by a little: `recalibrate(on:)` makes
  /// them exact.
  public var averagedModel: Model? { average?.store.snapshot() }

  /// The Euclidean norm of all gradients of the last step before clipping; nil where gradients are not
  /// clipped to a norm.
  public var gradientNorm: Double? { optimizerState.gradientNorm }

  /// The rate of the next step.
  public var learningRate: Double { optimizer.learningRate * schedule.factor(at: stepCount) }

  /// One step on a batch of normalised images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`.
  ///   - labels: int64 `[N]`, or targets float32 of the output's shape for `.meanSquaredError`.
  /// - Returns: the loss before the step.
  /// - Throws: `TrainingError` naming the step and the layer where the loss or a gradient is not finite,
  ///   parameters, state and moments being as before, and for tensors without a first axis; `GraphError` or
  ///   `PlanError` where shapes or types do not fit, or a layer gets one sample (`.singleSample`).
  @discardableResult
  public func step(images: Tensor, labels: Tensor) throws -> Double {
    guard images.shape.rank >= 1, labels.shape.rank >= 1 else {
      throw TrainingError(
        .invalidData, "a batch has a first axis, unlike \(images.shape) and \(labels.shape)")
    }
    let count = images.shape[0]
    let parts = accumulation.parts(of: count)
    guard parts.count > 1, labels.shape.dimensions.first == count else {
      return try advance([0..<count]) { _ in
        let execution = try execution(for: images.shape)
        try execution.load(images: images, labels: labels)
        return execution
      }
    }
    return try advance(parts) { range in
      let part = images.samples(range)
      let execution = try execution(for: part.shape)
      try execution.load(images: part, labels: labels.samples(range))
      return execution
    }
  }

  /// How the model, as it is now, does on labelled data: the averaged one where averages are kept.
  ///
  /// - Throws: as `Evaluator.init` and `Evaluator.evaluate(_:)`.
  public func evaluate(_ data: any ImageSource) throws -> Evaluation {
    let evaluator = try Evaluator(averagedModel ?? model, loss: loss, lanes: lanes)
    evaluator.loading = loading
    return try evaluator.evaluate(data)
  }

  /// The plan and workspace for images of a shape, made when first needed.
  func execution(for images: Shape) throws -> Execution {
    if let execution = executions[images] { return execution }
    let (plan, statistics) = try plan(for: images)
    let execution = Execution(
      plan: plan, store: store, ports: ports, batchSize: images[0], statistics: statistics)
    executions[images] = execution
    return execution
  }

  private func plan(for images: Shape) throws -> (plan: Plan, statistics: [StatisticsPorts]) {
    if let known = plans[images] { return known }
    let step = try graph.trainingStep(
      inputShapes: Execution.inputShapes(ports, images: images), loss: Loss.lossName)
    let options = PlanOptions(
      keepsPackedWeights: false, recomputesSegments: checkpointing)
    let made = (
      try Plan(step.graph, inputShapes: [:], lanes: lanes, options: options), step.layers
    )
    plans[images] = made
    return made
  }

  /// The bytes that steps on batches of a shape need, known before the first: parameters and moments,
  /// activations and gradients, packed weights and scratch.
  ///
  /// - Parameter images: `[N, H, W, C]`.
  /// - Throws: `GraphError` or `PlanError` where the network cannot have such images.
  public func peakByteCount(images: Shape) throws -> Int {
    var byteCount = store.valueByteCount * (average == nil ? 1 : 2) + optimizerState.byteCount
    guard let count = images.dimensions.first else { return byteCount }
    let parts = accumulation.parts(of: count)
    if parts.count > 1 { byteCount += accumulator.byteCount }
    for size in Set(parts.map(\.count)) {
      // Every size of part has memory of its own.
      byteCount += try plan(for: Shape([size] + images.dimensions.dropFirst())).plan.peakByteCount
    }
    return byteCount
  }

  /// Runs forward and backward on the parts of a batch, then moves parameters and running statistics.
  ///
  /// - Parameters:
  ///   - parts: the samples of each part.
  ///   - load: gives the execution of a part with its samples loaded.
  ///   - observe: called after a part has run, with its loss.
  func advance(
    _ parts: [Range<Int>], load: (Range<Int>) throws -> Execution,
    observe: (Execution, Range<Int>, _ loss: Double) throws -> Void = { _, _, _ in }
  ) throws -> Double {
    let samples = parts.reduce(0) { $0 + $1.count }
    var loss = 0.0
    var commit = StatisticsCommit()
    for (index, part) in parts.enumerated() {
      let execution = try load(part)
      try execution.run(
        seed: seed, step: stepCount * accumulation.steps + index,
        limits: renormalization.limits(at: stepCount), profile: &stepProfile)
      let partLoss = try execution.loss()
      guard partLoss.isFinite else {
        throw rejected("loss", "is \(partLoss)\(whereNotFinite(execution, part: index))")
      }
      try commit.add(execution)
      if parts.count > 1 {
        let weight = Double(part.count) / Double(samples)
        try accumulator.add(execution, weight: Float(weight), isFirst: index == 0)
        loss += weight * partLoss
      } else {
        loss = partLoss
        try bind { try execution.output($0, of: Float.self) }
      }
      try observe(execution, part, partLoss)
    }
    if parts.count > 1 { bind { accumulator.gradient($0) } }
    try commitStep(commit)
    return loss
  }

  /// Says where the gradients of a step are.
  private func bind(_ gradients: (String) throws -> UnsafeBufferPointer<Float>) rethrows {
    try optimizerState.bind(
      parameters: { store.pointer($0) },
      averages: average.map { average in { average.store.pointer($0) } }, gradients: gradients)
  }

  /// Moves parameters along the bound gradients, running statistics and averages; or nothing of all that.
  private func commitStep(_ commit: StatisticsCommit) throws {
    let spoilt = StepProfile.measure("check gradients", in: &stepProfile) {
      optimizerState.nonFiniteGradient(lanes: lanes)
    }
    if let spoilt { throw rejected("gradient of \(spoilt)", "is not finite") }
    // Before anything is written, because it may refuse the step.
    let updates = try StepProfile.measure("running statistics", in: &stepProfile) {
      try commit.updates(accumulation.statistics) { store.state($0) }
    }
    StepProfile.measure("optimiser", in: &stepProfile) {
      optimizerState.update(
        factor: schedule.factor(at: stepCount), take: average?.take(at: stepCount) ?? 0,
        lanes: lanes)
    }
    if let updates {
      for (name, value) in updates { store.setState(name, to: value) }
    } else {
      rejectedUpdates += 1
    }
    if let average { average.followState(of: store, take: average.take(at: stepCount)) }
    store.markChanged()
    stepCount += 1
  }

  /// Counts the statistics of a step that does not happen, and says why it does not.
  private func rejected(_ what: String, _ why: String) -> TrainingError {
    rejectedUpdates += hasStatistics ? 1 : 0
    return TrainingError(.notFinite, "the \(what) of step \(stepCount + 1) \(why)")
  }
}

extension Tensor {
  /// The samples of a range along the first axis.
  package func samples(_ range: Range<Int>) -> Tensor {
    var part = Tensor(
      zeros: Shape([range.count] + shape.dimensions.dropFirst()), elementType: elementType)
    let start = range.lowerBound * (byteCount / max(shape[0], 1))
    part.withMutableBytes { target in
      withBytes { target.copyMemory(from: .init(rebasing: $0[start..<start + target.count])) }
    }
    return part
  }
}
