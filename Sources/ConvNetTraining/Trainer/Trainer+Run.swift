import ConvNetGraph

extension Trainer {
  /// Learns from all data, in another order each epoch.
  ///
  /// - Parameters:
  ///   - epochs: how many epochs to add to those already run.
  ///   - data: what to learn from. Images are normalised as the model's metadata say.
  ///   - validation: what to measure the model on after each epoch.
  ///   - remainder: what becomes of the samples that do not fill a batch; by default they are left out
  ///     of the epoch.
  ///   - progress: called after each step.
  /// - Returns: the learning curve, one point an epoch.
  /// - Throws: `TrainingError` where `epochs` is negative, data do not fit the model or fill no batch, and
  ///   naming the step and the layer where the loss or a gradient is not finite, the model being as before
  ///   that step; `GraphError`, `PlanError` and `FileError` as `TrainingRun.init` and `TrainingRun.run`.
  @discardableResult
  public func run(
    epochs: Int, data: any ImageSource, validation: (any ImageSource)? = nil,
    remainder: RemainderPolicy = .drop, progress: (TrainingProgress) -> Void = { _ in }
  ) throws -> [EpochReport] {
    guard epochs >= 0 else {
      throw TrainingError(.invalidOption, "\(epochs) epochs cannot be run")
    }
    return try TrainingRun(
      self, data: data, validation: validation,
      options: .init(epochs: epochCount + epochs, remainder: remainder)
    ).run(progress: progress).reports
  }

  /// Makes the plans of an epoch's batches: one that cannot be, such as a last one of one sample, is
  /// refused before anything is learned.
  func prepareBatches(
    _ data: any ImageSource, _ remainder: RemainderPolicy, stepsPerEpoch: Int
  ) throws {
    let sizes = [0, stepsPerEpoch - 1].map {
      remainder.samples(ofStep: $0, of: data.count, batchSize: batchSize).count
    }
    for size in Set(sizes) {
      for part in accumulation.parts(of: size) {
        _ = try execution(for: data.batchShape(part.count))
      }
    }
  }
}

extension TrainingRun {
  /// The rest of an epoch.
  ///
  /// - Returns: false where the caller stopped the run.
  func runEpoch(
    shouldStop: () -> Bool, progress: (TrainingProgress) throws -> Void
  ) throws -> Bool {
    let epoch = EpochKey(seed: trainer.seed, epoch: trainer.epochCount)
    let order = assembler.data.order(of: epoch)
    clock.restart()
    let loader = try BatchLoader(
      assembler, order: order[samples(ofStep: state.step).lowerBound...],
      batchSize: trainer.batchSize, epoch: epoch, lanes: trainer.lanes, loading: trainer.loading)
    while state.step < stepsPerEpoch {
      try runStep(state.step, order: order, loader)
      state.step += 1
      state.seconds += clock.endStep()
      if state.step < stepsPerEpoch { try progress(self.progress(epoch: epoch.epoch + 1)) }
      if shouldStop() {
        try saveCheckpoint()
        return false
      }
      if state.step < stepsPerEpoch, isCheckpointDue {
        try writeCheckpoint()
        clock.restart()
      }
    }
    try finishEpoch(progress)
    if isOver || !shouldStop() { return true }
    // Where the epoch's checkpoint could not be written, whoever stops the run has to know.
    if let checkpoints, checkpoints.newestPath != checkpoints.path(ofStep: trainer.stepCount) {
      try saveCheckpoint()
    }
    return false
  }

  /// The samples of a step in the order of their epoch; those that are left out follow the last.
  private func samples(ofStep step: Int) -> Range<Int> {
    let count = assembler.data.count
    guard step < stepsPerEpoch else { return count..<count }
    return options.remainder.samples(ofStep: step, of: count, batchSize: trainer.batchSize)
  }

  /// One step, counted from 0.
  private func runStep(_ step: Int, order: [Int], _ loader: BatchLoader) throws {
    let (trainer, data) = (trainer, assembler.data)
    let samples = samples(ofStep: step)
    let parts = trainer.accumulation.parts(of: samples.count)
      .map { $0.lowerBound + samples.lowerBound..<$0.upperBound + samples.lowerBound }
    do {
      _ = try trainer.advance(parts) { range in
        let execution = try trainer.execution(for: data.batchShape(range.count))
        try trainer.mix(execution.load(loader), of: data, in: execution)
        return execution
      } observe: { execution, range, loss in
        try execution.withLogits { logits in
          state.epoch.add(
            loss: loss, logits: logits, labels: order[range].lazy.map { data.labels[$0] })
        }
      }
    } catch var error as TrainingError where error.code == .notFinite {
      if let path = checkpoints?.newestPath {
        error.description += "; the last good checkpoint is \(path)"
      }
      throw error
    }
  }

  /// Validation, and a point of the learning curve.
  private func finishEpoch(_ progress: (TrainingProgress) throws -> Void) throws {
    let epoch = trainer.epochCount + 1
    var last = self.progress(epoch: epoch)
    last.validation = try validation.map(trainer.evaluate)
    state.reports.append(
      EpochReport(
        epoch: epoch, loss: last.loss, accuracy: last.accuracy,
        validationLoss: last.validation?.loss, validationAccuracy: last.validation?.accuracy,
        learningRate: last.learningRate, seconds: state.seconds,
        imagesPerSecond: last.imagesPerSecond, samples: state.epoch.count,
        rejectedUpdates: last.rejectedUpdates))
    trainer.epochCount = epoch
    state.startEpoch()
    if let validation = last.validation {
      let isBest = state.course.add(
        options.metric.value(of: validation), epoch: epoch, step: trainer.stepCount,
        metric: options.metric, margin: options.earlyStopping?.minimumChange ?? 0)
      if isBest, options.keepsBest { bestModel = trainer.averagedModel ?? trainer.model }
    }
    try progress(last)
    try writeCheckpoint()
  }

  /// Where the run is after a step.
  private func progress(epoch: Int) -> TrainingProgress {
    let left = (options.epochs - trainer.epochCount) * stepsPerEpoch - state.step
    return TrainingProgress(
      epoch: epoch, epochs: options.epochs, step: state.step, stepsPerEpoch: stepsPerEpoch,
      loss: state.epoch.loss, accuracy: state.epoch.accuracy,
      learningRate: trainer.optimizer.learningRate
        * trainer.schedule.factor(at: trainer.stepCount - 1),
      imagesPerSecond: Double(state.epoch.count) / max(state.seconds, 1e-9),
      secondsLeft: clock.seconds / Double(max(clock.steps, 1)) * Double(left),
      rejectedUpdates: trainer.rejectedUpdates)
  }
}
