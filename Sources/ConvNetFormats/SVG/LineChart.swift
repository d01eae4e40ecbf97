/// A line chart as SVG: learning curves and the figures of experiments.
///
///     let chart = LineChart(
///       title: "Fashion-MNIST", x: .init("epoch"), y: .init("loss", scale: .log10),
///       series: [.init("training", points: curve.map { (Double($0.epoch), $0.loss) })])
///     let text = chart.svg()
///
/// The same chart gives the same bytes. It stands on a card of its own that follows the reader's light or
/// dark scheme. What cannot be drawn (a number that is not finite, or not positive on a logarithmic
/// axis) is a gap in its line.
package struct LineChart: Sendable {
  /// How numbers become positions.
  package enum Scale: String, Hashable, Sendable, Codable {
    /// Equal differences are equal distances.
    case linear
    /// Equal ratios are equal distances; powers of ten are marked.
    case log10
    /// Equal ratios are equal distances; powers of two are marked, as for batch sizes.
    case log2
  }

  /// What is drawn along one direction.
  package struct Axis: Hashable, Sendable {
    /// What the numbers are, with their unit.
    package var label: String
    /// How numbers become positions.
    package var scale: Scale
    /// What is shown, where lines are cut; by default all that the series hold.
    package var range: ClosedRange<Double>?

    /// Makes an axis.
    package init(_ label: String, scale: Scale = .linear, range: ClosedRange<Double>? = nil) {
      self.label = label
      self.scale = scale
      self.range = range
    }
  }

  /// A line with its name in the legend.
  package struct Series: Sendable {
    /// What the legend calls it.
    package var name: String
    /// The line's corners, in the order in which they are joined.
    package var points: [(x: Double, y: Double)]
    /// An area behind the line, such as between two percentiles; none where empty.
    package var band: [(x: Double, lower: Double, upper: Double)]
    /// Whether the line is broken into dashes.
    package var isDashed: Bool
    /// The number of the line's colour, for lines that belong together; by default its own place.
    package var color: Int?

    /// Makes a line.
    package init(
      _ name: String, points: [(x: Double, y: Double)],
      band: [(x: Double, lower: Double, upper: Double)] = [], isDashed: Bool = false,
      color: Int? = nil
    ) {
      self.name = name
      self.points = points
      self.band = band
      self.isDashed = isDashed
      self.color = color
    }
  }

  /// What stands over the chart.
  package var title: String
  /// A second, smaller line under the title.
  package var subtitle: String
  /// From left to right.
  package var x: Axis
  /// From bottom to top.
  package var y: Axis
  /// The lines, of which later ones are drawn over earlier ones.
  package var series: [Series]
  /// The width in pixels, at least 240.
  package var width: Int
  /// The height in pixels, at least 200.
  package var height: Int

  /// Makes a chart.
  package init(
    title: String, subtitle: String = "", x: Axis, y: Axis, series: [Series], width: Int = 720,
    height: Int = 420
  ) {
    self.title = title
    self.subtitle = subtitle
    self.x = x
    self.y = y
    self.series = series
    self.width = width
    self.height = height
  }

  /// The chart as the text of an SVG file.
  package func svg() -> String { Self.svg([self]) }

  /// Charts one under the other, as the text of one SVG file.
  package static func svg(_ charts: [LineChart]) -> String {
    let drawings = charts.enumerated().map { Drawing($0.element, number: $0.offset) }
    let width = drawings.map(\.width).max() ?? 240
    let height = drawings.reduce(0) { $0 + $1.height }
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" \
      viewBox="0 0 \(width) \(height)" role="img" font-family="\(fonts)">

      """
    let titles = charts.map(\.title).filter { !$0.isEmpty }
    if !titles.isEmpty {
      text += "<title>\(SVGText.escaped(titles.joined(separator: ", ")))</title>\n"
    }
    text += style(colors: Set(drawings.flatMap(\.colors)))
    text += "<rect class=\"card\" width=\"\(width)\" height=\"\(height)\" rx=\"8\"/>\n"
    var top = 0
    for drawing in drawings {
      text += "<g transform=\"translate(0 \(top))\">\n\(drawing.text())</g>\n"
      top += drawing.height
    }
    return text + "</svg>\n"
  }

  private static let fonts =
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

  /// Colours that are told apart by people who see few colours, too: of the line on white and on black.
  static let palette: [(light: String, dark: String)] = [
    ("#2563eb", "#6ea8fe"), ("#dc5a0c", "#ff9f5a"), ("#0b8a5f", "#3ecf9a"),
    ("#c0267e", "#ff82c2"), ("#7c4ddb", "#b79bff"), ("#a16c07", "#e8bd48"),
    ("#0e7fa0", "#5ccfe6"), ("#5b6472", "#a9b3c1"),
  ]

  /// The rules of both schemes; a renderer that knows no media queries takes the light one.
  private static func style(colors: Set<Int>) -> String {
    func rules(_ color: (Int) -> String, _ fixed: String) -> String {
      fixed
        + colors.sorted().map { ".c\($0){stroke:\(color($0));fill:\(color($0))}" }.joined()
    }
    let light = rules(
      { palette[$0].light },
      ".card{fill:#ffffff}.title{fill:#1f2328}.text{fill:#59636e}.grid{stroke:#e4e8ec}"
        + ".axis{stroke:#a3adb8}")
    let dark = rules(
      { palette[$0].dark },
      ".card{fill:#0d1117}.title{fill:#f0f6fc}.text{fill:#9aa5b1}.grid{stroke:#252c35}"
        + ".axis{stroke:#5a6572}")
    return "<style>\(light)@media (prefers-color-scheme: dark){\(dark)}</style>\n"
  }
}
