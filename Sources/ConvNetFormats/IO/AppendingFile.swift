import Glibc

/// A file that grows at its end: a log.
///
/// What one call appends is there as a whole or, where it cannot be written, not at all, so that a
/// disk which was full for a while leaves no half record in the middle.
package final class AppendingFile {
  /// The path it was opened by.
  package let path: String
  private let descriptor: Int32
  private var size: Int

  /// Opens a file, or makes it, with mode 0644 less the umask.
  ///
  /// - Parameter isNew: refuses a file that is there already.
  /// - Throws: `FileError` where it cannot be opened or is not a regular file.
  package init(_ path: String, isNew: Bool = false) throws {
    try SystemCall.check(path)
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | (isNew ? O_EXCL : 0)
    let opened = SystemCall.retrying { Int(unsafe open(path, flags, 0o644)) }
    let descriptor = Int32(try opened.mapError { $0.writing(path) }.get())
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw FileError(.unwritable, "cannot be written, this is not a regular file", at: path)
    }
    self.path = path
    self.descriptor = descriptor
    size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Writes bytes at the end; others who read the file see them afterwards.
  package func append(_ bytes: [UInt8]) throws {
    var done = 0
    while done < bytes.count {
      let result = unsafe bytes.withUnsafeBytes { buffer in
        SystemCall.retrying {
          unsafe Glibc.write(descriptor, buffer.baseAddress?.advanced(by: done), bytes.count - done)
        }
      }
      switch result {
      case .success(let count): done += count
      case .failure(let failure):
        ftruncate(descriptor, size)
        throw failure.writing(path)
      }
    }
    size += done
  }
}

/// Makes a folder and those it lies in, where they are not there yet.
package func makeFolder(_ path: String) throws {
  try SystemCall.check(path)
  let ends = path.indices.filter { $0 > path.startIndex && path[$0] == "/" } + [path.endIndex]
  for end in ends {
    let part = String(path[..<end])
    if unsafe mkdir(part, 0o755) == 0 || errno == EEXIST { continue }
    throw SystemCall.Failure(number: errno).writing(part)
  }
  var status = stat()
  guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
    throw FileError(.unwritable, "cannot be written, this is not a folder", at: path)
  }
}
