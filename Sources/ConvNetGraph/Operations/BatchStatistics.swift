/// What a batch-normalisation layer does in training with one sample per channel (m = 1), which has no
/// variance.
public enum SingleSamplePolicy: String, Hashable, Sendable, Codable {
  /// It is refused: the plan throws an error that names the layer and the shape.
  case error
  /// The layer normalises with its running statistics, which stay as they are.
  ///
  /// Where a mask leaves one sample, which is known only while the step runs, this is as `skipUpdate`.
  case useRunning
  /// The layer normalises with the sample itself, so that y = β; the running statistics stay as they are.
  case skipUpdate
}

/// How a batch-normalisation layer treats the mini-batch in training; inference knows nothing of it.
public struct BatchStatistics: Hashable, Sendable, Codable {
  /// What happens where a channel has one sample.
  public var singleSample: SingleSamplePolicy
  /// The samples of a ghost batch; nil for whole batches.
  ///
  /// Groups of so many samples, the last one smaller where they do not divide the batch, are normalised
  /// each with its own statistics. Running statistics get the pooled moments of all groups, once a step;
  /// these are the moments of the whole batch. (Hoffer, Hubara & Soudry 2017, algorithm 1, applies the
  /// groups one after another instead.)
  public var ghostBatchSize: Int?
  /// Whether the layer renormalises its batch towards the running statistics (Ioffe 2017); the trainer
  /// gives the bounds r_max and d_max of each step.
  public var renormalizes: Bool

  /// Makes a choice; by default whole batches, and an error for one sample.
  public init(
    singleSample: SingleSamplePolicy = .error, ghostBatchSize: Int? = nil,
    renormalizes: Bool = false
  ) {
    self.singleSample = singleSample
    self.ghostBatchSize = ghostBatchSize
    self.renormalizes = renormalizes
  }

  /// Refuses groups of nothing, and what needs running statistics where there are none.
  func check(hasRunning: Bool) throws {
    if let ghostBatchSize, ghostBatchSize < 1 {
      throw GraphError(.invalidAttribute, "a ghost batch cannot have \(ghostBatchSize) samples")
    }
    guard hasRunning || (singleSample != .useRunning && !renormalizes) else {
      throw GraphError(.invalidAttribute, "a layer without running statistics cannot use them")
    }
  }
}
