/// A position in a text header, with the steps that JSON and npy headers have in common.
///
/// It builds nothing: a header cannot make it use more memory than its own strings.
struct TextCursor {
  let bytes: [UInt8]
  let path: String
  /// What is read, for messages: "header".
  let part: String
  private(set) var position = 0

  init(_ bytes: [UInt8], of path: String, part: String = "header") {
    self.bytes = bytes
    self.path = path
    self.part = part
  }

  var isAtEnd: Bool { position >= bytes.count }

  /// The byte at the position; nil at the end.
  var next: UInt8? { isAtEnd ? nil : bytes[position] }

  func failure(_ reason: String) -> FileError {
    FileError(.malformed, "the \(part) \(reason) at its byte \(position)", at: path)
  }

  mutating func advance() { position += 1 }

  mutating func skipSpaces() {
    while let byte = next, byte == 0x20 || (0x09...0x0a).contains(byte) || byte == 0x0d {
      position += 1
    }
  }

  /// Whether the next byte after spaces is this one; goes past it then.
  mutating func accept(_ character: Unicode.Scalar) -> Bool {
    skipSpaces()
    guard let byte = next, UInt32(byte) == character.value else { return false }
    position += 1
    return true
  }

  mutating func expect(_ character: Unicode.Scalar) throws {
    guard accept(character) else { throw failure("lacks “\(character)”") }
  }

  /// Whether a word stands here; goes past it then.
  mutating func accept(word: String) -> Bool {
    skipSpaces()
    guard bytes[position...].starts(with: word.utf8) else { return false }
    position += word.utf8.count
    return true
  }

  /// A whole number of decimal digits.
  mutating func count() throws -> Int {
    skipSpaces()
    let start = position
    var value = 0
    while let byte = next, (0x30...0x39).contains(byte) {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Int(byte) - 0x30)
      guard !overflow, !carry else { throw failure("has a number beyond 64 bits") }
      value = sum
      position += 1
    }
    guard position > start, position == start + 1 || bytes[start] != 0x30 else {
      throw failure("lacks a whole number")
    }
    return value
  }

  /// The items of a list between two brackets, separated by commas.
  mutating func list(
    from open: Unicode.Scalar, to close: Unicode.Scalar, trailingComma: Bool = false,
    _ item: (inout TextCursor) throws -> Void
  ) throws {
    try expect(open)
    if accept(close) { return }
    while true {
      try item(&self)
      if accept(close) { return }
      try expect(",")
      if trailingComma, accept(close) { return }
    }
  }
}
