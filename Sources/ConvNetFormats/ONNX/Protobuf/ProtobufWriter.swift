/// Makes a message in protobuf's wire format.
///
/// Lengths stand before contents, so that a message is put together first and written then; long
/// data are not held but streamed when the message is written.
package struct ProtobufWriter {
  /// Writes data of a known length.
  package typealias Stream = (borrowing AtomicFile) throws -> Void

  private enum Piece {
    case bytes([UInt8])
    case stream(Stream)
  }

  private var pieces: [Piece] = []
  private var last: [UInt8] = []
  /// Bytes of the message.
  package private(set) var count = 0

  /// An empty message.
  package init() {}

  /// An integer.
  package mutating func int64(_ field: Int, _ value: Int64) {
    tag(field, .varint)
    varint(UInt64(bitPattern: value))
  }

  /// A float.
  package mutating func float(_ field: Int, _ value: Float) {
    tag(field, .fixed32)
    bytes(of: value.bitPattern)
  }

  /// A double.
  package mutating func double(_ field: Int, _ value: Double) {
    tag(field, .fixed64)
    bytes(of: value.bitPattern)
  }

  /// Doubles, packed.
  package mutating func doubles(_ field: Int, _ values: [Double]) {
    tag(field, .lengthDelimited)
    varint(UInt64(values.count * 8))
    for value in values { bytes(of: value.bitPattern) }
  }

  /// Bytes that are here already.
  package mutating func bytes(_ field: Int, _ value: [UInt8]) {
    tag(field, .lengthDelimited)
    varint(UInt64(value.count))
    last += value
    count += value.count
  }

  /// Text.
  package mutating func string(_ field: Int, _ value: String) {
    tag(field, .lengthDelimited)
    varint(UInt64(value.utf8.count))
    last += Array(value.utf8)
    count += value.utf8.count
  }

  /// A message.
  package mutating func message(_ field: Int, _ message: ProtobufWriter) {
    tag(field, .lengthDelimited)
    varint(UInt64(message.count))
    for piece in message.pieces { append(piece) }
    last += message.last
    count += message.count
  }

  /// A message that a closure fills.
  package mutating func message(
    _ field: Int, _ body: (inout ProtobufWriter) throws -> Void
  ) rethrows {
    var inner = ProtobufWriter()
    try body(&inner)
    message(field, inner)
  }

  /// Bytes that are made when the message is written.
  package mutating func stream(_ field: Int, count length: Int, _ body: @escaping Stream) {
    tag(field, .lengthDelimited)
    varint(UInt64(length))
    append(.stream(body))
    count += length
  }

  /// Writes the message.
  package func write(to file: borrowing AtomicFile) throws {
    for piece in pieces {
      switch piece {
      case .bytes(let bytes): try file.append(bytes)
      case .stream(let body): try body(file)
      }
    }
    try file.append(last)
  }

  /// The bytes of a message that streams nothing.
  package var encoded: [UInt8] {
    guard pieces.isEmpty else {
      fatalError("A message with streamed data has no bytes of its own.")
    }
    return last
  }

  private mutating func append(_ piece: Piece) {
    if case .bytes(let bytes) = piece {
      last += bytes
    } else {
      if !last.isEmpty { pieces.append(.bytes(last)) }
      last = []
      pieces.append(piece)
    }
  }

  private mutating func tag(_ field: Int, _ type: ProtobufReader.WireType) {
    varint(UInt64(field) << 3 | UInt64(type.rawValue))
  }

  private mutating func byte(_ value: UInt8) {
    last.append(value)
    count += 1
  }

  /// A number of fixed width, its lowest byte first.
  private mutating func bytes(of bits: some FixedWidthInteger) {
    for shift in stride(from: 0, to: bits.bitWidth, by: 8) {
      byte(UInt8(truncatingIfNeeded: bits >> shift))
    }
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      byte(UInt8(rest & 0x7f) | 0x80)
      rest >>= 7
    }
    byte(UInt8(rest))
  }
}
