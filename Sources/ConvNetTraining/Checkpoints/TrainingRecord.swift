import ConvNetFormats
import ConvNetGraph
import OpenBLAS

/// Where a training stands, and what it is: the part of a checkpoint that is not tensors.
struct TrainingRecord: Codable {
  /// What may not change if a training is to go on with the same bits, by name, in words.
  var setup: [String: String]
  /// OpenBLAS's version and kernels: others may round otherwise.
  var kernels: String
  var stepCount: Int
  var epochCount: Int
  var rejectedUpdates: Int
  /// The run's own; the confusion of its epoch is a tensor.
  var state: RunState

  /// The greatest number of anything that is counted: what is computed from such numbers fits.
  private static let limit = 1 << 40

  /// The record of a run as it is now.
  init(_ run: TrainingRun) {
    setup = run.setup
    kernels = Self.currentKernels
    (stepCount, epochCount) = (run.trainer.stepCount, run.trainer.epochCount)
    rejectedUpdates = run.trainer.rejectedUpdates
    state = run.state
    state.epoch.confusion = []
  }

  static var currentKernels: String {
    let report = BLAS.bootstrap()
    return "OpenBLAS \(report.version) \(report.core)"
  }

  /// Puts the confusion back and refuses numbers that no training comes to.
  ///
  /// - Throws: `FileError`.
  mutating func complete(_ confusion: Tensor?, at path: String) throws {
    let counts = [
      stepCount, epochCount, rejectedUpdates, state.step, state.epoch.count,
      state.epoch.topFiveCount ?? 0, state.course.epochsWithoutImprovement,
      state.course.best?.step ?? 0, state.course.best?.epoch ?? 0,
    ]
    guard counts.allSatisfy({ (0...Self.limit).contains($0) }), let confusion,
      confusion.elementType == .int64, confusion.shape.rank == 2,
      confusion.shape[0] == confusion.shape[1], state.epoch.confusion.isEmpty,
      (state.epoch.topFiveCount == nil)
        == (Evaluation(classCount: confusion.shape[0]).topFiveCount == nil)
    else {
      throw FileError(.malformed, "the record of the training contradicts itself", at: path)
    }
    let classes = confusion.shape[0]
    let values = confusion.elements(of: Int64.self)
    guard values.allSatisfy({ (0...Int64(Self.limit)).contains($0) }) else {
      throw FileError(.malformed, "samples are counted below 0 or without end", at: path)
    }
    state.epoch.confusion = (0..<classes).map { row in
      values[row * classes..<(row + 1) * classes].map { Int($0) }
    }
  }

  /// What is another in a run than in this record, as the end of a sentence; nil where all is the same.
  func difference(from run: TrainingRun) -> String? {
    let here = run.setup
    let names = Set(setup.keys).union(here.keys).sorted()
    let different = names.filter { setup[$0] != here[$0] }.map {
      "\($0) \(setup[$0] ?? "not given") there and \(here[$0] ?? "not given") here"
    }
    return different.isEmpty ? nil : different.joined(separator: "; ")
  }
}

extension TrainingRun {
  /// What decides the bits of a training besides the model and the pixels.
  var setup: [String: String] {
    let data = assembler.data
    var checksum = Checksum()
    data.labels.withUnsafeBytes { checksum.add($0) }
    func words(_ value: some Any) -> String {
      "\(value)".split(separator: "ConvNetTraining.").joined()
    }
    return [
      "loss": words(trainer.loss), "optimizer": words(trainer.optimizer),
      "schedule": words(trainer.schedule), "batch size": "\(trainer.batchSize)",
      "seed": "\(trainer.seed)", "augmentation": words(trainer.augmentation.map(words) ?? "none"),
      "accumulation": words(trainer.accumulation),
      "clipping": trainer.clipping.map(words) ?? "none",
      "decay of averages": trainer.average.map { "\($0.decay)" } ?? "none",
      "activations computed again": "\(trainer.checkpointing)",
      "renormalization": words(trainer.renormalization),
      "parameters that decay": words(trainer.optimizerState.decayingParameters),
      "remainder": words(options.remainder), "metric": options.metric.rawValue,
      "normalization": trainer.model.normalization.map(words) ?? "none",
      "images": "\(data.imageShape) \(data.elementType.rawValue)", "samples": "\(data.count)",
      "source": words(data.identity), "classes": "\(data.classCount)",
      "checksum of the labels": "\(checksum.value)",
    ]
  }
}
