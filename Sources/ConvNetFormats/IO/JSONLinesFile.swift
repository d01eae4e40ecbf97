import FoundationEssentials

/// A file of JSON objects, one a line, that grows at its end.
package final class JSONLinesFile<Line: Codable> {
  private let file: AppendingFile

  /// Opens a file, or makes it.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - isKept: which of the lines that are there stay; a last one that was cut short does not.
  /// - Returns: the file, and the lines that stay in it.
  /// - Throws: `FileError` where other lines are none of these objects: it is somebody else's file.
  package static func open(
    _ path: String, keeping isKept: (Line) -> Bool
  ) throws -> (file: JSONLinesFile, lines: [Line]) {
    guard SystemCall.exists(path) else { return (try JSONLinesFile(path), []) }
    let reader = try FileReader(path)
    let bytes = try reader.bytes(count: reader.size, at: 0)
    var lines: [Line] = []
    var kept: [UInt8] = []
    let texts = bytes.split(separator: 0x0a)
    for (index, text) in texts.enumerated() {
      guard let line = try? decode(Array(text), of: path) else {
        guard index == texts.count - 1, bytes.last != 0x0a else {
          throw FileError(
            .mismatched, "line \(index + 1) is none that this program wrote", at: path)
        }
        continue
      }
      guard isKept(line) else { continue }
      lines.append(line)
      kept += text
      kept.append(0x0a)
    }
    if kept != bytes { try AtomicFile.write(to: path) { try $0.append(kept) } }
    return (try JSONLinesFile(path), lines)
  }

  private static func decode(_ text: [UInt8], of path: String) throws -> Line {
    try TextCursor.checkJSONDepth(
      String(decoding: text, as: UTF8.self), limit: 16, of: path, part: "line")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Line.self, from: Data(text))
  }

  private init(_ path: String) throws { file = try AppendingFile(path) }

  /// Writes a line: keys in snake case and sorted; numbers that are not finite have no JSON and are to be
  /// left out by the caller.
  package func append(_ line: Line) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    try file.append([UInt8](try encoder.encode(line)) + [0x0a])
  }
}
