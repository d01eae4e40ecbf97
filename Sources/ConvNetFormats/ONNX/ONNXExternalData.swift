import Glibc

/// Where a tensor's data lie in a file beside the model (TensorProto.external_data).
package struct ONNXExternalData: Sendable, Hashable {
  /// The model's file.
  package let model: String
  /// The data's file, relative to the model's folder.
  package let location: String
  /// The data's bytes in it.
  package let range: Range<Int>

  /// Reads and checks the entries of a tensor whose data take a number of bytes.
  init(_ entries: [String: String], model: String, byteCount: Int) throws {
    self.model = model
    guard let location = entries["location"], !location.isEmpty else {
      throw FileError(.malformed, "the external data lack a location", at: model)
    }
    self.location = location
    let offset = try Self.number("offset", entries, model) ?? 0
    if let length = try Self.number("length", entries, model), length != byteCount {
      throw FileError(
        .malformed, "the data take \(byteCount) bytes and the external ones are \(length)",
        at: model)
    }
    let (end, overflow) = offset.addingReportingOverflow(byteCount)
    guard !overflow else {
      throw FileError(.malformed, "the external data begin at \(offset)", at: model)
    }
    range = offset..<end
    _ = try open()
  }

  /// The entry of a name as a number; nil where there is none.
  private static func number(
    _ key: String, _ entries: [String: String], _ model: String
  ) throws -> Int? {
    guard let text = entries[key] else { return nil }
    guard let number = Int(text), number >= 0 else {
      throw FileError(
        .malformed, "the external data have the \(key) \(FileError.quoted(text))", at: model)
    }
    return number
  }

  /// Opens the file, which has to be inside the model's folder, links resolved, and long enough.
  ///
  /// It is opened for each tensor anew: some writers give every tensor a file of its own, and a
  /// process may have only so many open.
  func open() throws -> FileReader {
    let parts = location.split(separator: "/", omittingEmptySubsequences: false)
    guard location.utf8.first != 0x2f, !parts.contains(".."), !location.utf8.contains(0) else {
      throw outside()
    }
    let slash = model.lastIndex(of: "/")
    let folder = try resolve(slash.map { String(model[...$0]) } ?? "./")
    let path = try resolve("\(folder)/\(location)")
    guard path.hasPrefix(folder == "/" ? folder : folder + "/") else { throw outside() }
    let file = try FileReader(path)
    guard range.upperBound <= file.size else {
      throw FileError(
        .truncated,
        "the external file \(FileError.quoted(location)) has \(file.size) bytes and the data end "
          + "at \(range.upperBound)", at: model)
    }
    return file
  }

  private func outside() -> FileError {
    FileError(
      .malformed,
      "the external file \(FileError.quoted(location)) is not inside the model's folder", at: model)
  }

  /// A path without links.
  private func resolve(_ path: String) throws -> String {
    guard let resolved = unsafe realpath(path, nil) else {
      let reason = SystemCall.Failure(number: errno).reason
      throw FileError(
        errno == ENOENT ? .missing : .unreadable,
        "the external file \(FileError.quoted(location)) cannot be opened, \(reason)", at: model)
    }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }
}
