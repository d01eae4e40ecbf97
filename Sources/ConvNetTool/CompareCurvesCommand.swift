import ArgumentParser
import FoundationEssentials

/// `convnet compare-curves`: two learning curves beside each other.
struct CompareCurvesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare-curves",
    abstract: "Shows two learning curves that train --json wrote beside each other.")

  @Argument(help: "What the first training printed.") var first: String
  @Argument(help: "What the second training printed.") var second: String

  func run() throws {
    let curves = try (LearningCurve(path: first), LearningCurve(path: second))
    try Self.printTable(curves.0, curves.1)
    try Output.line("\ntest accuracy (*: \(curves.0.title), o: \(curves.1.title), @: both)")
    for line in Self.chart(curves.0.accuracies, curves.1.accuracies) { try Output.line(line) }
  }

  private static func printTable(_ a: LearningCurve, _ b: LearningCurve) throws {
    let columns = ["loss", "test loss", "test accuracy"]
    let rows = (0..<max(a.points.count, b.points.count)).map { index in
      ["\(index + 1)"] + cells(a.points, index) + cells(b.points, index)
    }
    try Output.table(
      [["", "", "", a.title, "", "", b.title], ["epoch"] + columns + columns] + rows,
      right: [0, 1, 2, 3, 4, 5, 6])
    for curve in [a, b] {
      guard let result = curve.result else { continue }
      try Output.line(
        "\(curve.title): test accuracy \(decimal(result.accuracy * 100, 2)) % after "
          + "\(decimal(result.seconds, 1)) s")
    }
  }

  private static func cells(_ points: [CurvePoint], _ index: Int) -> [String] {
    guard index < points.count else { return ["", "", ""] }
    let point = points[index]
    return [
      decimal(point.loss, 4), decimal(point.validationLoss, 4),
      decimal(point.validationAccuracy * 100, 2) + " %",
    ]
  }

  /// Both curves over one pair of axes: a row for each step of accuracy, columns for each epoch.
  static func chart(_ a: [Double], _ b: [Double], rows: Int = 12) -> [String] {
    let all = (a + b).filter(\.isFinite)
    guard let low = all.min(), let high = all.max() else { return [] }
    let count = max(a.count, b.count)
    let width = max(3, min(8, 64 / max(count, 1)))
    let step = max(high - low, 1e-6) / Double(rows - 1)
    func row(_ value: Double) -> Int { Int(((value - low) / step).rounded()) }
    var lines = (0..<rows).reversed().map { current -> String in
      var line = pad(decimal((low + Double(current) * step) * 100, 1) + " %", to: 8) + " |"
      for epoch in 0..<count {
        let isA = epoch < a.count && row(a[epoch]) == current
        let isB = epoch < b.count && row(b[epoch]) == current
        line += pad(isA && isB ? "@" : isA ? "*" : isB ? "o" : " ", to: width)
      }
      while line.last == " " { line.removeLast() }
      return line
    }
    lines.append(
      String(repeating: " ", count: 9) + "+" + String(repeating: "-", count: count * width))
    lines.append(
      pad("epoch", to: 8) + "  " + (0..<count).map { pad("\($0 + 1)", to: width) }.joined())
    return lines
  }

  private static func pad(_ text: String, to width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}

/// What `train --json` wrote: a point an epoch and, if it came to its end, the result.
struct LearningCurve {
  var title: String
  var points: [CurvePoint] = []
  var result: TrainingResult?

  var accuracies: [Double] { points.map(\.validationAccuracy) }

  init(path: String) throws {
    let data: Data
    do {
      data = try Data(contentsOf: URL(filePath: path))
    } catch {
      throw ToolError("\(path): there is no such file, or it cannot be read")
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    for (index, line) in data.split(separator: UInt8(ascii: "\n")).enumerated() {
      if let point = try? decoder.decode(CurvePoint.self, from: Data(line)) {
        points.append(point)
      } else if let end = try? decoder.decode(TrainingResult.self, from: Data(line)) {
        result = end
      } else {
        throw ToolError("\(path): line \(index + 1) is no line of train --json")
      }
    }
    guard !points.isEmpty else { throw ToolError("\(path): there is no epoch in it") }
    title = result.map { $0.batchNorm ? "with batch norm" : "without batch norm" } ?? path
  }
}
