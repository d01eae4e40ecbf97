/// Where a training is, after each step.
public struct TrainingProgress: Hashable, Sendable {
  /// The epoch, counted from 1.
  public var epoch: Int
  /// The epoch after which the run ends.
  public var epochs: Int
  /// Steps of this epoch so far.
  public var step: Int
  /// Steps of an epoch.
  public var stepsPerEpoch: Int
  /// The mean loss of this epoch's samples so far, each measured before its step.
  public var loss: Double
  /// The part of this epoch's samples recognised so far, each before its step.
  public var accuracy: Double
  /// The rate of the last step.
  public var learningRate: Double
  /// Images a second in this epoch, without validation.
  public var imagesPerSecond: Double
  /// Seconds until the run ends, judged by the steps so far.
  public var secondsLeft: Double
  /// Steps of the whole training whose running statistics were left out: not finite, or of too few samples.
  public var rejectedUpdates: Int
  /// The result of validation, at the end of an epoch.
  public var validation: Evaluation?

  /// Makes a position; for programs that show progress of their own.
  public init(
    epoch: Int, epochs: Int, step: Int, stepsPerEpoch: Int, loss: Double, accuracy: Double,
    learningRate: Double, imagesPerSecond: Double, secondsLeft: Double, rejectedUpdates: Int = 0,
    validation: Evaluation? = nil
  ) {
    self.epoch = epoch
    self.epochs = epochs
    self.step = step
    self.stepsPerEpoch = stepsPerEpoch
    self.loss = loss
    self.accuracy = accuracy
    self.learningRate = learningRate
    self.imagesPerSecond = imagesPerSecond
    self.secondsLeft = secondsLeft
    self.rejectedUpdates = rejectedUpdates
    self.validation = validation
  }

  /// Whether this is the last step of its epoch.
  public var isEpochEnd: Bool { step == stepsPerEpoch }
}

/// What an epoch came to: a point of the learning curve.
public struct EpochReport: Hashable, Sendable, Codable {
  /// The epoch, counted from 1.
  public var epoch: Int
  /// The mean training loss.
  public var loss: Double
  /// The training accuracy: the part recognised, in 0...1.
  public var accuracy: Double
  /// The validation loss, where there was validation.
  public var validationLoss: Double?
  /// The validation accuracy, the part recognised, in 0...1, where there was validation.
  public var validationAccuracy: Double?
  /// The rate of the last step.
  public var learningRate: Double
  /// Seconds of training, without validation.
  public var seconds: Double
  /// Images a second of training.
  public var imagesPerSecond: Double
  /// Samples learned from; those that did not fill a batch are left out.
  public var samples: Int
  /// Steps of the whole training whose running statistics were left out: not finite, or of too few samples.
  public var rejectedUpdates: Int
}
