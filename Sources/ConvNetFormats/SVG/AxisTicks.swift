import Glibc

/// An axis made ready to draw: its ends, and where its marks are.
struct AxisTicks {
  let scale: LineChart.Scale
  /// The numbers at both ends.
  private(set) var ends: (lower: Double, upper: Double)
  /// Marks with a label.
  private(set) var major: [(value: Double, label: String)] = []
  /// Marks between them.
  private(set) var minor: [Double] = []

  /// Whether an axis can show a number.
  static func canShow(_ value: Double, on scale: LineChart.Scale) -> Bool {
    // Within these bounds differences and ratios of two numbers, and steps between them, are finite.
    abs(value) < 1e100 && (scale == .linear || value > 1e-100)
  }

  /// Chooses ends and marks.
  ///
  /// - Parameters:
  ///   - values: what shall be seen.
  ///   - count: about how many marks there is room for.
  ///   - rounds: whether the ends move outwards to the next mark.
  init(_ axis: LineChart.Axis, values: [Double], count: Int, rounds: Bool) {
    scale = axis.scale
    let scale = axis.scale
    let shown = values.filter { Self.canShow($0, on: scale) }
    let range = axis.range.flatMap { range in
      Self.canShow(range.lowerBound, on: scale) && Self.canShow(range.upperBound, on: scale)
        ? range : nil
    }
    let isWhole = !shown.isEmpty && shown.allSatisfy { $0.rounded() == $0 }
    let first = scale == .linear ? 0.0 : 1
    ends = (
      range?.lowerBound ?? shown.min() ?? first, range?.upperBound ?? shown.max() ?? first + 1
    )
    widen()
    let rounds = rounds && range == nil
    switch scale {
    case .linear: markEvenly(count: count, isWhole: isWhole, rounds: rounds)
    case .log2: markPowersOfTwo(count: count, rounds: rounds)
    case .log10: markPowersOfTen(count: count, rounds: rounds)
    }
    // More would be a surface.
    if minor.count > 100 { minor = [] }
  }

  /// The part of the axis below a number: 0 at its lower end, 1 at its upper.
  func fraction(_ value: Double) -> Double {
    guard scale != .linear else { return (value - ends.lower) / (ends.upper - ends.lower) }
    return log(value / ends.lower) / log(ends.upper / ends.lower)
  }

  /// Gives an axis of (nearly) one number some width.
  private mutating func widen() {
    let (lower, upper) = ends
    if scale != .linear {
      if upper / lower < 1 + 1e-6 { ends = (lower / 2, upper * 2) }
      return
    }
    let size = max(abs(lower), abs(upper))
    guard upper - lower <= max(1e-9 * size, 1e-100) else { return }
    let half = size < 1e-100 ? 1 : lower.rounded() == lower && size < 100 ? 1 : size / 10
    ends = (lower - half, upper + half)
  }

  /// Marks at multiples of 1, 2 or 5 times a power of ten.
  private mutating func markEvenly(count: Int, isWhole: Bool, rounds: Bool) {
    let raw = (ends.upper - ends.lower) / Double(max(count, 1))
    var exponent = Int(log10(raw).rounded(.down))
    let part = Self.scaled(raw, by: -exponent)
    var digit = part <= 1.000001 ? 1 : part <= 2.000001 ? 2 : part <= 5.000001 ? 5 : 10
    if digit == 10 { (digit, exponent) = (1, exponent + 1) }
    if isWhole, exponent < 0 { (digit, exponent) = (1, 0) }
    // Positions in steps are whole but for rounding, which must not take a mark away at an end.
    let step = Self.scaled(Double(digit), by: exponent)
    let slack = 1e-6
    var first = Int((ends.lower / step - slack).rounded(.up))
    var last = Int((ends.upper / step + slack).rounded(.down))
    if rounds {
      // A logarithmic axis without powers to mark never begins at 0.
      first = max(Int((ends.lower / step + slack).rounded(.down)), scale == .linear ? .min : 1)
      last = Int((ends.upper / step - slack).rounded(.up))
      ends = (
        min(ends.lower, Self.scaled(Double(first * digit), by: exponent)),
        max(ends.upper, Self.scaled(Double(last * digit), by: exponent))
      )
    }
    guard first <= last else { return }
    let largest = max(abs(first), abs(last)) * digit
    let decimalExponent = exponent + String(largest).count - 1
    major = (first...last).map { index in
      (
        Self.scaled(Double(index * digit), by: exponent),
        SVGText.number(index * digit, exponent: exponent, decimalExponent: decimalExponent)
      )
    }
  }

  private mutating func markPowersOfTwo(count: Int, rounds: Bool) {
    var (first, last) = (
      (log2(ends.lower) - 1e-9).rounded(.up), (log2(ends.upper) + 1e-9).rounded(.down)
    )
    guard first < last else { return markEvenly(count: count, isWhole: false, rounds: rounds) }
    if rounds {
      (first, last) = (
        (log2(ends.lower) + 1e-9).rounded(.down), (log2(ends.upper) - 1e-9).rounded(.up)
      )
      ends = (min(ends.lower, exp2(first)), max(ends.upper, exp2(last)))
    }
    let stride = (Int(last - first) + count) / max(count, 1)
    for power in Int(first)...Int(last) {
      let value = exp2(Double(power))
      guard power % max(stride, 1) == 0 else {
        minor.append(value)
        continue
      }
      let isShort = (-6...16).contains(power)
      let label =
        power < 0
        ? "1/\(1 << min(-power, 62))"
        : SVGText.number(1 << min(power, 62), exponent: 0, decimalExponent: 0)
      major.append((value, isShort ? label : "2\(SVGText.superscript(power))"))
    }
  }

  /// Marks at powers of ten, at 2 and 5 times them where there are few, and evenly where there are none.
  private mutating func markPowersOfTen(count: Int, rounds: Bool) {
    let decades = log10(ends.upper / ends.lower)
    let digits = decades < 1.7 ? [1, 2, 5] : [1]
    var positions: [(digit: Int, power: Int)] = []
    let powers = Int(log10(ends.lower).rounded(.down)) - 1...Int(log10(ends.upper).rounded(.up)) + 1
    for power in powers {
      for digit in digits { positions.append((digit, power)) }
    }
    func value(_ position: (digit: Int, power: Int)) -> Double {
      Self.scaled(Double(position.digit), by: position.power)
    }
    guard positions.count(where: { (ends.lower...ends.upper).contains(value($0)) }) > 1 else {
      return markEvenly(count: count, isWhole: false, rounds: rounds)
    }
    if rounds {
      let (lower, upper) = ends
      // An end moves by less than half of what is between two marks, so that little room is lost.
      let reach = digits.count > 1 ? 1e9 : 3.2
      if let below = positions.last(where: { value($0) <= lower * 1.000001 }),
        lower / value(below) <= reach
      {
        ends.lower = min(value(below), lower)
      }
      if let above = positions.first(where: { value($0) >= upper * 0.999999 }),
        value(above) / upper <= reach
      {
        ends.upper = max(value(above), upper)
      }
    }
    let (low, high) = (ends.lower * 0.999999, ends.upper * 1.000001)
    let inside = positions.filter { (low...high).contains(value($0)) }
    let stride = digits.count > 1 ? 1 : max((inside.count + count) / max(count, 1), 1)
    let largest = inside.map { abs($0.power) }.max() ?? 0
    for position in inside {
      guard position.power % stride == 0 || digits.count > 1 else {
        minor.append(value(position))
        continue
      }
      let label = SVGText.number(
        position.digit, exponent: position.power, decimalExponent: largest > 4 ? 6 : 0)
      major.append((value(position), label))
    }
    guard digits.count == 1, stride == 1 else { return }
    for power in powers {
      minor += (2...9).map { value(($0, power)) }.filter { (low...high).contains($0) }
    }
  }

  /// A number times a power of ten, exact as long as the result and the power are.
  private static func scaled(_ value: Double, by exponent: Int) -> Double {
    var (power, rest) = (1.0, abs(exponent))
    while rest > 0 {
      power *= 10
      rest -= 1
    }
    return exponent < 0 ? value / power : value * power
  }
}
