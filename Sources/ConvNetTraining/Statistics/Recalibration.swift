public import ConvNetEngine
public import ConvNetGraph

extension Model {
  /// Replaces all running statistics by the exact ones of labelled data (precise batch norm).
  ///
  /// One forward pass in training mode, without dropout; every layer's running mean and variance become
  /// the pooled mean and variance of its whole input, by the layer's own estimator, instead of a moving
  /// average over the last updates (Wu & Johnson 2021, section 3). The counter becomes the number of
  /// batches. Frozen layers, parameters and metadata stay as they are. Images are normalised as the
  /// metadata say; batches differ in size by one sample at most. Samples that their source leaves out as
  /// unreadable are not counted.
  ///
  /// - Parameters:
  ///   - data: what to take statistics from; labels play no part.
  ///   - batchSize: the largest number of images computed together. Layers behind the first see
  ///     activations normalised by their batch, so use the size of training.
  ///   - lanes: the threads that compute; the result does not depend on their number.
  /// - Throws: `TrainingError` where `batchSize` is below 1, there are too few samples or a layer's
  ///   statistics are not finite, `FileError` where an image cannot be read, `TrainingError`, `GraphError` or
  ///   `PlanError` where the data do not fit; the model is unchanged then.
  public mutating func recalibrate(
    on data: any ImageSource, batchSize: Int = 128, lanes: Lanes = .shared
  ) throws {
    var collector = try StatisticsCollector(self, includesFrozen: false, lanes: lanes)
    try collector.run(data, batchSize: batchSize)
    try adopt(collector.layers)
  }

  /// Replaces all running statistics by the exact ones of batches of inputs.
  ///
  /// As `recalibrate(on:batchSize:lanes:)`, for a network with one input of any kind. The result has the
  /// same bits in whatever order the batches come.
  ///
  /// - Parameters:
  ///   - batches: float32 inputs of the network, normalised as it wants them.
  ///   - lanes: the threads that compute.
  /// - Throws: as `recalibrate(on:batchSize:lanes:)`.
  public mutating func recalibrate(on batches: [Tensor], lanes: Lanes = .shared) throws {
    var collector = try StatisticsCollector(self, includesFrozen: false, lanes: lanes)
    try collector.run(batches)
    try adopt(collector.layers)
  }

  /// Writes pooled statistics; the triples are sorted before they are merged, since a float sum depends
  /// on its order and the order of batches means nothing.
  private mutating func adopt(_ layers: [StatisticsCollector.Layer]) throws {
    var recalibrated = self
    for layer in layers {
      let running = layer.running
      guard let pooled = Moments.pooledRegardlessOfOrder(layer.batches),
        let variance = pooled.variance(running.estimator)
      else {
        throw TrainingError(
          .invalidData, "there are too few samples for the running statistics of \(running.layer)")
      }
      let values = RunningStatistics.Values(
        mean: Tensor(pooled.mean.map { Float($0) }),
        variance: Tensor(
          variance.map { Float($0) }, shape: recalibrated.state[running.variance]?.shape ?? []),
        updateCount: Tensor(scalar: Int64(layer.batches.count)))
      guard (values.mean.floats + values.variance.floats).allSatisfy(\.isFinite) else {
        throw TrainingError(
          .notFinite, "the statistics of \(running.layer) are too large for float32")
      }
      for (name, value) in running.named(values) {
        try recalibrated.setState(name, to: value)
      }
    }
    self = recalibrated
  }
}
