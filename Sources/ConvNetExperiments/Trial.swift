import ConvNet
import Glibc

/// One training of an experiment: a network from initial weights, for a number of steps.
struct Trial: Sendable {
  var graph: Graph
  var data: TrainingData
  var normalization: Normalization
  var optimizer: Optimizer
  var schedule: Schedule = .constant()
  var renormalization = RenormalizationSchedule()
  var batchSize: Int
  var steps: Int
  var seed: UInt64
  var initializer: Initializer = .he

  /// What a training came to.
  struct Outcome: Sendable {
    /// The loss of every step.
    var losses: [Double]
    /// The step whose loss or gradient was not finite.
    var stoppedAt: Int?
    /// As it was at the end, or before the step that could not be done.
    var model: Model

    /// The mean loss of the last tenth of the steps.
    var lastLoss: Double {
      let tail = losses.suffix(max(losses.count / 10, 1))
      return tail.isEmpty ? .nan : tail.reduce(0, +) / Double(tail.count)
    }

    /// Refuses a training that ended early, for experiments that compare moments of its course.
    func checkThatItFinished(seed: UInt64) throws {
      guard let stoppedAt else { return }
      throw TrainingError(
        .notFinite, "the training of seed \(seed) stopped at step \(stoppedAt), not finite")
    }

    /// Whether a loss was not finite, or the last ones are no better than those of an answer that is
    /// the same for every image: ln K for K classes.
    func hasDiverged(classes: Int) -> Bool {
      stoppedAt != nil || !(lastLoss < 0.99 * log(Double(classes)))
    }
  }

  /// The network with its initial weights.
  func initialModel() throws -> Model {
    var model = try Model(initializing: graph, initializer: initializer, seed: seed)
    model.normalization = normalization
    return model
  }

  /// Trains.
  ///
  /// - Parameters:
  ///   - lanes: the threads that compute.
  ///   - change: what is done to the initial model.
  ///   - checkpoints: after how many steps to call `observe`; 0 is before the first.
  ///   - observe: looks at the model.
  func run(
    lanes: Lanes, changing change: (inout Model) throws -> Void = { _ in },
    checkpoints: Set<Int> = [],
    observe: (_ step: Int, _ trainer: Trainer) throws -> Void = { _, _ in }
  ) throws -> Outcome {
    var model = try initialModel()
    try change(&model)
    let trainer = try Trainer(
      model: model, optimizer: optimizer, schedule: schedule, batchSize: batchSize, seed: seed,
      renormalization: renormalization, lanes: lanes)
    var batches = Batches(data, normalization, batchSize: batchSize, seed: seed)
    var losses: [Double] = []
    losses.reserveCapacity(steps)
    var stoppedAt: Int?
    if checkpoints.contains(0) { try observe(0, trainer) }
    for step in 1...max(steps, 1) {
      let batch = batches.next()
      do {
        losses.append(try trainer.step(images: batch.images, labels: batch.labels))
      } catch let error as TrainingError where error.code == .notFinite {
        stoppedAt = step
        break
      }
      if checkpoints.contains(step) { try observe(step, trainer) }
    }
    return Outcome(losses: losses, stoppedAt: stoppedAt, model: trainer.model)
  }
}

/// Normalised batches without end: all images in another order each epoch, without the last ones that
/// fill no batch.
struct Batches {
  private let data: TrainingData
  private let coefficients: (factors: [Float], offsets: [Float])
  private let batchSize: Int
  private let seed: UInt64
  private var epoch = 0
  private var order: [Int] = []
  private var position = 0

  /// A batch size beyond the number of images stops the program.
  init(_ data: TrainingData, _ normalization: Normalization, batchSize: Int, seed: UInt64) {
    guard (1...max(data.count, 1)).contains(batchSize) else {
      fatalError("\(data.count) images fill no batch of \(batchSize).")
    }
    self.data = data
    coefficients = normalization.coefficients
    self.batchSize = batchSize
    self.seed = seed
  }

  mutating func next() -> (images: Tensor, labels: Tensor) {
    if position + batchSize > order.count {
      order = Philox(seed: seed, purpose: "order of epoch \(epoch)").permutation(data.count)
      (epoch, position) = (epoch + 1, 0)
    }
    defer { position += batchSize }
    return batch(order[position..<position + batchSize])
  }

  /// Some samples: float32 `[N, H, W, C]` and int64 `[N]`.
  func batch(_ samples: ArraySlice<Int>) -> (images: Tensor, labels: Tensor) {
    var images = Tensor(zeros: Shape([samples.count] + data.images.shape.dimensions.dropFirst()))
    let size = data.images.shape.dimensions.dropFirst().reduce(1, *)
    let byteCount = data.images.byteCount / max(data.count, 1)
    images.withMutableBytes { target in
      data.images.withBytes { source in
        let output = target.assumingMemoryBound(to: Float.self)
        for (row, sample) in samples.enumerated() {
          Normalization.write(
            UnsafeRawBufferPointer(
              rebasing: source[sample * byteCount..<(sample + 1) * byteCount]),
            of: data.images.elementType, by: coefficients,
            to: UnsafeMutableBufferPointer(rebasing: output[row * size..<(row + 1) * size]))
        }
      }
    }
    return (images, Tensor(samples.map { data.labels[$0] }))
  }
}
