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
    let line = Self.line(
      progress, title: title, hasBar: isTerminal, columns: isTerminal ? Self.columns : .max)
    let isLast = progress.isEpochEnd
    Self.write(isTerminal ? "\r\u{1B}[K\(line)\(isLast ? "\n" : "")" : line + "\n")
  }

  /// One line, without its end.
  ///
  /// - Parameter columns: the width of the terminal, where a line that went on in a second row could not
  ///   be written over: the bar becomes shorter, then the end is cut.
  package static func line(
    _ progress: TrainingProgress, title: String = "", hasBar: Bool, columns: Int = .max
  ) -> String {
    var line = ""
    for width in [20, 10, 5, 0] {
      line = self.line(progress, title: title, barWidth: hasBar ? width : nil)
      if line.count < columns { return line }
    }
    return String(line.prefix(max(columns - 1, 0)))
  }

  private static func line(_ progress: TrainingProgress, title: String, barWidth: Int?) -> String {
    var line = "\(title)epoch \(progress.epoch)/\(progress.epochs)"
    if let barWidth, !progress.isEpochEnd {
      let part = Double(progress.step) / Double(max(progress.stepsPerEpoch, 1))
      if barWidth > 0 { line += " " + bar(part, width: barWidth) }
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

  /// Some columns, filled from the left.
  private static func bar(_ fraction: Double, width: Int) -> String {
    let filled = Int((min(max(fraction, 0), 1) * Double(width)).rounded(.down))
    return String(repeating: "█", count: filled) + String(repeating: "·", count: width - filled)
  }

  /// The width of the terminal; unlimited where it has none to tell.
  private static var columns: Int {
    var size = winsize()
    let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    return isKnown ? Int(size.ws_col) : .max
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
