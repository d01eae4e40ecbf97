extension TextCursor {
  /// A JSON string (RFC 8259, section 7); halves of surrogate pairs and bad UTF-8 are refused.
  mutating func jsonString() throws -> String {
    try expect("\"")
    var text: [UInt8] = []
    while let byte = next {
      advance()
      switch byte {
      case 0x22:
        guard let string = String(validating: text, as: UTF8.self) else {
          throw failure("has a string that is not UTF-8")
        }
        return string
      case 0x5c: try appendEscape(to: &text)
      case 0..<0x20: throw failure("has a control character in a string")
      default: text.append(byte)
      }
    }
    throw failure("has a string without end")
  }

  private mutating func appendEscape(to text: inout [UInt8]) throws {
    guard let byte = next else { throw failure("ends in a string") }
    advance()
    switch byte {
    case 0x22, 0x2f, 0x5c: text.append(byte)
    case 0x62: text.append(0x08)
    case 0x66: text.append(0x0c)
    case 0x6e: text.append(0x0a)
    case 0x72: text.append(0x0d)
    case 0x74: text.append(0x09)
    case 0x75: text.append(contentsOf: Array(String(try escapedScalar()).utf8))
    default: throw failure("has an unknown escape in a string")
    }
  }

  /// The character after `\u`, of one unit or of a surrogate pair.
  private mutating func escapedScalar() throws -> Character {
    var code = try hexadecimal()
    if (0xd800..<0xdc00).contains(code), next == 0x5c {
      advance()
      guard next == 0x75 else { throw failure("has half a surrogate pair") }
      advance()
      let low = try hexadecimal()
      guard (0xdc00..<0xe000).contains(low) else { throw failure("has half a surrogate pair") }
      code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw failure("has half a surrogate pair") }
    return Character(scalar)
  }

  private mutating func hexadecimal() throws -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("has a bad \\u escape")
      }
      value = value << 4 | UInt32(digit)
      advance()
    }
    return value
  }

  /// Refuses JSON nested so deeply that a recursive decoder would need much stack.
  static func checkJSONDepth(_ text: String, limit: Int, of path: String, part: String) throws {
    var depth = 0
    var isInString = false
    var isEscaped = false
    for byte in text.utf8 {
      if isInString {
        if !isEscaped, byte == 0x22 { isInString = false }
        isEscaped = !isEscaped && byte == 0x5c
        continue
      }
      switch byte {
      case 0x22: isInString = true
      case 0x5b, 0x7b: depth += 1
      case 0x5d, 0x7d: depth -= 1
      default: break
      }
      guard depth <= limit else {
        throw FileError(.malformed, "the \(part) is nested more than \(limit) deep", at: path)
      }
    }
  }

  /// A string as JSON.
  static func json(_ string: String) -> String {
    var result = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
