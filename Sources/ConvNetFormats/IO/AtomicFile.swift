import Glibc

/// Writes a file so that others see the previous one or the whole new one, never a part.
///
/// The bytes go into a temporary file of the same folder, are forced to the disk, and the temporary
/// takes the path by `rename`, which POSIX makes atomic. Whatever fails, the temporary is removed
/// and the previous file is as it was.
package struct AtomicFile: ~Copyable {
  private let path: String
  private let descriptor: Int32

  /// Creates or replaces a file with what a closure writes, with mode 0644 less the umask.
  ///
  /// A symbolic link stays, its target is replaced. What is not a regular file is refused: a device
  /// would be replaced by a file.
  package static func write(
    to path: String, _ body: (borrowing AtomicFile) throws -> Void
  ) throws {
    let target = try resolve(path)
    let slash = target.lastIndex(of: "/")
    let folder = slash.map { String(target[...$0]) } ?? "./"
    let (temporary, descriptor) = try createTemporary(in: folder, for: path)
    var isOpen = true
    do {
      try body(AtomicFile(path: path, descriptor: descriptor))
      try check(fsync(descriptor), path)
      isOpen = false
      try check(close(descriptor), path)
      try check(unsafe rename(temporary, target), path)
    } catch {
      if isOpen { close(descriptor) }
      unsafe unlink(temporary)
      throw error
    }
    try synchronize(folder: folder, for: path)
  }

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  /// Writes all bytes of a buffer.
  package borrowing func append(_ buffer: UnsafeRawBufferPointer) throws {
    var done = 0
    while done < buffer.count {
      let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
      let result = SystemCall.retrying {
        unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
      }
      done += try result.mapError { $0.writing(path) }.get()
    }
  }

  /// Writes all bytes of an array.
  package borrowing func append(_ bytes: [UInt8]) throws {
    try unsafe bytes.withUnsafeBytes { try unsafe append($0) }
  }

  /// The file to replace: behind links, regular or not there yet.
  private static func resolve(_ path: String) throws -> String {
    try SystemCall.check(path)
    guard path.last != "/" else {
      throw FileError(.unwritable, "cannot be written, this is a folder, not a file", at: path)
    }
    guard let resolved = unsafe realpath(path, nil) else {
      if errno == ENOENT { return path }
      throw SystemCall.Failure(number: errno).writing(path)
    }
    defer { unsafe free(resolved) }
    var status = stat()
    guard unsafe stat(resolved, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw FileError(.unwritable, "cannot be written, this is not a regular file", at: path)
    }
    return unsafe String(cString: resolved)
  }

  /// A new file that nobody else has, in the folder of the target.
  private static func createTemporary(
    in folder: String, for path: String
  ) throws -> (name: String, descriptor: Int32) {
    var last = SystemCall.Failure(number: EEXIST)
    for _ in 0..<16 {
      let number = UInt64.random(in: .min ... .max)
      let name = "\(folder).convnet-\(String(number, radix: 36)).tmp"
      let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
      switch SystemCall.retrying({ Int(unsafe open(name, flags, 0o644)) }) {
      case .success(let descriptor): return (name, Int32(descriptor))
      case .failure(let failure): last = failure
      }
      if last.number != EEXIST { break }
    }
    throw last.writing(path)
  }

  private static func check(_ result: Int32, _ path: String) throws {
    if result != 0 { throw SystemCall.Failure(number: errno).writing(path) }
  }

  /// Forces the new name to the disk, where the file system and the rights on the folder allow it.
  private static func synchronize(folder: String, for path: String) throws {
    let descriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    if fsync(descriptor) != 0, errno == EIO {
      throw SystemCall.Failure(number: errno).writing(path)
    }
  }
}
