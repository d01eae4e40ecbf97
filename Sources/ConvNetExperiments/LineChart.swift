/// Stands for the chart of ConvNetFormats until that is there.
package struct LineChart {
  package enum Scale: String, Hashable, Sendable, Codable {
    case linear, log10, log2
  }

  struct Axis {
    init(_: String, scale: Scale) {}
  }

  struct Series {
    init(
      _: String, points: [(x: Double, y: Double)],
      band: [(x: Double, lower: Double, upper: Double)], isDashed: Bool, color: Int?
    ) {}
  }

  init(title: String, subtitle: String, x: Axis, y: Axis, series: [Series]) {}

  static func svg(_ charts: [LineChart]) -> String { "" }
}
