import ConvNetFormats
import Testing

@Suite struct LineChartTests {
  /// The numbers along an axis: the labels of 12 pixels, to the left of the plot or under it.
  private func labels(_ svg: String, vertical: Bool) -> [String] {
    svg.split(separator: "\n").compactMap { line in
      guard line.contains("font-size=\"12\""), line.contains("anchor=\"end\"") == vertical,
        let start = line.firstIndex(of: ">")
      else { return nil }
      return String(line[line.index(after: start)...].prefix { $0 != "<" })
    }
  }

  private func marks(
    _ values: [Double], _ scale: LineChart.Scale = .linear, vertical: Bool = true
  ) -> [String] {
    let points = values.enumerated().map { (Double($0.offset), $0.element) }
    let chart = LineChart(
      title: "", x: .init("", scale: vertical ? .linear : scale),
      y: .init("", scale: vertical ? scale : .linear),
      series: [.init("", points: vertical ? points : points.map { ($0.1, $0.0) })])
    return labels(chart.svg(), vertical: vertical)
  }

  @Test func linearMarksAreNice() {
    #expect(marks([0.12, 0.61]) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"])
    #expect(marks([0.921, 0.934]).first == "0.920" && marks([0.921, 0.934]).last == "0.934")
    #expect(marks([-3, 3]) == ["−3", "−2", "−1", "0", "1", "2", "3"])
    #expect(marks([1, 2, 3, 4], vertical: false) == ["1", "2", "3", "4"])
    #expect(marks([1, 12], vertical: false) == ["2", "4", "6", "8", "10", "12"])
    #expect(marks([0, 50_000], vertical: false).last == "50\u{202f}000")
    #expect(marks([0, 4e7]).contains("2×10⁷") && marks([0, 3e-7]).contains("10⁻⁷"))
    #expect(marks([5]) == ["4", "5", "6"])
  }

  @Test func logarithmicMarksAreNice() {
    #expect(marks([0.002, 3], .log10) == ["0.001", "0.01", "0.1", "1"])
    #expect(marks([1e-12, 1], .log10).first == "10⁻¹²")
    #expect(marks([12, 80], .log10, vertical: false) == ["20", "50"])
    #expect(marks([1.1, 1.9], .log10).count > 4)
    #expect(
      marks([2, 4, 256], .log2, vertical: false)
        == ["2", "4", "8", "16", "32", "64", "128", "256"])
    #expect(marks([0.25, 1], .log2) == ["1/4", "1/2", "1"])
    #expect(marks([3, 3.5], .log2).count > 2)
  }

  /// The whole file of a small chart, so that a change of the drawing is seen.
  @Test func theFileIsTheSameToTheByte() throws {
    let chart = LineChart(
      title: "a < b & \"c\"\u{1}", x: .init("x"), y: .init("y"),
      series: [.init("one", points: [(0, 0), (1, 2)], band: [(0, 0, 1), (1, 1, 2)])], width: 240,
      height: 200)
    let svg = chart.svg()
    #expect(svg == chart.svg())
    #expect(svg.hasPrefix("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"240\" height=\"200\""))
    #expect(svg.contains("<title>a &lt; b &amp; &quot;c&quot;\u{fffd}</title>\n"))
    let line =
      "<path class=\"c0\" style=\"fill:none\" stroke-width=\"2\" stroke-linejoin=\"round\" "
      + "stroke-linecap=\"round\" d=\"M58 146L212 79\"/>\n"
    #expect(svg.contains(line), "\(svg)")
    #expect(svg.contains("fill-opacity=\"0.16\" d=\"M58 112.5L212 79L212 112.5L58 146Z\"/>\n"))
    #expect(svg.contains("prefers-color-scheme: dark") && svg.hasSuffix("</svg>\n"))
    #expect(isWellFormed(svg))
  }

  @Test func gapsBreakLines() {
    func path(_ ys: [Double], _ scale: LineChart.Scale = .linear) -> (moves: Int, dots: Int) {
      let points = ys.enumerated().map { (Double($0.offset), $0.element) }
      let svg = LineChart(
        title: "", x: .init(""), y: .init("", scale: scale), series: [.init("", points: points)]
      ).svg()
      let line = svg.split(separator: "\n").first { $0.contains("linejoin") } ?? ""
      return (
        line.count { $0 == "M" }, svg.split(separator: "\n").count { $0.hasPrefix("<circle") }
      )
    }
    #expect(path([1, 2, .nan, 3, 4]) == (2, 4))
    #expect(path([1, 2, .infinity, 3, .nan, 4, 5]) == (2, 5))
    #expect(path([1, 2, 0, 3, 4], .log10) == (2, 4))
    #expect(path((0..<100).map { $0 == 50 ? .nan : Double($0) }) == (2, 0))
  }

  @Test func manyPointsKeepTheirExtremes() {
    var points = (0..<100_000).map { (x: Double($0), y: 0.0) }
    points[70_001].y = 1
    points[70_002].y = -1
    let svg = LineChart(
      title: "", x: .init(""), y: .init(""), series: [.init("", points: points)], height: 248
    ).svg()
    let line = svg.split(separator: "\n").first { $0.contains("linejoin") } ?? ""
    #expect(svg.utf8.count < 60_000)
    // The plot is 184 pixels high, from 30 to 214.
    #expect(line.contains(" 30L") && line.contains(" 214L"))
  }

  @Test func chartsOfOneFileShareIt() {
    let one = LineChart(
      title: "A", x: .init("x"), y: .init("y"),
      series: (0..<20).map { .init("s\($0)", points: [(1, Double($0))], isDashed: $0 == 1) })
    let svg = LineChart.svg([one, one])
    #expect(svg.contains("height=\"840\"") && svg.contains("<title>A, A</title>"))
    #expect(svg.contains("id=\"c0-plot\"") && svg.contains("id=\"c1-plot\""))
    #expect(isWellFormed(svg))
  }

  /// Whatever the numbers are, there is a picture.
  @Test func oddNumbersAreDrawn() {
    let odd: [Double] = [
      0, -0.0, 1, -1, 1e300, -1e300, 1e-300, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
      .infinity,
      -.infinity, .nan, 1e17, 1e17 + 16, 0.1, 0.1.nextUp, -7e8, 1e-5, 65536,
    ]
    for seed in 1...400 as ClosedRange<UInt64> {
      var random = Lehmer(seed: seed)
      func number() -> Double { odd[Int(random.next() % UInt64(odd.count))] }
      func axis() -> LineChart.Axis {
        let scale = [LineChart.Scale.linear, .log10, .log2][Int(random.next() % 3)]
        let (a, b) = (number(), number())
        let hasRange = random.next() % 3 == 0 && a <= b
        return .init("x", scale: scale, range: hasRange ? a...b : nil)
      }
      let points = (0..<random.next() % 4).map { _ in (x: number(), y: number()) }
      let band = (0..<random.next() % 4).map { _ in (x: number(), lower: number(), upper: number())
      }
      let chart = LineChart(
        title: "t", x: axis(), y: axis(),
        series: [.init("s", points: points, band: band, color: -3)],
        width: Int(random.next() % 800), height: Int(random.next() % 800))
      let svg = chart.svg()
      #expect(isWellFormed(svg) && !svg.contains("nan") && !svg.contains("inf"), "seed \(seed)")
      #expect(svg.utf8.count < 20_000, "seed \(seed)")
    }
  }

  /// Whether every element is closed in its order.
  private func isWellFormed(_ text: String) -> Bool {
    var open: [Substring] = []
    for piece in text.split(separator: "<", omittingEmptySubsequences: true) {
      guard let end = piece.firstIndex(of: ">") else { return false }
      let tag = piece[..<end]
      let name = tag.prefix { $0 != " " }
      if name.hasPrefix("/") {
        guard open.popLast() == name.dropFirst() else { return false }
      } else if !tag.hasSuffix("/") {
        open.append(name)
      }
    }
    return open.isEmpty
  }
}
