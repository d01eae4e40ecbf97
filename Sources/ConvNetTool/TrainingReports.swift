import ConvNet

/// An epoch, as a line of JSON.
struct CurvePoint: Codable {
  var epoch: Int
  var loss: Double
  var accuracy: Double
  var validationLoss: Double
  var validationAccuracy: Double
  var learningRate: Double
  var imagesPerSecond: Double
  /// Since training began.
  var seconds: Double

  init(_ progress: TrainingProgress, _ validation: Evaluation, seconds: Double) {
    epoch = progress.epoch
    loss = progress.loss
    accuracy = progress.accuracy
    validationLoss = validation.loss
    validationAccuracy = validation.accuracy
    learningRate = progress.learningRate
    imagesPerSecond = progress.imagesPerSecond
    self.seconds = seconds
  }
}

/// What a training came to, as the last line of JSON; accuracy and loss are those of test images.
struct TrainingResult: Codable {
  var network: String
  var batchNorm: Bool
  var seed: UInt64
  var epochs: Int
  var parameters: Int
  var lanes: Int
  var kernels: String
  var accuracy: Double
  var loss: Double
  var seconds: Double
  var saved: String?
}
