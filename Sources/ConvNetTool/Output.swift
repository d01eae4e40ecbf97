import FoundationEssentials
import Glibc

/// What the tool writes: results to standard output, remarks to standard error.
enum Output {
  /// A line of results.
  ///
  /// - Throws: `ToolError` where standard output cannot be written, as on a full disk.
  static func line(_ text: String = "") throws {
    guard write(text + "\n", to: STDOUT_FILENO) else {
      throw ToolError("standard output cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  /// A line beside the results; that it cannot be written changes nothing.
  static func remark(_ text: String) {
    _ = write("convnet: \(text)\n", to: STDERR_FILENO)
  }

  /// Finds out before long work that its result could not be saved.
  ///
  /// - Throws: `ToolError` where there is no such folder, or nothing can be written in it.
  static func checkFolder(of path: String) throws {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    guard access(folder, W_OK) == 0 else {
      throw ToolError("\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  /// Wipes a progress bar off the terminal, for a line that takes its place.
  static func clearBar() {
    if isatty(STDERR_FILENO) == 1 { _ = write("\r\u{1B}[K", to: STDERR_FILENO) }
  }

  /// One value as JSON: on a line of its own, or spread over several for people.
  static func json(_ value: some Encodable, isCompact: Bool = false) throws {
    let encoder = encoder(isCompact: isCompact)
    try line(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Writes names in snake case, in order, and numbers that are none as text.
  static func encoder(isCompact: Bool = false) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if !isCompact { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return encoder
  }

  /// Rows in columns, the first ones to the left and those in `right` to the right.
  static func table(_ rows: [[String]], right: Set<Int> = []) throws {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
      rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    for row in rows {
      let cells = row.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return right.contains(column) ? space + text : text + space
      }
      var text = cells.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      try line(text)
    }
  }

  private static func write(_ text: String, to descriptor: Int32) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { return false }
      rest = rest.dropFirst(written)
    }
    return true
  }
}
