import ConvNetGraph

/// The JSON text before the data of a safetensors file.
struct SafetensorsHeader {
  /// The longest header that the format allows.
  static let limit = 100_000_000
  private static let metadataKey = "__metadata__"

  private(set) var entries: [SafetensorsFile.Entry] = []
  private(set) var metadata: [String: String] = [:]

  /// Reads a header and checks it against the number of bytes that follow it.
  init(_ bytes: [UInt8], dataCount: Int, path: String) throws {
    guard bytes.first == 0x7b else {
      throw FileError(.mismatched, "this is not a safetensors file", at: path)
    }
    var text = TextCursor(bytes, of: path)
    var names: Set<String> = []
    try text.list(from: "{", to: "}") { text in
      let name = try text.jsonString()
      guard names.insert(name).inserted else {
        throw text.failure("gives the name \(FileError.quoted(name)) twice")
      }
      try text.expect(":")
      if name == Self.metadataKey {
        try parseMetadata(&text)
      } else {
        entries.append(try Self.entry(name, &text))
      }
    }
    text.skipSpaces()
    guard text.isAtEnd else { throw text.failure("goes on after its object") }
    try orderAndCheck(dataCount: dataCount, path: path)
  }

  private mutating func parseMetadata(_ text: inout TextCursor) throws {
    try text.list(from: "{", to: "}") { text in
      let key = try text.jsonString()
      try text.expect(":")
      guard metadata.updateValue(try text.jsonString(), forKey: key) == nil else {
        throw text.failure("gives the metadata \(FileError.quoted(key)) twice")
      }
    }
  }

  private static func entry(
    _ name: String, _ text: inout TextCursor
  ) throws -> SafetensorsFile.Entry {
    var type: StoredType?
    var shape: [Int]?
    var offsets: [Int]?
    try text.list(from: "{", to: "}") { text in
      let key = try text.jsonString()
      try text.expect(":")
      switch key {
      case "dtype" where type == nil:
        let name = try text.jsonString()
        guard let known = StoredType(rawValue: name) else {
          throw text.failure("has an unknown type \(FileError.quoted(name))")
        }
        type = known
      case "shape" where shape == nil: shape = try numbers(&text, atMost: 64)
      case "data_offsets" where offsets == nil: offsets = try numbers(&text, atMost: 2)
      default: throw text.failure("has a field \(FileError.quoted(key)) too many")
      }
    }
    guard let type, let shape, let offsets, offsets.count == 2, offsets[0] <= offsets[1] else {
      throw text.failure("describes \(FileError.quoted(name)) incompletely")
    }
    guard let checked = try? Shape(checking: shape) else {
      throw text.failure("has an impossible shape \(shape)")
    }
    return SafetensorsFile.Entry(
      name: name, storedType: type, shape: checked, range: offsets[0]..<offsets[1])
  }

  private static func numbers(_ text: inout TextCursor, atMost limit: Int) throws -> [Int] {
    var numbers: [Int] = []
    try text.list(from: "[", to: "]") { text in
      guard numbers.count < limit else { throw text.failure("has more than \(limit) numbers") }
      numbers.append(try text.count())
    }
    return numbers
  }

  /// Puts the entries into the order of their data, which must fill the file without a hole.
  private mutating func orderAndCheck(dataCount: Int, path: String) throws {
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    var end = 0
    for entry in entries {
      let place = FileError.quoted(entry.name)
      guard entry.range.lowerBound == end else {
        throw FileError(
          .malformed, "the data begin at \(entry.range.lowerBound) and should at \(end)", at: path,
          place: place)
      }
      // A count is at most 2⁵⁶, an element at most 8 bytes.
      guard entry.shape.count * entry.storedType.byteCount == entry.range.count else {
        throw FileError(
          .malformed,
          "\(entry.storedType.rawValue) \(entry.shape) does not take \(entry.range.count) bytes",
          at: path, place: place)
      }
      end = entry.range.upperBound
    }
    guard end == dataCount else {
      throw FileError(
        end > dataCount ? .truncated : .malformed,
        "the data take \(end) bytes and the file holds \(dataCount)", at: path)
    }
  }

  /// The bytes before the data and the order of the data: wide elements first, so that every tensor
  /// is aligned in the file, then by name.
  static func bytes(
    for contents: [String: SafetensorsFile.Content], metadata: [String: String], path: String
  ) throws -> (bytes: [UInt8], names: [String]) {
    guard contents[metadataKey] == nil else {
      throw FileError(.unsupported, "a tensor cannot be called \(metadataKey)", at: path)
    }
    let ordered = contents.sorted { a, b in
      let (left, right) = (a.value.array.type.byteCount, b.value.array.type.byteCount)
      return left != right ? left > right : Self.precedes(a.key, b.key)
    }
    var fields: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { Self.precedes($0.key, $1.key) }
        .map { "\(TextCursor.json($0.key)):\(TextCursor.json($0.value))" }
      fields.append("\"\(metadataKey)\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for (name, content) in ordered {
      let type = content.array.type.rawValue
      let shape = content.shape.dimensions.map(String.init).joined(separator: ",")
      let end = offset + content.array.byteCount
      fields.append(
        TextCursor.json(name)
          + ":{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var text = Array("{\(fields.joined(separator: ","))}".utf8)
    text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
    guard text.count <= limit else {
      throw FileError(
        .unsupported, "a header of \(text.count) bytes is more than the format allows", at: path)
    }
    let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
    return (length + text, ordered.map(\.key))
  }

  /// The order of bytes, which no locale and no Unicode version changes.
  private static func precedes(_ a: String, _ b: String) -> Bool {
    a.utf8.lexicographicallyPrecedes(b.utf8)
  }
}
