import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import FoundationEssentials
import Testing

/// A training that stops after any step and goes on in another process has the bits of one that never
/// stopped.
@Suite struct ResumeTests {
  /// One training with everything that remembers something.
  struct Kind: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var optimizer: Optimizer = .sgd(SGD(learningRate: 0.05, nesterov: true))
    var schedule: Schedule = .cosine(steps: 15, warmUpSteps: 3)
    var averageDecay: Double?
    var clipping: GradientClipping?
    var accumulation = Accumulation(steps: 1)
    var remainder = RemainderPolicy.drop
    var renormalization = RenormalizationSchedule()
    var statistics = BatchStatistics()
    var freezes = false
  }

  static let kinds: [Kind] = [
    Kind(
      testDescription: "Nesterov, averages, a rest",
      optimizer: .sgd(SGD(learningRate: 0.05, nesterov: true, weightDecay: .coupled(1e-3))),
      averageDecay: 0.9, clipping: .norm(1), remainder: .keep),
    Kind(
      testDescription: "AdamW, ghost batches, one cycle",
      optimizer: .adam(Adam(learningRate: 0.01, weightDecay: .decoupled(0.01))),
      schedule: .oneCycle(steps: 15), averageDecay: 0.5,
      statistics: BatchStatistics(ghostBatchSize: 4)),
    Kind(
      testDescription: "Adam, renormalisation, parts",
      optimizer: .adam(Adam()), schedule: .step(every: 4, warmUpSteps: 2),
      accumulation: Accumulation(steps: 2),
      renormalization: RenormalizationSchedule(warmUpSteps: 2, scaleSteps: 9, shiftSteps: 7),
      statistics: BatchStatistics(renormalizes: true)),
    Kind(testDescription: "frozen statistics", averageDecay: 0.9, freezes: true),
  ]

  let data: TrainingData
  let validation: TrainingData

  init() throws {
    data = try bands(44, size: 6, classes: 2, seed: 61)
    validation = try bands(10, size: 6, classes: 2, seed: 62)
  }

  static func network(_ kind: Kind) throws -> Model {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 1)) {
      $0.convolution(4, kernel: 3, bias: false).batchNormalization(statistics: kind.statistics)
        .relu().dropout(0.2).flatten().dense(2)
    }
    let model = try Model(initializing: graph, seed: 63)
    return kind.freezes ? try model.freezingBatchNormalization() : model
  }

  func run(
    _ kind: Kind, in folder: CheckpointFolder? = nil, lanes: Int = 0, interval: Int? = nil,
    epochs: Int = 3, seed: UInt64 = 64, data other: TrainingData? = nil, model: Model? = nil
  ) throws -> TrainingRun {
    let trainer = try Trainer(
      model: model ?? Self.network(kind), optimizer: kind.optimizer, schedule: kind.schedule,
      batchSize: 8, seed: seed, augmentation: .light, accumulation: kind.accumulation,
      clipping: kind.clipping, averageDecay: kind.averageDecay,
      renormalization: kind.renormalization, lanes: TestLanes.all[lanes])
    return try TrainingRun(
      trainer, data: other ?? data, validation: validation,
      options: .init(
        epochs: epochs, remainder: kind.remainder, checkpointInterval: interval, keepsBest: true),
      checkpoints: folder)
  }

  /// What may not differ: all numbers, and everything that is reported but the time.
  private func expectSame(
    _ one: TrainingRun, _ other: TrainingRun, _ comment: Comment,
    location: SourceLocation = #_sourceLocation
  ) throws {
    let (a, b) = (one.trainer, other.trainer)
    #expect(a.model.parameters == b.model.parameters, comment, sourceLocation: location)
    #expect(a.model.state == b.model.state, comment, sourceLocation: location)
    let (p, q) = (a.averagedModel, b.averagedModel)
    #expect(p?.parameters == q?.parameters && p?.state == q?.state, comment)
    #expect(a.optimizerState.tensors == b.optimizerState.tensors, comment)
    #expect(a.stepCount == b.stepCount && a.rejectedUpdates == b.rejectedUpdates, comment)
    #expect(one.bestModel?.parameters == other.bestModel?.parameters, comment)
    let (finished, again) = (try one.finishedModel(), try other.finishedModel())
    #expect(finished.parameters == again.parameters && finished.state == again.state, comment)
  }

  private func timeless(_ outcome: TrainingRun.Outcome) -> [EpochReport] {
    outcome.reports.map {
      var report = $0
      (report.seconds, report.imagesPerSecond) = (0, 0)
      return report
    }
  }

  @Test(arguments: kinds) func everyStepIsAPlaceToStop(kind: Kind) throws {
    let whole = try run(kind)
    let wanted = try whole.run()
    let steps = whole.trainer.stepCount
    #expect(steps == (kind.remainder == .keep ? 18 : 15))
    for stop in 1..<steps {
      let folder = try TemporaryFolder()
      try interrupt(kind, after: stop, in: folder.path)
      let second = try run(kind, in: CheckpointFolder(folder.path), lanes: stop % 2)
      let resumption = try #require(try second.resume())
      #expect(resumption.step == stop && resumption.remarks.isEmpty)
      let outcome = try second.run()
      #expect(timeless(outcome) == timeless(wanted), "stopped after \(stop) steps")
      #expect(outcome.best == wanted.best)
      try expectSame(second, whole, "stopped after \(stop) steps")
    }
  }

  /// Begins a training and stops it; its folder is free for another process then.
  private func interrupt(
    _ kind: Kind, after steps: Int, in folder: String, interval: Int? = nil
  ) throws {
    let run = try run(kind, in: CheckpointFolder(folder), interval: interval)
    let outcome = try run.run(shouldStop: { run.trainer.stepCount >= steps })
    #expect(outcome.reason == .interrupted && run.trainer.stepCount == steps)
  }

  /// A run that is told to stop goes on in the same process, too.
  @Test func aRunGoesOnWhereItStopped() throws {
    let (whole, parts) = (try run(Self.kinds[0]), try run(Self.kinds[0]))
    let wanted = try whole.run()
    var outcome = try parts.run(shouldStop: { true })
    while outcome.reason == .interrupted { outcome = try parts.run(shouldStop: { true }) }
    #expect(timeless(outcome) == timeless(wanted))
    try expectSame(parts, whole, "one step at a time")
  }

  /// The last ones and the best stay; an interval gives no more than a stop does.
  @Test func theLastAndTheBestAreKept() throws {
    let folder = try TemporaryFolder()
    let checkpoints = try CheckpointFolder(folder.path, keep: 2)
    let run = try run(Self.kinds[0], in: checkpoints, interval: 4)
    let outcome = try run.run()
    let best = try #require(outcome.best?.step)
    #expect(try checkpoints.steps() == Set([best, 16, 18]).sorted())
    #expect(outcome.checkpoint == checkpoints.path(ofStep: 18))
    // A checkpoint is a model, too: the one that validation measured.
    let saved = try ModelFile.load(checkpoints.path(ofStep: best))
    #expect(saved.parameters == run.bestModel?.parameters)
  }

  @Test func aDamagedCheckpointGivesWayToTheOneBefore() throws {
    let folder = try TemporaryFolder()
    try interrupt(Self.kinds[0], after: 4, in: folder.path, interval: 1)
    let checkpoints = try CheckpointFolder(folder.path)
    let newest = checkpoints.path(ofStep: 4)
    let bytes = try folder.bytes(of: newest)
    let random = Philox(seed: 65, purpose: "damage")
    for round in 0..<40 {
      var damaged = bytes
      let place = Int(random.word(UInt64(2 * round))) % bytes.count
      if round % 4 == 0 {
        damaged.removeLast(bytes.count - place)
      } else {
        damaged[place] ^= 1 << UInt8(random.word(UInt64(2 * round + 1)) % 8)
      }
      try folder.write(damaged, to: newest)
      let run = try run(Self.kinds[0], in: checkpoints)
      let resumption = try #require(try run.resume())
      #expect(resumption.step == 3, "byte \(place)")
      #expect(resumption.remarks.count == 2 && resumption.remarks[0].contains(newest))
    }
    for step in 2...3 { try folder.write([], to: checkpoints.path(ofStep: step)) }
    let lost = try run(Self.kinds[0], in: checkpoints)
    let before = lost.trainer.model
    let error = #expect(throws: FileError.self) { try lost.resume() }
    #expect(error?.path == newest)
    #expect(lost.trainer.model.parameters == before.parameters && lost.trainer.stepCount == 0)
  }

  /// Checkpoints of other trainings are refused with what differs, and nothing changes.
  @Test func otherTrainingsAreRefused() throws {
    let folder = try TemporaryFolder()
    let kind = Self.kinds[0]
    try interrupt(kind, after: 3, in: folder.path)
    let checkpoints = try CheckpointFolder(folder.path)
    func refused(
      _ words: [String], location: SourceLocation = #_sourceLocation,
      _ make: () throws -> TrainingRun
    ) throws {
      let run = try make()
      let before = run.trainer.model
      let error = #expect(throws: TrainingError.self, sourceLocation: location) {
        try run.resume()
      }
      let sentence = error?.description ?? ""
      #expect(error?.code == .mismatchedState, sourceLocation: location)
      for word in words + [checkpoints.path(ofStep: 3)] {
        #expect(sentence.contains(word), "\(sentence)", sourceLocation: location)
      }
      #expect(run.trainer.model.parameters == before.parameters && run.trainer.stepCount == 0)
      #expect(run.trainer.optimizerState.stepCount == 0, sourceLocation: location)
    }
    try refused(["seed 64 there and 65 here"]) { try run(kind, in: checkpoints, seed: 65) }
    try refused(["samples 44 there and 40 here"]) {
      try run(kind, in: checkpoints, data: data.prefix(40))
    }
    try refused(["checksum of the labels"]) {
      try run(kind, in: checkpoints, data: bands(44, size: 6, classes: 2, seed: 66))
    }
    let wide = try Graph(input: .image(height: 6, width: 6, channels: 1)) {
      $0.convolution(6, kernel: 3, bias: false).batchNormalization().relu().flatten().dense(2)
    }
    try refused(["another network", "[3, 3, 1, 4]", "[3, 3, 1, 6]"]) {
      try run(kind, in: checkpoints, model: Model(initializing: wide, seed: 1))
    }
    var other = kind
    other.optimizer = .adam(Adam())
    try refused(["optimizer", "momentum: 0.9", "adam"]) { try run(other, in: checkpoints) }
    other = kind
    other.averageDecay = nil
    try refused(["decay of averages 0.9 there and none here"]) { try run(other, in: checkpoints) }
    other = kind
    other.remainder = .drop
    try refused(["remainder keep there and drop here"]) { try run(other, in: checkpoints) }
  }

  @Test func oneFolderBelongsToOneTraining() throws {
    let folder = try TemporaryFolder()
    try folder.write([1], to: folder.path + "/.convnet-abc.tmp")
    let checkpoints = try CheckpointFolder(folder.path + "/")
    #expect(try checkpoints.steps().isEmpty)
    #expect(try run(Self.kinds[0], in: checkpoints).resume() == nil)
    #expect(try folder.names().isEmpty, "what was half written is removed")
    try folder.write([1], to: folder.path + "/file")
    let error = #expect(throws: FileError.self) { try CheckpointFolder(folder.path) }
    #expect(error?.description.contains("another process") == true)
    #expect(throws: FileError.self) { try CheckpointFolder(folder.path + "/file/a") }
    #expect(throws: TrainingError.self) { try CheckpointFolder(folder.path + "/a", keep: 0) }
    withExtendedLifetime(checkpoints) {}
  }

  /// More epochs than were wanted at first.
  @Test func aTrainingMayBecomeLonger() throws {
    let folder = try TemporaryFolder()
    let kind = Kind(testDescription: "constant rate", schedule: .constant())
    do { try run(kind, in: CheckpointFolder(folder.path), epochs: 1).run() }
    let longer = try run(kind, in: CheckpointFolder(folder.path), epochs: 3)
    try longer.resume()
    let outcome = try longer.run()
    let whole = try run(kind, epochs: 3)
    #expect(try timeless(whole.run()) == timeless(outcome))
    try expectSame(longer, whole, "1 + 2 epochs")
  }
}

/// A folder that is gone when its test ends.
final class TemporaryFolder {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("convnet-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  func bytes(of path: String) throws -> [UInt8] {
    [UInt8](try #require(FileManager.default.contents(atPath: path), "\(path)"))
  }

  func write(_ bytes: [UInt8], to path: String) throws {
    try #require(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
  }
}
