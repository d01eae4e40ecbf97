public import ConvNetEngine
public import ConvNetGraph

/// A way of training that suits a network: everything but the model and the data.
///
///     let recipe = Recipe.standard(for: .fashion)
///     let trainer = try recipe.trainer(for: model, data: train, seed: 1)
///     try trainer.run(epochs: recipe.epochs, data: train, validation: test)
public struct Recipe: Hashable, Sendable {
  /// How often all images are seen.
  public var epochs: Int
  /// The images of a step.
  public var batchSize: Int
  /// How parameters follow their gradients.
  public var optimizer: Optimizer
  /// How much of the one-hot target is spread over all classes, in 0..<1.
  public var labelSmoothing: Double
  /// Changes of training images.
  public var augmentation: Augmentation?
  /// The course of the learning rate after the warm-up.
  public var schedule: RateCourse
  /// Steps during which the rate grows, half an epoch at most.
  public var warmUpSteps: Int
  /// How gradients are made smaller, if at all.
  public var clipping: GradientClipping?
  /// The decay of an exponential moving average of the weights, which validation then measures, if any.
  public var averageDecay: Double?
  /// Whether steps compute activations again in their backward pass to need less memory.
  public var checkpointing: Bool
  /// What becomes of the samples that do not fill a batch.
  public var remainder: RemainderPolicy

  /// Makes a recipe.
  public init(
    epochs: Int, batchSize: Int = 128, optimizer: Optimizer, labelSmoothing: Double = 0,
    augmentation: Augmentation? = nil, schedule: RateCourse = .cosine(floor: 0),
    warmUpSteps: Int = 200, clipping: GradientClipping? = nil, averageDecay: Double? = nil,
    checkpointing: Bool = false, remainder: RemainderPolicy = .drop
  ) {
    self.epochs = epochs
    self.batchSize = batchSize
    self.optimizer = optimizer
    self.labelSmoothing = labelSmoothing
    self.augmentation = augmentation
    self.schedule = schedule
    self.warmUpSteps = warmUpSteps
    self.clipping = clipping
    self.averageDecay = averageDecay
    self.checkpointing = checkpointing
    self.remainder = remainder
  }

  /// What a built-in network is trained with unless told otherwise, with batch normalisation or without.
  public static func standard(for network: Network) -> Recipe {
    Recipe(epochs: network == .lenet ? 5 : 4, optimizer: sgd(rate: 0.05))
  }

  /// Prepares a training on data whose number sets the length of the schedule.
  ///
  /// - Throws: as `Trainer.init`, and `TrainingError` where the schedule is none.
  public func trainer(
    for model: Model, data: any ImageSource, seed: UInt64, lanes: Lanes = .shared
  ) throws -> Trainer {
    try check()
    let steps = data.stepCount(batchSize: batchSize, remainder: remainder)
    return try Trainer(
      model: model, loss: .softmaxCrossEntropy(labelSmoothing: labelSmoothing),
      optimizer: optimizer,
      schedule: schedule.schedule(
        epochs: epochs, stepsPerEpoch: steps, warmUpSteps: min(warmUpSteps, steps / 2)),
      batchSize: batchSize, seed: seed, augmentation: augmentation, clipping: clipping,
      averageDecay: averageDecay, checkpointing: checkpointing, lanes: lanes)
  }

  /// Refuses numbers that no training can use, as far as the trainer does not.
  func check() throws {
    var counts = [("epochs", epochs, 0), ("steps of warm-up", warmUpSteps, 0)]
    var parts: [(String, Double)] = []
    switch schedule {
    case .constant: break
    case .step(let everyEpochs, let factor):
      counts.append(("epochs between steps of the rate", everyEpochs, 1))
      parts = [("factor", factor)]
    case .cosine(let floor): parts = [("floor", floor)]
    case .oneCycle(let rise, let start, let end):
      parts = [("rise", rise), ("start", start), ("end", end)]
    }
    for (name, count, least) in counts where !(least...1 << 31).contains(count) {
      throw TrainingError(.invalidOption, "\(count) \(name) cannot be had")
    }
    for (name, part) in parts where !(0...1).contains(part) {
      throw TrainingError(
        .invalidOption, "the \(name) of a schedule is a number in 0...1, not \(part)")
    }
  }
}
