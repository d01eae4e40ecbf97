import ConvNetFormats
import ConvNetGraph
import ConvNetTraining
import FoundationEssentials
import Testing

@Suite struct TrainingLogTests {
  private let stepsPerEpoch = 5

  private func makeTrainer(clipping: GradientClipping? = nil) throws -> Trainer {
    try Trainer(
      model: Model(initializing: smallNetwork(size: 8, classes: 3), seed: 4),
      optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: 8, seed: 5, clipping: clipping)
  }

  private func makeData() throws -> TrainingData {
    try bands(8 * stepsPerEpoch, size: 8, classes: 3, seed: 6)
  }

  private func withLogFolder(_ body: (String) throws -> Void) throws {
    let files = FileManager.default
    let folder = files.temporaryDirectory.path + "/convnet-\(UUID().uuidString)"
    defer { try? files.removeItem(atPath: folder) }
    try body(folder + "/runs/a")
  }

  private func text(_ path: String) throws -> String {
    String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
  }

  private func eventFiles(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("tfevents") }
  }

  private struct Line: Codable, Equatable {
    var kind: String
    var step: Int
    var epoch: Int
    var loss: Double
    var accuracy: Double
    var validationLoss: Double?
    var validationAccuracy: Double?
    var learningRate: Double
    var gradientNorm: Double?
  }

  /// The lines, without how fast they came.
  private func lines(_ folder: String) throws -> [Line] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try text(folder + "/log.jsonl").split(separator: "\n").map {
      try decoder.decode(Line.self, from: Data($0.utf8))
    }
  }

  @Test func aTrainingIsWrittenDown() throws {
    try withLogFolder { folder in
      let (trainer, data) = (try makeTrainer(), try makeData())
      let log = try TrainingLog(
        folder: folder, title: "a & b", options: .init(stepInterval: 2))
      try log.record(samplesOf: data, for: trainer)
      var failure: (any Error)?
      let reports = try trainer.run(epochs: 2, data: data, validation: data) { progress in
        do { try log.record(progress, of: trainer) } catch { failure = error }
      }
      #expect(failure == nil)
      let lines = try lines(folder)
      #expect(lines.map(\.step) == [2, 4, 5, 5, 6, 8, 10, 10])
      #expect(lines.map(\.kind).filter { $0 == "epoch" }.count == 2)
      for (epoch, report) in zip(lines.filter { $0.kind == "epoch" }, reports) {
        #expect(epoch.loss == report.loss && epoch.accuracy == report.accuracy)
        #expect(epoch.validationLoss == report.validationLoss)
        #expect(epoch.validationAccuracy == report.validationAccuracy)
        let parts = lines.filter { $0.kind == "step" && $0.epoch == report.epoch }
        // Lengths of the stretches: 2, 2, 1 and, because steps are counted on, 1, 2, 2.
        let weights = report.epoch == 1 ? [2, 2, 1] : [1, 2, 2] as [Double]
        let mean = zip(parts, weights).reduce(0) { $0 + $1.0.loss * $1.1 } / 5
        #expect(abs(mean - report.loss) <= 16 * report.loss.ulp)
        #expect(parts.allSatisfy { ($0.gradientNorm ?? 0) > 0 && $0.validationLoss == nil })
      }
      let curves = try text(folder + "/curves.svg")
      #expect(curves.contains("a &amp; b: accuracy") && curves.contains(">validation</text>"))
      let files = try eventFiles(folder)
      #expect(files.count == 1)
      let events = try text("\(folder)/\(files[0])")
      for tag in [
        "loss/training", "accuracy/validation", "learning_rate", "gradient_norm", "IHDR",
        "images/training", "epoch", "gamma/batchNormalization", "beta/batchNormalization",
        "running_mean/", "running_variance/", "gradient/convolution",
      ] {
        #expect(events.contains(tag), "\(tag)")
      }
    }
  }

  @Test func aResumedTrainingGoesOnWithoutStepsTwice() throws {
    let data = try makeData()
    func train(_ trainer: Trainer, epochs: Int, _ log: TrainingLog?) throws {
      var failure: (any Error)?
      try trainer.run(epochs: epochs, data: data, validation: data) { progress in
        do { try log?.record(progress, of: trainer) } catch { failure = error }
      }
      if let failure { throw failure }
    }
    try withLogFolder { folder in
      try train(makeTrainer(), epochs: 2, TrainingLog(folder: folder))
      let whole = try lines(folder)
      let curves = try text(folder + "/curves.svg")
      #expect(whole.map(\.step) == [5, 5, 10, 10])
      #expect(throws: FileError.self) { try TrainingLog(folder: folder) }
      #expect(try lines(folder) == whole)

      // As if the process had died in the second epoch, whose steps are run again.
      let trainer = try makeTrainer()
      try train(trainer, epochs: 1, nil)
      let log = try TrainingLog(folder: folder, resumingAt: trainer.stepCount)
      #expect(try lines(folder) == Array(whole[..<2]))
      try train(trainer, epochs: 1, log)
      #expect(try lines(folder) == whole)
      #expect(try text(folder + "/curves.svg") == curves)
      #expect(try eventFiles(folder).count == 2)
    }
  }

  /// The first record after a stop within an epoch is of the steps since the last record, too.
  @Test func aTrainingStoppedWithinAnEpochGoesOnToo() throws {
    let data = try makeData()
    func train(_ folder: String, stoppingAt stop: Int?) throws -> [Line] {
      let trainer = try makeTrainer()
      let run = try TrainingRun(trainer, data: data, options: .init(epochs: 2))
      let options = TrainingLog.Options(stepInterval: 3)
      if let stop {
        let log = try TrainingLog(folder: folder, options: options)
        try run.run {
          try log.record($0, of: trainer)
        } shouldStop: {
          trainer.stepCount == stop
        }
      }
      let log = try TrainingLog(
        folder: folder, resumingAt: trainer.stepCount, options: options)
      try run.run { try log.record($0, of: trainer) }
      return try lines(folder)
    }
    try withLogFolder { folder in
      let whole = try train(folder + "/whole", stoppingAt: nil)
      #expect(whole.map(\.step) == [3, 5, 5, 6, 9, 10, 10])
      for stop in [1, 3, 7, 9] {
        let parts = try train("\(folder)/\(stop)", stoppingAt: stop)
        #expect(parts.map(\.step) == whole.map(\.step))
        for (part, line) in zip(parts, whole) {
          #expect(abs(part.loss - line.loss) <= 64 * line.loss.ulp, "stopped at \(stop)")
          #expect(abs(part.accuracy - line.accuracy) <= 64 * 1.0.ulp, "stopped at \(stop)")
        }
      }
    }
  }

  @Test func gradientsAreThoseOfTheLastStep() throws {
    let data = try makeData()
    let (plain, clipped) = (try makeTrainer(), try makeTrainer(clipping: .norm(1e9)))
    #expect(plain.measuredGradientNorm == nil)
    try plain.run(epochs: 1, data: data)
    try clipped.run(epochs: 1, data: data)
    let (norm, expected) = (plain.measuredGradientNorm ?? 0, clipped.gradientNorm ?? -1)
    #expect(abs(norm - expected) <= 64 * expected.ulp)
    var names: [String] = []
    plain.forEachGradient { name, gradient in
      names.append(name)
      let isFinite = gradient.allSatisfy { $0.isFinite }
      #expect(isFinite)
    }
    #expect(Set(names) == Set(plain.model.graph.parameters.filter(\.isTrainable).map(\.name)))
  }

  @Test func badFoldersAndOptionsAreRefused() throws {
    try withLogFolder { folder in
      #expect(throws: TrainingError.self) {
        try TrainingLog(folder: folder, options: .init(stepInterval: 0))
      }
      let log = try TrainingLog(folder: folder)
      #expect(throws: FileError.self) { try TrainingLog(folder: "\(log.folder)/log.jsonl/a") }
    }
  }

  @Test func sheetsHaveGapsAndLevels() {
    let images: [Float] = [0, 1, 0.5, .nan, -1, 2, 1, 0, 1, 1, 1, 1]
    let sheet = ContactSheet(images, shape: [2, 2, 1], range: 0...1)
    #expect(sheet.width == 6 && sheet.height == 6 && sheet.channels == 1)
    #expect(
      sheet.pixels == [
        0, 255, 128, 128, 0, 255,
        128, 0, 128, 128, 255, 0,
        128, 128, 128, 128, 128, 128,
        128, 128, 128, 128, 128, 128,
        255, 255, 128, 128, 128, 128,
        255, 255, 128, 128, 128, 128,
      ])
    let color = ContactSheet([10, 20, 30, 20, 20, 10], shape: [1, 1, 3])
    #expect(color.width == 4 && color.channels == 3)
    #expect(color.pixels == [0, 128, 255, 128, 128, 128, 128, 128, 128, 128, 128, 0])
  }
}
