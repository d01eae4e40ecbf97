import ConvNet
import Glibc

/// One number for each seed.
package struct Sample: Hashable, Sendable, Codable {
  /// The numbers, in the order of the seeds.
  package var values: [Double]

  package init(_ values: [Double]) { self.values = values }

  package var mean: Double { values.reduce(0, +) / Double(values.count) }

  /// The standard deviation, of n − 1 degrees of freedom; 0 for a single number.
  package var spread: Double {
    guard values.count > 1 else { return 0 }
    let center = mean
    let squares = values.reduce(0) { $0 + ($1 - center) * ($1 - center) }
    return (squares / Double(values.count - 1)).squareRoot()
  }

  /// Whether the mean is above another's by more than chance would explain: twice the standard error of
  /// the difference √(s²/n + s′²/n′).
  package func isClearlyAbove(_ other: Sample, by margin: Double = 0) -> Bool {
    func square(_ sample: Sample) -> Double {
      sample.spread * sample.spread / Double(max(sample.values.count, 1))
    }
    return mean - other.mean - margin > 2 * (square(self) + square(other)).squareRoot()
  }

  /// Mean ± spread with so many digits after the point; the mean alone of one number.
  package func text(_ digits: Int, unit: String = "") -> String {
    let spread = values.count > 1 ? " ± \(decimal(spread, digits))" : ""
    return decimal(mean, digits) + spread + (unit.isEmpty ? "" : " \(unit)")
  }

  /// Of parts of one: mean ± spread in per cent.
  package var percent: String { Sample(values.map { $0 * 100 }).text(2, unit: "%") }

  /// Of differences of parts of one: mean ± spread in percentage points.
  package var points: String { Sample(values.map { $0 * 100 }).text(2, unit: "points") }

  /// Of positive numbers of many magnitudes: their geometric mean.
  package var geometricMean: Double {
    Glibc.exp(values.reduce(0) { $0 + Glibc.log($1) } / Double(values.count))
  }
}

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String { ProgressBar.decimal(value, digits) }

/// A number without digits that say nothing.
func shortest(_ value: Double) -> String {
  value == value.rounded() && abs(value) < 1e9 ? "\(Int(value))" : "\(value)"
}

/// A number from 0 upwards, as m·10ᵉ with one digit after the point where it is very small or large.
func scientific(_ value: Double) -> String {
  guard value.isFinite else { return value.isNaN ? "not finite" : "∞" }
  guard value > 0 else { return "0" }
  if (1e-3..<1e4).contains(value) { return decimal(value, value < 1 ? 3 : value < 100 ? 2 : 0) }
  var exponent = Int(Glibc.log10(value).rounded(.down))
  var mantissa = value / Glibc.pow(10, Double(exponent))
  if mantissa >= 9.95 { (mantissa, exponent) = (1, exponent + 1) }
  return "\(decimal(mantissa, 1))e\(exponent)"
}
