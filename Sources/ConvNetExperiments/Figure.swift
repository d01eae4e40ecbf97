package import ConvNet

/// Curves over one pair of axes, as numbers.
package struct Figure: Hashable, Sendable, Codable {
  package struct Axis: Hashable, Sendable, Codable {
    package var label: String
    package var scale: LineChart.Scale

    package init(_ label: String, scale: LineChart.Scale = .linear) {
      self.label = label
      self.scale = scale
    }
  }

  package struct Point: Hashable, Sendable, Codable {
    package var x: Double
    package var y: Double
    /// The band around the curve, where it has one.
    package var low: Double?
    package var high: Double?

    package init(_ x: Double, _ y: Double, low: Double? = nil, high: Double? = nil) {
      self.x = x
      self.y = y
      self.low = low
      self.high = high
    }

    /// Mean and spread over the seeds.
    package init(_ x: Double, _ sample: Sample) {
      let (mean, spread) = (sample.mean, sample.spread)
      self.init(x, mean, low: mean - spread, high: mean + spread)
    }
  }

  package struct Series: Hashable, Sendable, Codable {
    package var name: String
    package var points: [Point]
    /// Whether the line is broken into dashes.
    package var isDashed: Bool
    /// The number of its colour, for lines that belong together; by default its place.
    package var color: Int?

    package init(_ name: String, _ points: [Point], isDashed: Bool = false, color: Int? = nil) {
      self.name = name
      self.points = points
      self.isDashed = isDashed
      self.color = color
    }
  }

  package var title: String
  /// What lines and bands are.
  package var subtitle: String
  package var x: Axis
  package var y: Axis
  package var series: [Series]

  package init(
    _ title: String, subtitle: String = "mean and standard deviation over seeds", x: Axis, y: Axis,
    series: [Series]
  ) {
    self.title = title
    self.subtitle = subtitle
    self.x = x
    self.y = y
    self.series = series
  }

  fileprivate var chart: LineChart {
    LineChart(
      title: title, subtitle: subtitle, x: .init(x.label, scale: x.scale),
      y: .init(y.label, scale: y.scale),
      series: series.map { line in
        LineChart.Series(
          line.name, points: line.points.map { ($0.x, $0.y) },
          band: line.points.compactMap { point in
            guard let low = point.low, let high = point.high, high > low else { return nil }
            return (point.x, low, high)
          }, isDashed: line.isDashed, color: line.color)
      })
  }
}

extension ExperimentResult {
  /// All figures, one under the other, as one SVG document.
  package func svg() -> String { LineChart.svg(figures.map(\.chart)) }
}
