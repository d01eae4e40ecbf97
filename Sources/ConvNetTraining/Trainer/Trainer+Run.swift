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
  /// - Throws: `TrainingError` where data do not fit the model or fill no batch, and naming the step
  ///   where the loss or a gradient is not finite; the model is as before that step then.
  @discardableResult
  public func run(
    epochs: Int, data: any ImageSource, validation: (any ImageSource)? = nil,
    remainder: RemainderPolicy = .drop, progress: (TrainingProgress) -> Void = { _ in }
  ) throws -> [EpochReport] {
    try ports.check(data)
    if let validation { try ports.check(validation) }
    let steps = data.stepCount(batchSize: batchSize, remainder: remainder)
    try loading.check()
    guard steps > 0, epochs >= 0 else {
      throw TrainingError(
        .invalidData,
        "\(data.count) samples fill no batch of \(batchSize), or \(epochs) epochs cannot be run")
    }
    let assembler = try BatchAssembler(
      data: data, normalization: model.normalization, augmentation: augmentation)
    // A batch that cannot be, such as a last one of one sample, is refused before anything is learned.
    let sizes = [0, steps - 1].map {
      remainder.samples(ofStep: $0, of: data.count, batchSize: batchSize).count
    }
    for size in Set(sizes) where epochs > 0 {
      for part in accumulation.parts(of: size) {
        _ = try execution(for: data.batchShape(part.count))
      }
    }
    var course = Course(
      firstEpoch: epochCount, epochs: epochs, stepsPerEpoch: steps, remainder: remainder,
      classes: data.classCount)
    var reports: [EpochReport] = []
    for _ in 0..<epochs {
      reports.append(
        try runEpoch(assembler, course: &course, validation: validation, progress: progress))
    }
    return reports
  }

  /// One epoch of a run.
  private func runEpoch(
    _ assembler: BatchAssembler, course: inout Course, validation: (any ImageSource)?,
    progress: (TrainingProgress) -> Void
  ) throws -> EpochReport {
    let epoch = EpochKey(seed: seed, epoch: epochCount)
    let order = assembler.data.order(of: epoch)
    course.startEpoch()
    let loader = try BatchLoader(
      assembler, order: order, batchSize: batchSize, epoch: epoch, lanes: lanes, loading: loading)
    for step in 1...course.stepsPerEpoch {
      let rate = learningRate
      let samples = course.remainder.samples(
        ofStep: step - 1, of: order.count, batchSize: batchSize)
      let parts = accumulation.parts(of: samples.count)
        .map { $0.lowerBound + samples.lowerBound..<$0.upperBound + samples.lowerBound }
      _ = try advance(parts) { range in
        let execution = try execution(for: assembler.data.batchShape(range.count))
        _ = try execution.load(loader)
        return execution
      } observe: { execution, range, loss in
        try execution.withLogits { logits in
          course.epoch.add(
            loss: loss, logits: logits, labels: order[range].lazy.map { assembler.data.labels[$0] })
        }
      }
      var report = course.progress(step: step, rate: rate, rejected: rejectedUpdates)
      if step == course.stepsPerEpoch {
        epochCount += 1
        report.validation = try validation.map(evaluate)
        progress(report)
        return course.report(report, seconds: course.epochSeconds)
      }
      progress(report)
    }
    fatalError("An epoch of \(course.stepsPerEpoch) steps has no last one.")
  }
}

/// What a run has measured so far.
private struct Course {
  let firstEpoch: Int
  let epochs: Int
  let stepsPerEpoch: Int
  let remainder: RemainderPolicy
  let classes: Int
  /// Loss and confusion of the current epoch.
  var epoch: Evaluation
  private(set) var epochSeconds = 0.0
  private var earlierSeconds = 0.0
  private var epochsStarted = 0
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant

  init(
    firstEpoch: Int, epochs: Int, stepsPerEpoch: Int, remainder: RemainderPolicy, classes: Int
  ) {
    self.firstEpoch = firstEpoch
    self.epochs = epochs
    self.stepsPerEpoch = stepsPerEpoch
    self.remainder = remainder
    self.classes = classes
    epoch = Evaluation(classCount: classes)
    start = clock.now
  }

  mutating func startEpoch() {
    epoch = Evaluation(classCount: classes)
    earlierSeconds += epochSeconds
    epochSeconds = 0
    epochsStarted += 1
    start = clock.now
  }

  /// The position after a step; time spent outside epochs, such as on validation, does not count.
  mutating func progress(step: Int, rate: Double, rejected: Int) -> TrainingProgress {
    epochSeconds = (clock.now - start) / .seconds(1)
    let done = (epochsStarted - 1) * stepsPerEpoch + step
    let perStep = (earlierSeconds + epochSeconds) / Double(done)
    return TrainingProgress(
      epoch: firstEpoch + epochsStarted, epochs: firstEpoch + epochs, step: step,
      stepsPerEpoch: stepsPerEpoch, loss: epoch.loss, accuracy: epoch.accuracy,
      learningRate: rate, imagesPerSecond: Double(epoch.count) / max(epochSeconds, 1e-9),
      secondsLeft: perStep * Double(epochs * stepsPerEpoch - done), rejectedUpdates: rejected)
  }

  /// The epoch's point of the learning curve.
  func report(_ last: TrainingProgress, seconds: Double) -> EpochReport {
    EpochReport(
      epoch: last.epoch, loss: last.loss, accuracy: last.accuracy,
      validationLoss: last.validation?.loss, validationAccuracy: last.validation?.accuracy,
      learningRate: last.learningRate, seconds: seconds, imagesPerSecond: last.imagesPerSecond,
      samples: epoch.count, rejectedUpdates: last.rejectedUpdates)
  }
}
