import Glibc

/// Shows a training's progress on standard error: a bar on a terminal, otherwise a line for each epoch
/// and one every half minute.
///
///     let bar = ProgressBar()
///     try trainer.run(epochs: 5, data: train, validation: test) { bar.update($0) }
public final class ProgressBar {
  private let isTerminal: Bool
  private let title: String
  private let clock = ContinuousClock()
  private var lastShown: ContinuousClock.Instant?

  /// Makes a bar, with a title before each line.
  public convenience init(title: String = "") {
    self.init(title: title, isTerminal: isatty(STDERR_FILENO) == 1)
  }

  package init(title: String, isTerminal: Bool) {
    self.title = title.isEmpty ? "" : title + " "
    self.isTerminal = isTerminal
  }

  /// Shows where the training is; ten times a second at most.
  public func update(_ progress: TrainingProgress) {
    let now = clock.now
    let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(30)
    if lastShown == nil { lastShown = isTerminal ? .some(now - pause) : now }
    let isDue = lastShown.map { now - $0 >= pause } ?? true
    guard isDue || progress.isEpochEnd else { return }
    lastShown = now
    let line = Self.line(progress, title: title, hasBar: isTerminal)
    let isLast = progress.isEpochEnd
    Self.write(isTerminal ? "\r\u{1B}[K\(line)\(isLast ? "\n" : "")" : line + "\n")
  }

  /// One line, without its end.
  package static func line(_ progress: TrainingProgress, title: String = "", hasBar: Bool) -> String
  {
    var line = "\(title)epoch \(progress.epoch)/\(progress.epochs)"
    if hasBar, !progress.isEpochEnd {
      line += " " + bar(Double(progress.step) / Double(max(progress.stepsPerEpoch, 1)))
    } else if !progress.isEpochEnd {
      line += " step \(progress.step)/\(progress.stepsPerEpoch)"
    }
    line += " loss \(decimal(progress.loss, 4)) acc \(decimal(progress.accuracy * 100, 2)) %"
    if let validation = progress.validation {
      line += " | val loss \(decimal(validation.loss, 4))"
      line += " acc \(decimal(validation.accuracy * 100, 2)) %"
    }
    line += " | \(decimal(progress.imagesPerSecond, 0)) images/s"
    if progress.secondsLeft > 0 { line += ", \(time(progress.secondsLeft)) left" }
    if progress.rejectedUpdates > 0 {
      line += ", \(progress.rejectedUpdates) statistics rejected"
    }
    return line
  }

  /// Twenty columns, filled from the left.
  private static func bar(_ fraction: Double) -> String {
    let filled = Int((min(max(fraction, 0), 1) * 20).rounded(.down))
    return String(repeating: "█", count: filled) + String(repeating: "·", count: 20 - filled)
  }

  /// Minutes and seconds, or hours, minutes and seconds.
  package static func time(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "?" }
    let whole = Int(seconds.rounded(.up))
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    return hours > 0
      ? "\(hours):\(two(minutes)):\(two(whole % 60))" : "\(minutes):\(two(whole % 60))"
  }

  /// A number with so many digits after the point.
  package static func decimal(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
    let scale = (0..<digits).reduce(1) { product, _ in product * 10 }
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(scaled)" }
    let fraction = String(scaled % scale)
    let zeros = String(repeating: "0", count: digits - fraction.count)
    return "\(sign)\(scaled / scale).\(zeros)\(fraction)"
  }

  private static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      guard written > 0 else { return }
      rest = rest.dropFirst(written)
    }
  }
}
