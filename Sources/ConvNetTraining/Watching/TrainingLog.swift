import ConvNetFormats
import ConvNetGraph

/// Writes down how a training goes, in a folder: events for TensorBoard, lines of JSON, and a picture of
/// the learning curves.
///
///     let log = try TrainingLog(folder: "runs/first", title: "fashion")
///     try log.record(samplesOf: train, for: trainer)
///     try run.run { try log.record($0, of: trainer) }
///
/// - `events.out.tfevents.…`: loss, accuracy, learning rate, images a second and the norm of the gradients
///   every few steps, validation and histograms after each epoch, sample images. TensorBoard
///   opens the folder, or one above it.
/// - `log.jsonl`: the same numbers, an object a line, whose `kind` is `step` or `epoch`.
/// - `curves.svg`: loss and accuracy over the epochs, written anew after each.
public final class TrainingLog {
  /// How much is written.
  public struct Options: Hashable, Sendable {
    /// Steps between two records; every epoch's last step is recorded besides.
    public var stepInterval: Int
    /// Whether every epoch ends with histograms of γ, β, running statistics and gradients.
    public var hasHistograms: Bool

    /// Makes a choice.
    public init(stepInterval: Int = 10, hasHistograms: Bool = true) {
      self.stepInterval = stepInterval
      self.hasHistograms = hasHistograms
    }
  }

  /// The folder.
  public let folder: String
  /// What stands over the learning curves.
  public let title: String
  /// How much is written.
  public let options: Options
  let events: EventFile
  private let lines: JSONLinesFile<TrainingLogLine>
  private var epochs: [TrainingLogLine]
  /// Where the epoch's means stood when they were last recorded.
  private var mark = Mark()

  /// The sums of an epoch up to a step.
  private struct Mark {
    var epoch = 0
    var step = 0
    var loss = 0.0
    var accuracy = 0.0

    init(epoch: Int = 0) { self.epoch = epoch }

    /// The sums of the epoch that the lines of a log end in, so that the first record after a resume is
    /// of the steps since the last one.
    init(after lines: [TrainingLogLine]) {
      let last = lines.last { $0.kind == .epoch }
      let start = last?.step ?? 0
      epoch = (last?.epoch ?? 0) + 1
      for line in lines where line.kind == .step && line.step > start {
        let steps = line.step - start - step
        loss += (line.loss ?? 0) * Double(steps)
        accuracy += (line.accuracy ?? 0) * Double(steps)
        step += steps
      }
    }
  }

  /// Opens a folder, or makes it.
  ///
  /// - Parameters:
  ///   - folder: where to write.
  ///   - title: what stands over the learning curves.
  ///   - step: the steps of the checkpoint that a training goes on from: what the folder holds of later
  ///     ones, which will be run again, is dropped. Nil for a new training.
  ///   - options: how much is written.
  /// - Throws: `FileError` where the folder cannot be written, or a new training would follow another's
  ///   lines; `TrainingError` where an option is outside its range.
  public convenience init(
    folder: String, title: String = "", resumingAt step: Int? = nil, options: Options = Options()
  ) throws {
    try self.init(
      folder: folder, title: title, resumingAt: step, options: options, now: EventFile.wallTime)
  }

  package init(
    folder: String, title: String, resumingAt step: Int?, options: Options,
    now: @escaping () -> Double
  ) throws {
    guard options.stepInterval >= 1 else {
      throw TrainingError(
        .invalidOption, "a log cannot record every \(options.stepInterval) steps")
    }
    self.folder = folder
    self.title = title
    self.options = options
    try makeFolder(folder)
    let path = "\(folder)/log.jsonl"
    var isTaken = false
    let (file, known) = try JSONLinesFile<TrainingLogLine>.open(path) { line in
      guard let step else {
        isTaken = true
        return true
      }
      return line.step <= step
    }
    guard !isTaken else {
      throw FileError(
        .mismatched, "this is the log of another training; resume that one, or name another folder",
        at: path)
    }
    lines = file
    epochs = known.filter { $0.kind == .epoch }
    mark = Mark(after: known)
    events = try EventFile(folder: folder, firstStep: (step ?? 0) + 1, now: now)
  }

  /// Writes down a step; to be called after each.
  ///
  /// Losses and accuracies of training are means over the steps since the last record.
  ///
  /// - Throws: `FileError` where a file cannot be written, as on a full disk.
  public func record(_ progress: TrainingProgress, of trainer: Trainer) throws {
    let step = trainer.stepCount
    guard step.isMultiple(of: options.stepInterval) || progress.isEpochEnd else { return }
    let line = advance(progress, step: step, gradientNorm: trainer.measuredGradientNorm)
    let scalars: [(String, Double?)] = [
      ("loss/training", line.loss), ("accuracy/training", line.accuracy),
      ("learning_rate", line.learningRate), ("images_per_second", line.imagesPerSecond),
      ("gradient_norm", line.gradientNorm),
    ]
    add(scalars, step: step)
    if progress.isEpochEnd { return try finishEpoch(progress, line, of: trainer) }
    try lines.append(line)
    try events.flush()
  }

  /// The record of the steps since the last one.
  private func advance(
    _ progress: TrainingProgress, step: Int, gradientNorm: Double?
  ) -> TrainingLogLine {
    // An epoch's means are over the samples so far, of which every step but perhaps the last has as many.
    if mark.epoch != progress.epoch { mark = Mark(epoch: progress.epoch) }
    let count = Double(progress.step)
    let sums = (loss: progress.loss * count, accuracy: progress.accuracy * count)
    let steps = Double(max(progress.step - mark.step, 1))
    var line = TrainingLogLine(.step, progress, step: step)
    line.loss = TrainingLogLine.finite((sums.loss - mark.loss) / steps)
    // Differences of sums can leave 0...1 by a rounding.
    line.accuracy = TrainingLogLine.finite(
      min(max((sums.accuracy - mark.accuracy) / steps, 0), 1))
    line.gradientNorm = gradientNorm
    mark.step = progress.step
    (mark.loss, mark.accuracy) = sums
    return line
  }

  private func finishEpoch(
    _ progress: TrainingProgress, _ last: TrainingLogLine, of trainer: Trainer
  ) throws {
    let step = trainer.stepCount
    let epoch = TrainingLogLine(.epoch, progress, step: step)
    add(
      [
        ("loss/validation", epoch.validationLoss),
        ("accuracy/validation", epoch.validationAccuracy),
        ("epoch", Double(progress.epoch)),
      ], step: step)
    if options.hasHistograms { addHistograms(of: trainer) }
    try lines.append(last)
    try lines.append(epoch)
    try events.flush()
    epochs.append(epoch)
    let curves = Array(curvesFile.utf8)
    try AtomicFile.write(to: "\(folder)/curves.svg") { try $0.append(curves) }
  }

  private func add(_ scalars: [(tag: String, value: Double?)], step: Int) {
    for (tag, value) in scalars {
      if let value { events.add(scalar: value, tag, step: step) }
    }
  }

  private func addHistograms(of trainer: Trainer) {
    let step = trainer.stepCount
    for layer in trainer.model.batchNormalizationStates {
      let tensors = [
        ("gamma", layer.scale), ("beta", layer.shift), ("running_mean", layer.runningMean),
        ("running_variance", layer.runningVariance),
      ]
      for case (let name, let tensor?) in tensors {
        events.add(
          EventHistogram(tensor.elements(of: Float.self)), "\(name)/\(layer.layer.layer)",
          step: step)
      }
    }
    trainer.forEachGradient { name, gradient in
      events.add(EventHistogram(gradient), "gradient/\(name)", step: step)
    }
  }

  /// Loss and accuracy over the epochs.
  private var curvesFile: String {
    func chart(
      _ name: String, _ label: String, scale: Double,
      _ training: KeyPath<TrainingLogLine, Double?>, _ validation: KeyPath<TrainingLogLine, Double?>
    ) -> LineChart {
      func series(_ name: String, _ path: KeyPath<TrainingLogLine, Double?>) -> LineChart.Series? {
        let points = epochs.map { (x: Double($0.epoch), y: $0[keyPath: path].map { $0 * scale }) }
        guard points.contains(where: { $0.y != nil }) else { return nil }
        return LineChart.Series(name, points: points.map { ($0.x, $0.y ?? .nan) })
      }
      return LineChart(
        title: title.isEmpty ? name : "\(title): \(name)", x: .init("epoch"), y: .init(label),
        series: [series("training", training), series("validation", validation)]
          .compactMap(\.self), height: 320)
    }
    return LineChart.svg([
      chart("loss", "loss", scale: 1, \.loss, \.validationLoss),
      chart("accuracy", "accuracy, %", scale: 100, \.accuracy, \.validationAccuracy),
    ])
  }
}

/// A line of the log.
struct TrainingLogLine: Codable, Hashable {
  enum Kind: String, Codable {
    case step, epoch
  }

  var kind: Kind
  /// Steps of the whole training.
  var step: Int
  var epoch: Int
  /// The mean since the last step that was recorded, or of the epoch; nil where it is not finite.
  var loss: Double?
  var accuracy: Double?
  var validationLoss: Double?
  var validationAccuracy: Double?
  var learningRate: Double?
  /// In this epoch so far, without validation.
  var imagesPerSecond: Double?
  var gradientNorm: Double?

  init(_ kind: Kind, _ progress: TrainingProgress, step: Int) {
    self.kind = kind
    self.step = step
    epoch = progress.epoch
    loss = Self.finite(progress.loss)
    accuracy = Self.finite(progress.accuracy)
    learningRate = Self.finite(progress.learningRate)
    imagesPerSecond = Self.finite(progress.imagesPerSecond)
    guard kind == .epoch else { return }
    validationLoss = progress.validation.flatMap { Self.finite($0.loss) }
    validationAccuracy = progress.validation.flatMap { Self.finite($0.accuracy) }
  }

  /// JSON has no other numbers.
  static func finite(_ number: Double) -> Double? { number.isFinite ? number : nil }
}
