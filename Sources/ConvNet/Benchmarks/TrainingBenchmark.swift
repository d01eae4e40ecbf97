/// The speed of whole training steps, as a caller of `Trainer` sees it: forward, loss, backward, SGD with
/// momentum, running statistics.
///
///     let benchmark = try TrainingBenchmark(network: .resnet18)
///     print(try benchmark.run().timing.median)
public final class TrainingBenchmark {
  /// How a network is trained.
  public struct Configuration: Sendable {
    /// Images of a step.
    public var batchSize: Int
    /// The height and width of the images; nil for the network's own.
    public var size: Int?
    /// The classes; nil for the network's own.
    public var classes: Int?
    /// Whether layers are normalised; otherwise convolutions have biases.
    public var batchNormalization: Bool
    /// Whether activations are computed again in the backward pass to need less memory.
    public var checkpointing: Bool
    /// The threads that compute.
    public var lanes: Lanes

    /// Makes a configuration.
    public init(
      batchSize: Int = 16, size: Int? = nil, classes: Int? = nil, batchNormalization: Bool = true,
      checkpointing: Bool = false, lanes: Lanes = .shared
    ) {
      self.batchSize = batchSize
      self.size = size
      self.classes = classes
      self.batchNormalization = batchNormalization
      self.checkpointing = checkpointing
      self.lanes = lanes
    }
  }

  /// What was measured.
  public struct Result: Sendable {
    /// Whole steps.
    public let timing: Timing
    /// Floating-point operations of a step: 3 times those of the forward pass by direct convolution, 2
    /// for each multiply-add.
    public let operationCount: Int

    /// 10⁹ of these operations a second.
    public var gigaflops: Double { Double(operationCount) / timing.median / 1e9 }
  }

  /// Bytes that steps need, known before the first: parameters, moments, activations, gradients, packed
  /// weights and scratch.
  public let peakByteCount: Int
  /// Learned numbers.
  public let parameterCount: Int
  private let operationCount: Int
  private let trainer: Trainer
  private let images: Tensor
  private let labels: Tensor

  /// Prepares a built-in network with random weights, images and labels.
  ///
  /// - Throws: `GraphError` where the network cannot have images of this size, `PlanError` where the
  ///   engine cannot train it or memory does not suffice.
  public init(network: Network, _ configuration: Configuration = Configuration()) throws {
    guard configuration.batchSize >= 1 else {
      throw GraphError(
        .invalidShape, "a batch of \(configuration.batchSize) images cannot be measured")
    }
    let graph = try network.graph(
      classes: configuration.classes, batchNormalization: configuration.batchNormalization,
      size: configuration.size)
    let input = graph.inputViews[0]
    let extents = input.type.dimensions.dropFirst().map { $0.extent ?? 1 }
    let shape = try Shape(checking: [configuration.batchSize] + extents)
    let forward = try graph.resolved(inputShapes: [input.name: shape])
    operationCount = 3 * 2 * forward.multiplyAddCount
    parameterCount = graph.trainableCount
    try ProcessMemory.check(2 * 4 * parameterCount, for: "the parameters of \(network.rawValue)")
    // Repeated on one batch, larger steps could diverge; the numbers do not matter to the clock.
    trainer = try Trainer(
      model: Model(randomizing: graph), optimizer: .sgd(SGD(learningRate: 1e-6)),
      batchSize: configuration.batchSize, checkpointing: configuration.checkpointing,
      lanes: configuration.lanes)
    peakByteCount = try trainer.peakByteCount(images: shape)
    try ProcessMemory.check(peakByteCount, for: "steps on images of \(shape)")
    images = Tensor(random: "images", shape: shape)
    let classes = configuration.classes ?? network.defaultClassCount
    let random = Philox(seed: 1, purpose: "labels")
    labels = Tensor(
      (0..<configuration.batchSize).map { Int64(random.word(UInt64($0)) % UInt32(classes)) })
  }

  /// Measures, in at least 5 steps and so many seconds, after one that does not count.
  ///
  /// - Throws: `TrainingError` where the loss or a gradient is not finite.
  public func run(seconds: Double = 2) throws -> Result {
    var failure: (any Error)?
    let timing = Timing.compare(
      seconds: seconds,
      [
        { [trainer, images, labels] in
          do { try trainer.step(images: images, labels: labels) } catch { failure = error }
        }
      ])[0]
    if let failure { throw failure }
    return Result(timing: timing, operationCount: operationCount)
  }

  /// What the fastest of several steps consists of.
  ///
  /// - Throws: as `run(seconds:)`.
  public func profile(runs: Int = 3) throws -> [Plan.StepTiming] {
    try .fastest(of: runs) { try trainer.profile(images: images, labels: labels) }
  }
}
