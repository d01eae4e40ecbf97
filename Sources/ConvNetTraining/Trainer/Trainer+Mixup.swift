import ConvNetGraph

extension Trainer {
  /// Mixes the samples that were loaded with one another, where the augmentation says so.
  ///
  /// Partners are those of the part of a batch that is computed at once.
  func mix(_ samples: [Int], of data: any ImageSource, in execution: Execution) throws {
    guard let alpha = augmentation?.mixup, alpha > 0 else { return }
    let epoch = EpochKey(seed: seed, epoch: epochCount)
    try execution.mix(
      labels: samples.map { data.labels[$0] },
      weights: Mixup.weights(samples, alpha: alpha, in: epoch), lanes: lanes)
  }
}
