import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Synchronization
import Testing

/// Images that pretend to be read from files, some of which are broken.
private final class Files: ImageSource {
  struct Broken: Error, Equatable { var sample: Int }

  let data: TrainingData
  let broken: Set<Int>
  let leavesOut: Bool
  /// Images asked for so far, and how many of them at most before the test allowed more.
  let begun = Atomic<Int>(0)
  let allowed = Atomic<Int>(.max)
  let exceeded = Atomic<Bool>(false)

  init(_ data: TrainingData, broken: Set<Int> = [], leavesOut: Bool = false) {
    self.data = data
    self.broken = broken
    self.leavesOut = leavesOut
  }

  var labels: [Int64] { data.labels }
  var classCount: Int { data.classCount }
  var classNames: [String] { data.classNames }
  var elementType: ElementType { data.elementType }
  var imageShape: Shape { data.imageShape }
  var isInMemory: Bool { false }

  func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let count = begun.add(1, ordering: .sequentiallyConsistent).newValue
    if count > allowed.load(ordering: .sequentiallyConsistent) {
      exceeded.store(true, ordering: .relaxed)
    }
    if broken.contains(sample) {
      if leavesOut, epoch == nil { throw UnreadableSample(sample: sample, "broken") }
      throw Broken(sample: sample)
    }
    return try data.withPixels(of: sample, in: epoch, body)
  }
}

@Suite struct LoaderTests {
  let lanes: Lanes
  init() throws { lanes = try Lanes(count: 1) }

  /// One image after another, `batchSize` at a time.
  private func images(
    of data: any ImageSource, order: [Int], batchSize: Int, in epoch: EpochKey?,
    loading: Loading = Loading()
  ) throws -> [Float] {
    let assembler = try BatchAssembler(
      data: data, normalization: nil, augmentation: Augmentation(horizontalFlip: true, shift: 1))
    let loader = try BatchLoader(
      assembler, order: order, batchSize: batchSize, epoch: epoch, lanes: lanes, loading: loading)
    var result: [Float] = []
    while loader.remaining > 0 {
      var batch = [Float](repeating: .nan, count: batchSize * data.imageShape.count)
      let samples = try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }
      result += batch[..<(samples.count * data.imageShape.count)]
    }
    return result
  }

  @Test func threadsChangeNothing() throws {
    let data = try bands(23, size: 5, classes: 2, seed: 3)
    let epoch = EpochKey(seed: 9, epoch: 1)
    let order = data.order(of: epoch)
    let expected = try images(of: data, order: order, batchSize: 4, in: epoch)
    #expect(expected.count == 23 * 25)
    for threads in [1, 2, 5] {
      for batches in [1, 3, 20] {
        for source in [Files(data), data] as [any ImageSource] {
          let loading = Loading(threads: threads, batches: batches, includesMemory: true)
          let found = try images(
            of: source, order: order, batchSize: 4, in: epoch, loading: loading)
          #expect(found == expected, "\(loading)")
          // From the middle of the epoch on.
          let rest = try images(
            of: source, order: Array(order[8...]), batchSize: 4, in: epoch, loading: loading)
          #expect(rest[...] == expected[(8 * 25)...], "\(loading)")
        }
      }
    }
  }

  @Test func readingAheadIsBounded() throws {
    let files = Files(try bands(40, size: 4, classes: 2, seed: 1))
    let assembler = try BatchAssembler(data: files, normalization: nil)
    let loader = try BatchLoader(
      assembler, order: 0..<40, batchSize: 4, lanes: lanes, loading: Loading(threads: 3, batches: 2)
    )
    files.allowed.store(8, ordering: .sequentiallyConsistent)
    var batch = [Float](repeating: 0, count: 4 * 16)
    for step in 1...10 {
      files.allowed.store(8 + 4 * step, ordering: .sequentiallyConsistent)
      let samples = try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }
      #expect(samples == Array((4 * (step - 1))..<(4 * step)))
    }
    let (exceeded, begun) = (
      files.exceeded.load(ordering: .relaxed), files.begun.load(ordering: .relaxed)
    )
    #expect(!exceeded && begun == 40)
    #expect(Loading(batches: 3).byteCount(batch: [4, 4, 4, 1]) == 3 * 4 * 16 * 4)
  }

  /// Of several broken images the first in order is named, and batches before it come.
  @Test func errorsComeWithTheirBatch() throws {
    let data = try bands(20, size: 4, classes: 2, seed: 2)
    for threads in [1, 4] {
      let files = Files(data, broken: [9, 11, 17], leavesOut: true)
      let assembler = try BatchAssembler(data: files, normalization: nil)
      let loader = try BatchLoader(
        assembler, order: 0..<20, batchSize: 4, epoch: EpochKey(seed: 0, epoch: 0), lanes: lanes,
        loading: Loading(threads: threads, batches: 4))
      var batch = [Float](repeating: 0, count: 4 * 16)
      for _ in 0..<2 {
        #expect(try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }.count == 4)
      }
      #expect(throws: Files.Broken(sample: 9)) {
        try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }
      }
    }
  }

  /// The threads refer to the source: when it is gone, so are they.
  @Test func threadsEndWithTheLoader() throws {
    let data = try bands(64, size: 4, classes: 2, seed: 2)
    for taken in [0, 1, 5] {
      weak var source: Files?
      do {
        let files = Files(data)
        source = files
        let loader = try BatchLoader(
          BatchAssembler(data: files, normalization: nil), order: 0..<64, batchSize: 4,
          lanes: lanes, loading: Loading(threads: 3))
        var batch = [Float](repeating: 0, count: 4 * 16)
        for _ in 0..<taken {
          _ = try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }
        }
      }
      #expect(source == nil, "after \(taken) batches")
    }
  }

  @Test func trainingFromFilesGivesTheSameBits() throws {
    let data = try bands(21, size: 8, classes: 2, seed: 7)
    let graph = try smallNetwork(size: 8, classes: 2)
    func run(
      _ source: any ImageSource, _ remainder: RemainderPolicy, threads: Int
    ) throws -> (Model, [EpochReport]) {
      let trainer = try Trainer(
        model: Model(initializing: graph, seed: 5), optimizer: .sgd(SGD(learningRate: 0.05)),
        batchSize: 8, seed: 3, augmentation: .light, accumulation: Accumulation(steps: 2),
        lanes: lanes)
      trainer.loading = Loading(threads: threads)
      let reports = try trainer.run(
        epochs: 2, data: source, validation: source, remainder: remainder)
      return (trainer.model, reports)
    }
    for remainder in RemainderPolicy.allCases {
      let (model, reports) = try run(data, remainder, threads: 1)
      for threads in [1, 3] {
        let (streamed, others) = try run(Files(data), remainder, threads: threads)
        #expect(streamed.parameters == model.parameters && streamed.state == model.state)
        #expect(others.map(\.loss) == reports.map(\.loss))
        #expect(others.map(\.validationLoss) == reports.map(\.validationLoss))
      }
    }
  }

  @Test func aBrokenImageEndsTheTrainingAtItsStep() throws {
    let data = try bands(24, size: 8, classes: 2, seed: 7)
    let order = data.order(of: EpochKey(seed: 3, epoch: 0))
    let trainer = try Trainer(
      model: Model(initializing: smallNetwork(size: 8, classes: 2), seed: 5),
      optimizer: .sgd(SGD(learningRate: 0.05)), batchSize: 4, seed: 3, lanes: lanes)
    #expect(throws: Files.Broken(sample: order[13])) {
      try trainer.run(epochs: 1, data: Files(data, broken: [order[13], order[20]]))
    }
    #expect(trainer.stepCount == 3)
    trainer.loading.threads = 0
    #expect(throws: TrainingError.self) { try trainer.run(epochs: 1, data: data) }
    trainer.loading = Loading(batches: 0)
    #expect(throws: TrainingError.self) { try trainer.run(epochs: 1, data: data) }
  }

  /// What cannot be read is left out of evaluation and statistics.
  @Test func measuresGoOnWithoutUnreadableSamples() throws {
    let data = try bands(21, size: 8, classes: 2, seed: 7)
    let broken: Set<Int> = [0, 3, 4, 5, 20]
    let readable = (0..<21).filter { !broken.contains($0) }
    let pixels = data.images.floats
    let rest = try TrainingData(
      images: Tensor(
        readable.flatMap { pixels[$0 * 64..<($0 + 1) * 64] }, shape: [readable.count, 8, 8, 1]),
      labels: readable.map { data.labels[$0] }, classCount: 2)
    var model = try Model(initializing: smallNetwork(size: 8, classes: 2), seed: 1)
    let files = Files(data, broken: broken, leavesOut: true)
    for batchSize in [1, 6, 100] {
      let evaluator = try Evaluator(model, batchSize: batchSize, lanes: lanes)
      #expect(try evaluator.evaluate(files) == evaluator.evaluate(rest))
    }
    let none = Files(data, broken: Set(0..<21), leavesOut: true)
    #expect(try Evaluator(model, lanes: lanes).evaluate(none).count == 0)
    var other = model
    try model.recalibrate(on: files, batchSize: 21, lanes: lanes)
    try other.recalibrate(on: rest, batchSize: 21, lanes: lanes)
    #expect(model.state == other.state)
    #expect(throws: Files.Broken(sample: 3)) {
      try Evaluator(model, lanes: lanes).evaluate(Files(data, broken: [3, 7]))
    }
  }

  @Test func remaindersCoverAnEpoch() {
    for count in 0..<20 {
      for size in 1..<8 {
        for policy in RemainderPolicy.allCases {
          let steps = policy.stepCount(of: count, batchSize: size)
          let ranges = (0..<steps).map {
            policy.samples(ofStep: $0, of: count, batchSize: size)
          }
          let what: Comment = "\(policy), \(count) samples, batches of \(size): \(ranges)"
          let covered = policy == .drop ? count / size * size : count
          #expect(ranges.flatMap { Array($0) } == Array(0..<covered), what)
          #expect(ranges.dropLast().allSatisfy { $0.count == size }, what)
          let last = ranges.last?.count ?? 0
          switch policy {
          case .drop: #expect(last == size || steps == 0, what)
          case .keep: #expect((1...size).contains(last) || steps == 0, what)
          case .merge: #expect((min(size, count)..<2 * size).contains(last) || steps == 0, what)
          }
        }
      }
    }
  }
}
