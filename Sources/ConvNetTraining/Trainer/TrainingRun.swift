import ConvNetEngine
public import ConvNetGraph

/// A training over labelled images that can stop after any step and go on from there, in this process or
/// in another, with the same bits as if it had never stopped.
///
///     let folder = try CheckpointFolder("runs/first", keep: 3)
///     let run = try TrainingRun(
///       trainer, data: train, validation: test,
///       options: .init(epochs: 20, earlyStopping: EarlyStopping(patience: 5)), checkpoints: folder)
///     try run.resume()
///     let outcome = try run.run { bar.update($0) }
///     let trained = try run.finishedModel()
///
/// A checkpoint is written after each epoch, after every `checkpointInterval` steps, and when a run is
/// stopped. A run whose step failed does not go on; another one may, from a checkpoint.
public final class TrainingRun {
  /// What a run does besides steps.
  public struct Options: Hashable, Sendable {
    /// The epoch after which the training ends, counted from the beginning of the training.
    public var epochs: Int
    /// What becomes of the samples that do not fill a batch; by default they are left out of the epoch.
    public var remainder: RemainderPolicy
    /// Steps after which a checkpoint is written within an epoch, too; by default none are.
    public var checkpointInterval: Int?
    /// What tells a good epoch from a bad one.
    public var metric: ValidationMetric
    /// When training ends before its last epoch; by default it does not.
    public var earlyStopping: EarlyStopping?
    /// Whether `finishedModel()` is that of the best epoch and not of the last.
    public var keepsBest: Bool

    /// Makes a choice; where training stops early the best epoch is kept unless told otherwise.
    public init(
      epochs: Int, remainder: RemainderPolicy = .drop, checkpointInterval: Int? = nil,
      metric: ValidationMetric = .accuracy, earlyStopping: EarlyStopping? = nil,
      keepsBest: Bool? = nil
    ) {
      self.epochs = epochs
      self.remainder = remainder
      self.checkpointInterval = checkpointInterval
      self.metric = metric
      self.earlyStopping = earlyStopping
      self.keepsBest = keepsBest ?? (earlyStopping != nil)
    }
  }

  /// What learns.
  public let trainer: Trainer
  /// What the run does besides steps.
  public let options: Options
  /// Where checkpoints go, if anywhere.
  public let checkpoints: CheckpointFolder?
  /// Steps of an epoch.
  public let stepsPerEpoch: Int
  /// The model of the best epoch, where the options want it and there was validation.
  public internal(set) var bestModel: Model?
  /// Told of a checkpoint that cannot be written, as on a full disk, after which training goes on; where
  /// nobody is told, that ends the run.
  public var checkpointFailure: ((any Error) -> Void)?
  let assembler: BatchAssembler
  let validation: (any ImageSource)?
  var state: RunState
  var clock: RunClock
  /// Whether a step failed, so that what is known of the epoch is not to be relied on.
  var isBroken = false

  /// Prepares a run from where a trainer is, at the beginning of an epoch.
  ///
  /// - Parameters:
  ///   - trainer: what learns.
  ///   - data: what to learn from. Images are normalised as the model's metadata say.
  ///   - validation: what to measure the model on after each epoch.
  ///   - options: what the run does besides steps.
  ///   - checkpoints: where checkpoints go.
  /// - Throws: `TrainingError` where data do not fit the model or fill no batch, or an option is outside
  ///   its range; `PlanError` or `GraphError` where a batch cannot be computed.
  public init(
    _ trainer: Trainer, data: any ImageSource, validation: (any ImageSource)? = nil,
    options: Options, checkpoints: CheckpointFolder? = nil
  ) throws {
    self.trainer = trainer
    self.options = options
    self.checkpoints = checkpoints
    self.validation = validation
    try trainer.ports.check(data)
    if let validation { try trainer.ports.check(validation) }
    try trainer.loading.check()
    try options.check(hasValidation: validation != nil)
    stepsPerEpoch = data.stepCount(batchSize: trainer.batchSize, remainder: options.remainder)
    guard stepsPerEpoch > 0, options.epochs >= 0 else {
      throw TrainingError(
        .invalidData,
        "\(data.count) samples fill no batch of \(trainer.batchSize), or \(options.epochs) epochs "
          + "cannot be run")
    }
    assembler = try BatchAssembler(
      data: data, normalization: trainer.model.normalization, augmentation: trainer.augmentation)
    state = RunState(classCount: data.classCount)
    clock = RunClock()
    if trainer.epochCount < options.epochs {
      try trainer.prepareBatches(data, options.remainder, stepsPerEpoch: stepsPerEpoch)
    }
  }

  /// Learns until the last epoch is over, validation stops it, or the caller does.
  ///
  /// - Parameters:
  ///   - progress: called after each step, the last one of an epoch after validation.
  ///   - shouldStop: asked after each step; the run can be gone on with afterwards.
  /// - Returns: why the run ended, and the learning curve with the epochs before a resume.
  /// - Throws: `TrainingError` naming step, layer and last checkpoint where the loss or a gradient is not
  ///   finite, the model being as before that step, and where a step of this run failed before; `FileError`
  ///   where images cannot be read or a checkpoint not be written; `GraphError` or `PlanError` where the
  ///   model cannot take the validation images' size, which is met after the first epoch only; what
  ///   `progress` throws.
  @discardableResult
  public func run(
    progress: (TrainingProgress) throws -> Void = { _ in }, shouldStop: () -> Bool = { false }
  ) throws -> Outcome {
    guard !isBroken else {
      throw TrainingError(.invalidOption, "a run whose step failed cannot go on")
    }
    isBroken = true
    while !isOver {
      guard try runEpoch(shouldStop: shouldStop, progress: progress) else {
        isBroken = false
        return outcome(.interrupted)
      }
    }
    isBroken = false
    return outcome(hasStoppedEarly ? .stoppedEarly : .finished)
  }

  /// Whether there is nothing left to be learned.
  public var isOver: Bool { trainer.epochCount >= options.epochs || hasStoppedEarly }

  private var hasStoppedEarly: Bool {
    guard let rule = options.earlyStopping else { return false }
    return state.course.epochsWithoutImprovement >= rule.patience
  }

  /// The model that the training came to: of the best epoch or the last, averaged where averages are
  /// kept, whose running statistics are then made exact for the training data.
  ///
  /// - Throws: as `Model.recalibrate(on:batchSize:lanes:)`.
  public func finishedModel() throws -> Model {
    var model = (options.keepsBest ? bestModel : nil) ?? trainer.averagedModel ?? trainer.model
    if trainer.average != nil, model.graph.batchNormalizationViews.contains(where: \.updates) {
      try model.recalibrate(
        on: assembler.data, batchSize: trainer.batchSize, lanes: trainer.lanes)
    }
    return model
  }
}

extension TrainingRun {
  /// What a run came to.
  public struct Outcome: Hashable, Sendable {
    /// Why a run ended.
    public enum Reason: String, Hashable, Sendable {
      /// All epochs are over.
      case finished
      /// Validation did not become better for too long.
      case stoppedEarly
      /// The caller wanted it; the run is not over.
      case interrupted
    }

    /// Why it ended.
    public var reason: Reason
    /// The learning curve, one point an epoch, from the beginning of the training.
    public var reports: [EpochReport]
    /// The best epoch, where there was validation.
    public var best: BestEpoch?
    /// The newest checkpoint, if any.
    public var checkpoint: String?
  }

  private func outcome(_ reason: Outcome.Reason) -> Outcome {
    Outcome(
      reason: reason, reports: state.reports, best: state.course.best,
      checkpoint: checkpoints?.newestPath)
  }
}

extension TrainingRun.Options {
  /// Refuses numbers that no run can use.
  func check(hasValidation: Bool) throws {
    try earlyStopping?.check()
    guard hasValidation || (earlyStopping == nil && !keepsBest) else {
      throw TrainingError(
        .invalidOption, "without validation no epoch is the best, and none is a reason to stop")
    }
    if let checkpointInterval, checkpointInterval < 1 {
      throw TrainingError(
        .invalidOption, "a checkpoint cannot be written every \(checkpointInterval) steps")
    }
  }
}
