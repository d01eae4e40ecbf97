extension LineChart {
  /// A chart laid out: where its parts stand, in pixels from its upper left corner.
  struct Drawing {
    let chart: LineChart
    /// The chart's place among those of the file, which keeps names apart.
    let number: Int
    let width: Int
    let height: Int
    private let x: AxisTicks
    private let y: AxisTicks
    private let left: Double
    private let right: Double
    private let top: Double
    private let bottom: Double
    /// The legend's entries: place of the series, where its mark starts, and its line of the legend.
    private let legend: [(series: Int, left: Double, top: Double)]

    private static let margin = 20.0

    init(_ chart: LineChart, number: Int) {
      self.chart = chart
      self.number = number
      width = max(chart.width, 240)
      height = max(chart.height, 200)
      let (xs, ys) = chart.extremes()
      right = Double(width) - Self.margin - 8
      var top = chart.title.isEmpty ? 16.0 : 40
      if !chart.subtitle.isEmpty { top += 19 }
      legend = Self.legend(chart.series, top: top + 19, right: right)
      if let last = legend.last { top = last.top + 6 }
      self.top = top + 14
      bottom = Double(height) - (chart.x.label.isEmpty ? 34 : 54)
      y = AxisTicks(chart.y, values: ys, count: max(Int((bottom - top) / 42), 2), rounds: true)
      let widest = y.major.map { SVGText.width($0.label) }.max() ?? 0
      left = (chart.y.label.isEmpty ? 16 : 42) + (widest * 12).rounded(.up) + 8
      x = AxisTicks(
        chart.x, values: xs, count: max(Int((right - left) / 76), 2), rounds: false)
    }

    /// The colours in use.
    var colors: [Int] { chart.series.indices.map(color) }

    private func color(_ index: Int) -> Int {
      let count = LineChart.palette.count
      let wanted = chart.series[index].color ?? index
      return (wanted % count + count) % count
    }

    /// A line's dashes; a colour's second use has some, too.
    private func dashes(_ index: Int) -> String {
      let series = chart.series[index]
      let round = series.color == nil ? index / LineChart.palette.count : 0
      guard series.isDashed || round > 0 else { return "" }
      return " stroke-dasharray=\"\(round > 1 ? "2 4" : "7 4")\""
    }

    func text() -> String {
      heading() + grid() + labels() + lines() + legendText()
    }

    private func horizontal(_ value: Double) -> Double {
      left + x.fraction(value) * (right - left)
    }

    private func vertical(_ value: Double) -> Double {
      bottom - y.fraction(value) * (bottom - top)
    }

    private func position(_ value: Double) -> String { SVGText.position(value) }

    /// A piece of text; one that would be too wide is written smaller.
    private func text(
      _ string: String, x: Double, y: Double, size: Double, class name: String = "text",
      anchor: String = "start", room: Double = .infinity, more: String = ""
    ) -> String {
      let fitting = min(size, max(room / max(SVGText.width(string), 1e-3), 6))
      let anchor = anchor == "start" ? "" : " text-anchor=\"\(anchor)\""
      return "<text class=\"\(name)\" x=\"\(position(x))\" y=\"\(position(y))\" "
        + "font-size=\"\(position(fitting))\"\(anchor)\(more)>\(SVGText.escaped(string))</text>\n"
    }

    private func heading() -> String {
      let room = Double(width) - 2 * Self.margin
      var result = ""
      if !chart.title.isEmpty {
        result += text(
          chart.title, x: Self.margin, y: 33, size: 17, class: "title", room: room,
          more: " font-weight=\"600\"")
      }
      if !chart.subtitle.isEmpty {
        result += text(
          chart.subtitle, x: Self.margin, y: chart.title.isEmpty ? 30 : 54, size: 13, room: room)
      }
      return result
    }

    private func grid() -> String {
      func across(_ y: Double) -> String {
        "M\(position(left)) \(position(y))H\(position(right))"
      }
      func down(_ x: Double, _ from: Double, _ to: Double) -> String {
        "M\(position(x)) \(position(from))V\(position(to))"
      }
      let minor =
        y.minor.map { across(vertical($0)) } + x.minor.map { down(horizontal($0), top, bottom) }
      let major =
        y.major.map { across(vertical($0.value)) }
        + (x.scale == .linear ? [] : x.major.map { down(horizontal($0.value), top, bottom) })
      let axes =
        [across(bottom)] + x.major.map { down(horizontal($0.value), bottom, bottom + 5) }
      var result = ""
      if !minor.isEmpty {
        result += "<path class=\"grid\" fill=\"none\" opacity=\"0.5\" d=\"\(minor.joined())\"/>\n"
      }
      result += "<path class=\"grid\" fill=\"none\" d=\"\(major.joined())\"/>\n"
      return result + "<path class=\"axis\" fill=\"none\" d=\"\(axes.joined())\"/>\n"
    }

    private func labels() -> String {
      var result = ""
      for mark in x.major {
        result += text(
          mark.label, x: horizontal(mark.value), y: bottom + 19, size: 12, anchor: "middle")
      }
      for mark in y.major {
        result += text(
          mark.label, x: left - 8, y: vertical(mark.value) + 4, size: 12, anchor: "end")
      }
      if !chart.x.label.isEmpty {
        result += text(
          chart.x.label, x: (left + right) / 2, y: Double(height) - 14, size: 13, anchor: "middle",
          room: right - left)
      }
      if !chart.y.label.isEmpty {
        let middle = (top + bottom) / 2
        result += text(
          chart.y.label, x: 26, y: middle, size: 13, anchor: "middle", room: bottom - top,
          more: " transform=\"rotate(-90 26 \(position(middle)))\"")
      }
      return result
    }

    // MARK: - Legend

    /// Entries from left to right, in as many lines as they need.
    private static func legend(
      _ series: [Series], top: Double, right: Double
    ) -> [(series: Int, left: Double, top: Double)] {
      var result: [(series: Int, left: Double, top: Double)] = []
      var (left, top) = (margin, top)
      for (index, series) in series.enumerated() where !series.name.isEmpty {
        let width = 32 + SVGText.width(series.name) * 13
        if left > margin, left + width > right { (left, top) = (margin, top + 20) }
        result.append((index, left, top))
        left += width + 18
      }
      return result
    }

    private func legendText() -> String {
      legend.map { entry in
        let line =
          "<path class=\"c\(color(entry.series))\" style=\"fill:none\" stroke-width=\"3\" "
          + "stroke-linecap=\"round\"\(dashes(entry.series)) "
          + "d=\"M\(position(entry.left + 1.5)) \(position(entry.top - 4.5))h21\"/>\n"
        return line
          + text(
            chart.series[entry.series].name, x: entry.left + 32, y: entry.top, size: 13,
            room: right - entry.left - 32)
      }.joined()
    }

    // MARK: - Lines

    private func lines() -> String {
      let area = "c\(number)-plot"
      var result =
        "<clipPath id=\"\(area)\"><rect x=\"\(position(left - 5))\" y=\"\(position(top - 5))\" "
        + "width=\"\(position(right - left + 10))\" height=\"\(position(bottom - top + 10))\"/>"
        + "</clipPath>\n<g clip-path=\"url(#\(area))\">\n"
      guard chart.series.contains(where: { !visible($0.points).isEmpty || !bands($0).isEmpty })
      else {
        return result + "</g>\n"
          + text(
            "no data", x: (left + right) / 2, y: (top + bottom) / 2, size: 14, anchor: "middle")
      }
      for (index, series) in chart.series.enumerated() {
        for band in bands(series) {
          result +=
            "<path class=\"c\(color(index))\" style=\"stroke:none\" fill-opacity=\"0.16\" "
            + "d=\"\(outline(band))\"/>\n"
        }
      }
      for index in chart.series.indices { result += line(index) }
      return result + "</g>\n"
    }

    private func line(_ index: Int) -> String {
      let runs = visible(chart.series[index].points)
      let paths = runs.filter { $0.count > 1 }
      var result = ""
      if !paths.isEmpty {
        result +=
          "<path class=\"c\(color(index))\" style=\"fill:none\" stroke-width=\"2\" "
          + "stroke-linejoin=\"round\" stroke-linecap=\"round\"\(dashes(index)) "
          + "d=\"\(paths.map { joined($0.thinned()) }.joined())\"/>\n"
      }
      // Few points are marked; one between two gaps would otherwise not be seen at all.
      let count = runs.reduce(0) { $0 + $1.count }
      for run in runs where run.count == 1 || count <= 30 {
        for point in run {
          result +=
            "<circle class=\"c\(color(index))\" style=\"stroke:none\" "
            + "cx=\"\(position(point.x))\" cy=\"\(position(point.y))\" r=\"2.8\"/>\n"
        }
      }
      return result
    }

    /// A series in pixels, cut at its gaps.
    private func visible(_ points: [(x: Double, y: Double)]) -> [[Pixel]] {
      points.split { !canShow($0.x, $0.y) }
        .map { $0.map { Pixel(x: horizontal($0.x), y: vertical($0.y)) } }
    }

    private func bands(_ series: Series) -> [ArraySlice<(x: Double, lower: Double, upper: Double)>]
    {
      series.band.split { !canShow($0.x, $0.lower) || !canShow($0.x, $0.upper) }
    }

    private func canShow(_ x: Double, _ y: Double) -> Bool {
      AxisTicks.canShow(x, on: chart.x.scale) && AxisTicks.canShow(y, on: chart.y.scale)
    }

    /// Along the upper edge and back along the lower.
    private func outline(_ band: ArraySlice<(x: Double, lower: Double, upper: Double)>) -> String {
      let upper = band.map { Pixel(x: horizontal($0.x), y: vertical($0.upper)) }.thinned()
      let lower = band.map { Pixel(x: horizontal($0.x), y: vertical($0.lower)) }.thinned()
      return joined(upper + lower.reversed()) + "Z"
    }

    private func joined(_ points: [Pixel]) -> String {
      points.enumerated().map { index, point in
        "\(index == 0 ? "M" : "L")\(position(point.x)) \(position(point.y))"
      }.joined()
    }
  }

  /// All numbers that both axes have to show.
  fileprivate func extremes() -> (xs: [Double], ys: [Double]) {
    var xs: [Double] = []
    var ys: [Double] = []
    func add(_ x: Double, _ values: Double...) {
      guard AxisTicks.canShow(x, on: self.x.scale) else { return }
      guard values.allSatisfy({ AxisTicks.canShow($0, on: y.scale) }) else { return }
      xs.append(x)
      ys += values
    }
    for series in series {
      for point in series.points { add(point.x, point.y) }
      for part in series.band { add(part.x, part.lower, part.upper) }
    }
    return (xs, ys)
  }
}

/// A corner of a line, in pixels.
struct Pixel {
  var x: Double
  var y: Double
}

extension [Pixel] {
  /// The same picture with at most four corners for each column of half a pixel: the first, the
  /// highest, the lowest and the last.
  fileprivate func thinned() -> [Pixel] {
    guard count > 400 else { return self }
    var result: [Pixel] = []
    var start = 0
    for index in 1...count {
      if index < count, (self[index].x * 2).rounded(.down) == (self[start].x * 2).rounded(.down) {
        continue
      }
      let column = start..<index
      let lowest = column.min { self[$0].y < self[$1].y } ?? start
      let highest = column.max { self[$0].y < self[$1].y } ?? start
      for place in Set([start, lowest, highest, index - 1]).sorted() { result.append(self[place]) }
      start = index
    }
    return result
  }
}
