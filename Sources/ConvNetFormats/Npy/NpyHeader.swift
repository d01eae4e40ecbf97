import ConvNetGraph

/// What stands before the data of an npy file: a Python dictionary in text.
struct NpyHeader {
  var elementType = ElementType.float32
  var isBigEndian = false
  var isFortranOrder = false
  var shape: Shape = []
  var dataOffset = 0

  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  /// NumPy itself refuses longer headers unless told to trust them.
  private static let limit = 1 << 20

  init(_ file: FileReader) throws {
    let start = try file.bytes(count: min(file.size, 12), at: 0)
    guard start.starts(with: Self.magic) else {
      throw FileError(.mismatched, "this is not an npy file", at: file.path)
    }
    guard start.count == 12 else {
      throw FileError(.truncated, "the file ends before its header", at: file.path)
    }
    let version = start[6]
    guard (1...3).contains(version) else {
      throw FileError(
        .unsupported, "npy version \(version) is not read, only 1 to 3", at: file.path)
    }
    let wide = version > 1
    let length =
      Int(start[8]) | Int(start[9]) << 8 | (wide ? Int(start[10]) << 16 | Int(start[11]) << 24 : 0)
    let offset = wide ? 12 : 10
    guard length <= Self.limit else {
      throw FileError(.malformed, "a header of \(length) bytes is too long", at: file.path)
    }
    var text = TextCursor(try file.bytes(count: length, at: offset), of: file.path)
    try parse(&text)
    dataOffset = offset + length
  }

  private mutating func parse(_ text: inout TextCursor) throws {
    var seen: Set<String> = []
    try text.list(from: "{", to: "}", trailingComma: true) { text in
      let key = try Self.string(&text)
      guard seen.insert(key).inserted else {
        throw text.failure("names \(FileError.quoted(key)) twice")
      }
      try text.expect(":")
      switch key {
      case "descr": try parseType(&text)
      case "fortran_order":
        isFortranOrder = text.accept(word: "True")
        guard isFortranOrder || text.accept(word: "False") else {
          throw text.failure("lacks True or False")
        }
      case "shape": try parseShape(&text)
      default: throw text.failure("has an unknown key \(FileError.quoted(key))")
      }
    }
    text.skipSpaces()
    guard text.isAtEnd else { throw text.failure("goes on after its dictionary") }
    guard seen.count == 3 else {
      throw text.failure("lacks one of descr, fortran_order and shape")
    }
  }

  private mutating func parseType(_ text: inout TextCursor) throws {
    text.skipSpaces()
    guard text.next != 0x5b else {
      throw FileError(
        .unsupported, "holds records of several fields, which are not read", at: text.path)
    }
    let name = try Self.string(&text)
    let types: [String: ElementType] = [
      "f4": .float32, "f8": .float64, "i8": .int64, "i4": .int32, "u1": .uint8, "b1": .bool,
    ]
    guard let order = name.first, "<>|=".contains(order), let type = types[String(name.dropFirst())]
    else {
      throw FileError(
        .unsupported,
        "elements of type \(FileError.quoted(name)) are not read, only f4, f8, i8, i4, u1 and b1",
        at: text.path)
    }
    elementType = type
    isBigEndian = order == ">"
  }

  private mutating func parseShape(_ text: inout TextCursor) throws {
    var dimensions: [Int] = []
    try text.list(from: "(", to: ")", trailingComma: true) { text in
      guard dimensions.count < 64 else { throw text.failure("has more than 64 dimensions") }
      dimensions.append(try text.count())
    }
    guard let checked = try? Shape(checking: dimensions) else {
      throw text.failure("has an impossible shape \(dimensions)")
    }
    shape = checked
  }

  /// A Python string without escapes.
  private static func string(_ text: inout TextCursor) throws -> String {
    let quote: Unicode.Scalar = text.accept("\"") ? "\"" : "'"
    if quote == "'" { try text.expect("'") }
    var bytes: [UInt8] = []
    while let byte = text.next {
      text.advance()
      if UInt32(byte) == quote.value {
        guard let string = String(validating: bytes, as: UTF8.self) else { break }
        return string
      }
      guard byte >= 0x20, byte != 0x5c, bytes.count < 256 else { break }
      bytes.append(byte)
    }
    throw text.failure("has a string that is not read")
  }

  /// The bytes before the data, padded so that the data begin at a multiple of 64.
  static func bytes(for tensor: Tensor) -> [UInt8] {
    let type =
      switch tensor.elementType {
      case .float32: "<f4"
      case .float64: "<f8"
      case .int64: "<i8"
      case .int32: "<i4"
      case .uint8: "|u1"
      case .bool: "|b1"
      }
    // A tuple of one needs its comma in Python.
    let extents = tensor.shape.dimensions.map(String.init).joined(separator: ", ")
    let tuple = tensor.shape.rank == 1 ? "(\(extents),)" : "(\(extents))"
    var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': \(tuple), }"
    let open = 10 + text.utf8.count + 1
    text += String(repeating: " ", count: (64 - open % 64) % 64) + "\n"
    let length = text.utf8.count
    return magic + [1, 0, UInt8(length & 0xff), UInt8(length >> 8)] + Array(text.utf8)
  }
}
