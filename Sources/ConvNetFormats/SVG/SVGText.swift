/// Numbers and words as an SVG file writes them, the same on every machine.
enum SVGText {
  /// Text between tags or in an attribute; what XML 1.0 cannot hold becomes a replacement mark.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "\t", "\n", "\r": result += " "
      case "\u{0}"..<" ", "\u{7f}"..<"\u{a0}", "\u{fffe}", "\u{ffff}": result += "\u{fffd}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// A position in pixels, to a hundredth.
  static func position(_ value: Double) -> String {
    // Lines that leave the chart are cut there; what lies far outside is only kept within bounds.
    let hundredths = Int((min(max(value, -1e5), 1e5) * 100).rounded())
    let magnitude = abs(hundredths)
    let digits = magnitude % 100
    let sign = hundredths < 0 ? "-" : ""
    if digits == 0 { return "\(sign)\(magnitude / 100)" }
    let fraction = digits % 10 == 0 ? "\(digits / 10)" : digits < 10 ? "0\(digits)" : "\(digits)"
    return "\(sign)\(magnitude / 100).\(fraction)"
  }

  /// The width of a text in ems, judged by the letters of a common sans serif.
  static func width(_ text: String) -> Double {
    text.unicodeScalars.reduce(0) { sum, scalar in
      switch scalar {
      case "i", "j", "l", "I", ".", ",", ":", ";", "'", "|", "!", " ", "(", ")", "f", "t", "r":
        sum + 0.36
      case "m", "w", "M", "W", "%": sum + 0.92
      case "A"..."Z": sum + 0.7
      case "\u{2070}"..."\u{2079}", "\u{b2}", "\u{b3}", "\u{b9}", "\u{207b}": sum + 0.4
      case "\u{1100}"...: scalar.value < 0x2000 || scalar.value > 0x2e7f ? sum + 1.1 : sum + 0.7
      default: sum + 0.6
      }
    }
  }

  /// A whole number times a power of ten: 1500, 0.25, 2×10⁶.
  ///
  /// - Parameter decimalExponent: the exponent of the largest number beside it, which decides for all of
  ///   them whether powers are written out.
  static func number(_ digits: Int, exponent: Int, decimalExponent: Int) -> String {
    guard digits != 0 else { return "0" }
    let sign = digits < 0 ? "−" : ""
    var mantissa = String(abs(digits))
    if decimalExponent >= 6 || decimalExponent <= -5 {
      let power = exponent + mantissa.count - 1
      while mantissa.last == "0" { mantissa.removeLast() }
      let first = String(mantissa.removeFirst()) + (mantissa.isEmpty ? "" : "." + mantissa)
      return "\(sign)\(first == "1" ? "" : first + "×")10\(superscript(power))"
    }
    if exponent >= 0 {
      return sign + grouped(mantissa + String(repeating: "0", count: exponent))
    }
    if mantissa.count <= -exponent {
      mantissa = String(repeating: "0", count: 1 - exponent - mantissa.count) + mantissa
    }
    let point = mantissa.index(mantissa.endIndex, offsetBy: exponent)
    return "\(sign)\(mantissa[..<point]).\(mantissa[point...])"
  }

  /// Digits in threes from ten thousand on, with narrow spaces.
  private static func grouped(_ digits: String) -> String {
    guard digits.count > 4 else { return digits }
    var result = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { result += "\u{202f}" }
      result.append(digit)
    }
    return result
  }

  static func superscript(_ number: Int) -> String {
    let digits: [Character] = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"]
    let text = String(abs(number)).compactMap { $0.wholeNumberValue.map { digits[$0] } }
    return (number < 0 ? "⁻" : "") + String(text)
  }
}
