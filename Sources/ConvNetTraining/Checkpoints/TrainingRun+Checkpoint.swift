import ConvNetEngine
import ConvNetFormats
import ConvNetGraph

extension TrainingRun {
  private static let (momentPrefix, confusionName) = ("moment/", "epoch/confusion")

  /// Whether a step is one of those after which a checkpoint is written.
  var isCheckpointDue: Bool {
    options.checkpointInterval.map { trainer.stepCount % $0 == 0 } ?? false
  }

  /// Writes a checkpoint, or says that it cannot be written.
  func writeCheckpoint() throws {
    do {
      try saveCheckpoint()
    } catch let error as FileError {
      guard let checkpointFailure else { throw error }
      checkpointFailure(error)
    }
  }

  /// Writes a checkpoint of the run as it is, where it has a folder for them.
  ///
  /// - Throws: `FileError` where it cannot be written; those before are intact then.
  public func saveCheckpoint() throws {
    guard let checkpoints else { return }
    var tensors = [Self.confusionName: state.epoch.confusionTensor]
    for (name, tensor) in trainer.optimizerState.tensors {
      tensors[Self.momentPrefix + name] = tensor
    }
    let file = CheckpointFile(
      model: trainer.model, average: trainer.averagedModel, tensors: tensors,
      record: try JSONText.encode(TrainingRecord(self)))
    try checkpoints.save(file, step: trainer.stepCount, best: state.course.best?.step)
  }

  /// Where a run goes on.
  public struct Resumption: Hashable, Sendable {
    /// The checkpoint.
    public var path: String
    /// Steps of the training until then.
    public var step: Int
    /// What the user may want to know: files that could not be read, other kernels.
    public var remarks: [String]
  }

  /// Goes on from the newest checkpoint in the run's folder that can be read.
  ///
  /// - Returns: where that is; nil where there are no checkpoints, and the run is where it was.
  /// - Throws: `FileError` where none of them can be read, `TrainingError` of `.mismatchedState` where it
  ///   is one of another network, of other data or of a training with other options; nothing is changed
  ///   then.
  @discardableResult
  public func resume() throws -> Resumption? {
    guard let checkpoints, let found = try checkpoints.newest({ try Self.read($0) }) else {
      return nil
    }
    let (file, record) = found.contents
    var remarks = found.remarks
    try checkFit(file, record, at: found.path)
    let average = try average(of: file, at: found.path)
    try trainer.optimizerState.restore(moments(of: file))
    trainer.store.restore(file.model)
    if let average { try trainer.average?.restore(average) }
    trainer.stepCount = record.stepCount
    trainer.epochCount = record.epochCount
    trainer.rejectedUpdates = record.rejectedUpdates
    state = record.state
    isBroken = false
    if let best = state.course.best { checkpoints.keepBest(best.step) }
    if record.kernels != TrainingRecord.currentKernels {
      remarks.append(
        "\(found.path) was computed by \(record.kernels) and goes on with "
          + "\(TrainingRecord.currentKernels), which may round otherwise")
    }
    bestModel = nil
    if options.keepsBest, let best = state.course.best {
      do {
        bestModel =
          best.step == trainer.stepCount && state.step == 0
          ? file.measuredModel
          : try Self.read(checkpoints.path(ofStep: best.step)).file.measuredModel
      } catch {
        remarks.append("the model of epoch \(best.epoch), the best so far, is lost: \(error)")
      }
    }
    return Resumption(path: found.path, step: record.stepCount, remarks: remarks)
  }

  private static func read(_ path: String) throws -> (file: CheckpointFile, record: TrainingRecord)
  {
    let file = try CheckpointFile.read(path)
    var record = try JSONText.decode(
      TrainingRecord.self, from: file.record, of: path, part: "record")
    try record.complete(file.tensors[confusionName], at: path)
    return (file, record)
  }

  /// Refuses what belongs to another training.
  private func checkFit(
    _ file: CheckpointFile, _ record: TrainingRecord, at path: String
  ) throws {
    func mismatch(_ reason: String) -> TrainingError {
      TrainingError(.mismatchedState, "the checkpoint \(path) is of another \(reason)")
    }
    let graph = trainer.store.graph
    guard file.model.graph == graph else {
      throw mismatch("network" + (file.model.graph.difference(from: graph).map { ": \($0)" } ?? ""))
    }
    if let difference = record.difference(from: self) { throw mismatch("training: \(difference)") }
    guard record.state.step <= stepsPerEpoch,
      record.state.epoch.confusion.count == assembler.data.classCount
    else { throw mismatch("number of steps or classes") }
  }

  private func average(of file: CheckpointFile, at path: String) throws -> Model? {
    guard (file.average == nil) == (trainer.average == nil) else {
      throw TrainingError(
        .mismatchedState, "the checkpoint \(path) lacks the average of the weights, or has one")
    }
    return file.average
  }

  private func moments(of file: CheckpointFile) -> [String: Tensor] {
    var moments: [String: Tensor] = [:]
    for (name, tensor) in file.tensors where name.hasPrefix(Self.momentPrefix) {
      moments[String(name.dropFirst(Self.momentPrefix.count))] = tensor
    }
    return moments
  }
}

extension Evaluation {
  /// The confusion, int64 `[K, K]`.
  fileprivate var confusionTensor: Tensor {
    Tensor(
      confusion.joined().map { Int64($0) }, shape: [confusion.count, confusion.count])
  }
}

extension Graph {
  /// The first parameter that two networks do not share, in words; nil where only operations differ.
  fileprivate func difference(from other: Graph) -> String? {
    func list(_ graph: Graph) -> [String] {
      graph.parameters.map {
        "\($0.name) \(graph.type(of: $0.value))\($0.isTrainable ? "" : ", frozen")"
      }
    }
    let (theirs, ours) = (list(self), list(other))
    guard
      let index = (0..<max(theirs.count, ours.count)).first(where: {
        $0 >= theirs.count || $0 >= ours.count || theirs[$0] != ours[$0]
      })
    else { return nil }
    func name(_ list: [String]) -> String { index < list.count ? list[index] : "no parameter" }
    return "it has \(name(theirs)) where this one has \(name(ours))"
  }
}
