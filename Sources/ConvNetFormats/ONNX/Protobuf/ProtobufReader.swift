/// Reads protobuf's wire format (https://protobuf.dev/programming-guides/encoding) from a file.
///
/// It stands inside one message at a time and gives its fields one after the other:
///
///     while let field = try reader.next() {
///       switch field.number {
///       case 1: name = try reader.string(field)
///       case 2: child = try reader.message(field) { try Child(&$0) }
///       default: try reader.skip(field)
///       }
///     }
///
/// Only a window of the file is in memory. Every length is checked against the enclosing message,
/// and so against the file; nesting has a limit, and so has the memory that what is read may take.
package struct ProtobufReader {
  /// How a field's value is written.
  package enum WireType: UInt8, Sendable {
    case varint = 0
    case fixed64 = 1
    case lengthDelimited = 2
    case fixed32 = 5
  }

  /// A field whose value comes next.
  package struct Field: Sendable {
    /// The number that the schema gives the field.
    package let number: Int
    /// How the value is written.
    package let type: WireType
    /// The bytes of a length-delimited value.
    let length: Int
  }

  /// As deep as protobuf's own readers go.
  package static let depthLimit = 100
  /// Bytes that structures other than tensors' data may take: hostile files are made of millions of
  /// empty messages, each of which takes two bytes there and hundreds here.
  package static let memoryLimit = 1 << 30
  /// What a message costs of that, besides its strings and numbers.
  private static let messageCost = 256
  private static let windowSize = 1 << 15

  /// The file that is read.
  package let file: FileReader
  /// The offset in the file of what comes next.
  package private(set) var position: Int
  /// The offset in the file of the end of the current message.
  package private(set) var end: Int
  private var depth = 0
  private var memory = ProtobufReader.memoryLimit
  private var window: [UInt8] = []
  private var windowStart = 0

  /// A reader that stands at the beginning of a message.
  ///
  /// - Parameter range: The message's bytes; the whole file by default.
  package init(_ file: FileReader, range: Range<Int>? = nil) {
    self.file = file
    position = range?.lowerBound ?? 0
    end = range?.upperBound ?? file.size
  }

  /// An error at this point of the file.
  package func failure(_ reason: String, _ code: FileError.Code = .malformed) -> FileError {
    FileError(code, "\(reason) at byte \(position)", at: file.path)
  }

  // MARK: Messages

  /// The next field of the current message; nil at its end.
  package mutating func next() throws -> Field? {
    guard position < end else { return nil }
    let tag = try varint()
    guard tag >> 3 > 0, tag >> 3 < 1 << 29 else {
      throw failure("there is no field where one should begin")
    }
    guard let type = WireType(rawValue: UInt8(tag & 7)) else {
      throw failure("the file uses the wire type \(tag & 7), which ONNX does not")
    }
    var length = 0
    if type == .lengthDelimited {
      let count = try varint()
      guard count <= UInt64(end - position) else {
        throw depth == 0
          ? failure("the file ends before the \(count) bytes that are announced", .truncated)
          : failure("a field of \(count) bytes passes the end of its message")
      }
      length = Int(count)
    }
    return Field(number: Int(tag >> 3), type: type, length: length)
  }

  /// Enters a field's message and leaves it behind its end.
  package mutating func message<Result>(
    _ field: Field, _ body: (inout ProtobufReader) throws -> Result
  ) throws -> Result {
    try expect(.lengthDelimited, field)
    guard depth < Self.depthLimit else {
      throw failure("messages are nested more than \(Self.depthLimit) deep")
    }
    try charge(Self.messageCost)
    let outer = end
    end = position + field.length
    depth += 1
    let result = try body(&self)
    position = end
    end = outer
    depth -= 1
    return result
  }

  /// Goes past a field's value.
  package mutating func skip(_ field: Field) throws {
    switch field.type {
    case .varint: _ = try varint()
    case .fixed64: _ = try fixed(8)
    case .fixed32: _ = try fixed(4)
    case .lengthDelimited: position += field.length
    }
  }

  /// Goes past a field's bytes and tells where in the file they are.
  package mutating func range(_ field: Field) throws -> Range<Int> {
    try expect(.lengthDelimited, field)
    defer { position += field.length }
    return position..<(position + field.length)
  }

  // MARK: Values

  /// An integer.
  package mutating func int64(_ field: Field) throws -> Int64 {
    try expect(.varint, field)
    return Int64(bitPattern: try varint())
  }

  /// A float.
  package mutating func float(_ field: Field) throws -> Float {
    try expect(.fixed32, field)
    return Float(bitPattern: UInt32(try fixed(4)))
  }

  /// Bytes, in memory.
  package mutating func bytes(_ field: Field) throws -> [UInt8] {
    try expect(.lengthDelimited, field)
    try charge(32)
    try charge(field.length)
    let range = try range(field)
    guard range.count <= Self.windowSize else {
      return try file.bytes(count: range.count, at: range.lowerBound)
    }
    try load(range)
    return Array(window[(range.lowerBound - windowStart)..<(range.upperBound - windowStart)])
  }

  /// Text, which has to be UTF-8.
  package mutating func string(_ field: Field) throws -> String {
    guard let string = String(validating: try bytes(field), as: UTF8.self) else {
      throw failure("there is text that is not UTF-8")
    }
    return string
  }

  /// One integer of a repeated field, or several where they are packed.
  package mutating func int64s(_ field: Field, into values: inout [Int64]) throws {
    try charge(max(field.length, 1), of: 8)
    try forEachVarint(field) { values.append(Int64(bitPattern: $0)) }
  }

  /// One float of a repeated field, or several where they are packed.
  package mutating func floats(_ field: Field, into values: inout [Float]) throws {
    try charge(max(field.length, 4))
    try forEachFixed(field, 4) { values.append(Float(bitPattern: UInt32($0))) }
  }

  /// Calls a closure with each integer of a repeated field, packed or not.
  package mutating func forEachVarint(
    _ field: Field, _ body: (UInt64) throws -> Void
  ) throws {
    if field.type == .varint { return try body(try varint()) }
    try expect(.lengthDelimited, field)
    try packed(field) { try body(try $0.varint()) }
  }

  /// Calls a closure with the bits of each number of fixed width of a repeated field, packed or not.
  package mutating func forEachFixed(
    _ field: Field, _ width: Int, _ body: (UInt64) throws -> Void
  ) throws {
    if field.type == (width == 4 ? .fixed32 : .fixed64) { return try body(try fixed(width)) }
    try expect(.lengthDelimited, field)
    guard field.length % width == 0 else {
      throw failure("\(field.length) bytes are not a number of elements of \(width) bytes")
    }
    try packed(field) { try body(try $0.fixed(width)) }
  }

  // MARK: Bytes

  private mutating func packed(
    _ field: Field, _ value: (inout ProtobufReader) throws -> Void
  ) throws {
    let outer = end
    end = position + field.length
    depth += 1
    while position < end { try value(&self) }
    end = outer
    depth -= 1
  }

  private func expect(_ type: WireType, _ field: Field) throws {
    guard field.type == type else {
      throw failure("the field \(field.number) has the wire type \(field.type), not \(type)")
    }
  }

  private mutating func charge(_ count: Int, of bytes: Int = 1) throws {
    guard count <= memory / bytes else {
      throw failure("what is not tensors would take more than \(Self.memoryLimit) bytes", .tooLarge)
    }
    memory -= count * bytes
  }

  /// An integer of seven bits a byte, the lowest first.
  private mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    var shift = 0
    while true {
      guard position < end else { throw endsInsideNumber() }
      if position < windowStart || position - windowStart >= window.count {
        try load(position..<(position + 1))
      }
      let byte = window[position - windowStart]
      position += 1
      guard shift < 63 || byte <= 1 else { throw failure("an integer has more than 64 bits") }
      value |= UInt64(byte & 0x7f) << UInt64(shift)
      if byte < 0x80 { return value }
      shift += 7
    }
  }

  /// A little-endian number.
  private mutating func fixed(_ width: Int) throws -> UInt64 {
    guard end - position >= width else { throw endsInsideNumber() }
    try load(position..<(position + width))
    var value: UInt64 = 0
    for index in 0..<width {
      value |= UInt64(window[position - windowStart + index]) << UInt64(8 * index)
    }
    position += width
    return value
  }

  private func endsInsideNumber() -> FileError {
    depth == 0
      ? failure("the file ends inside a number", .truncated)
      : failure("a message ends inside a number")
  }

  /// Makes the window hold a range of the file, at most as long as the window.
  private mutating func load(_ range: Range<Int>) throws {
    guard range.lowerBound < windowStart || range.upperBound - windowStart > window.count else {
      return
    }
    windowStart = range.lowerBound
    let count = min(Self.windowSize, file.size - windowStart)
    if window.count != count { window = [UInt8](repeating: 0, count: count) }
    do {
      try unsafe window.withUnsafeMutableBytes { try unsafe file.fill($0, at: windowStart) }
    } catch {
      window = []
      throw error
    }
  }
}
