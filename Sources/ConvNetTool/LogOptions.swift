import ArgumentParser
import ConvNet

/// Where a training is written down.
struct LogOptions: ParsableArguments {
  @Option(
    help: """
      A folder for TensorBoard's event files, JSON lines and the learning curves as SVG; made where \
      there is none. A resumed training goes on in it.
      """)
  var log: String?
  @Option(parsing: .unconditional, help: "Steps between two records of the log; 10 by default.")
  var logEvery: Int?

  func validate() throws {
    guard log != nil || logEvery == nil else {
      throw ValidationError("--log-every needs the folder of --log")
    }
  }

  /// Opens the log of a training that is about to begin or to go on, and shows it the first images.
  ///
  /// - Parameter isResumed: whether what the log holds is of the same training.
  func open(
    for trainer: Trainer, data: any ImageSource, title: String, isResumed: Bool = false
  ) throws -> CommandLog? {
    guard let log else { return nil }
    let file = try TrainingLog(
      folder: log, title: title, resumingAt: isResumed ? trainer.stepCount : nil,
      options: .init(stepInterval: logEvery ?? 10))
    try file.record(samplesOf: data, for: trainer)
    return CommandLog(file)
  }
}

/// A log that a full disk ends, but not the training.
final class CommandLog {
  private var log: TrainingLog?

  init(_ log: TrainingLog) { self.log = log }

  /// Writes down a step.
  func record(_ progress: TrainingProgress, of trainer: Trainer) {
    do {
      try log?.record(progress, of: trainer)
    } catch {
      log = nil
      Output.remark("\(error); the training goes on without its log")
    }
  }
}
