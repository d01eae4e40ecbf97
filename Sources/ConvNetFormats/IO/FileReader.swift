import Glibc

/// A regular file, open for reading at any offset.
///
/// Nothing is mapped: a mapping of a file that somebody shortens ends the process. Reads by `pread`
/// share no position, so that one reader serves several threads.
package final class FileReader: Sendable {
  /// The path it was opened by.
  package let path: String
  /// The file's size when it was opened, in bytes.
  package let size: Int
  private let descriptor: Int32

  /// Opens a file.
  package convenience init(_ path: String) throws {
    try SystemCall.check(path)
    try self.init(Array(path.utf8), named: path)
  }

  /// Opens a file whose path is bytes, as the file system has it, under a name for messages.
  package init(_ bytes: [UInt8], named path: String) throws {
    let bytes = bytes.map { CChar(bitPattern: $0) } + [0]
    // Not blocking: a pipe nobody writes to would keep us here before fstat can refuse it.
    let opened = SystemCall.retrying { Int(unsafe open(bytes, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) }
    let descriptor = Int32(try opened.mapError { $0.reading(path) }.get())
    var status = stat()
    let result = unsafe fstat(descriptor, &status)
    guard result == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      let folder = result == 0 && status.st_mode & S_IFMT == S_IFDIR
      throw FileError(
        .unreadable, "this is \(folder ? "a folder, not a file" : "not a regular file")", at: path)
    }
    self.path = path
    self.descriptor = descriptor
    size = Int(status.st_size)
  }

  deinit {
    close(descriptor)
  }

  /// Reads what is there at an offset, at most as much as the buffer holds; 0 at the end.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws -> Int {
    guard buffer.count > 0 else { return 0 }
    let result = SystemCall.retrying {
      unsafe pread(descriptor, buffer.baseAddress, buffer.count, offset)
    }
    return try result.mapError { $0.reading(path) }.get()
  }

  /// Fills a buffer from an offset.
  package func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = unsafe try read(into: rest, at: offset + done)
      guard count > 0 else {
        throw FileError(.truncated, "the file ends before its data", at: path)
      }
      done += count
    }
  }

  /// Reads bytes that the caller knows to lie in the file.
  package func bytes(count: Int, at offset: Int) throws -> [UInt8] {
    guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
      throw FileError(.truncated, "the file ends before its header", at: path)
    }
    var bytes = [UInt8](repeating: 0, count: count)
    try unsafe bytes.withUnsafeMutableBytes { try unsafe fill($0, at: offset) }
    return bytes
  }
}
