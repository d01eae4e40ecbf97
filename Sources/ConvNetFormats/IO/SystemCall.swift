import Glibc

/// The few conventions that all POSIX calls of this module share.
enum SystemCall {
  /// Refuses paths that C would cut short.
  static func check(_ path: String) throws {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw FileError(
        .missing, "a path is neither empty nor holds a zero byte", at: FileError.quoted(path))
    }
  }

  /// Whether there is something at a path.
  static func exists(_ path: String) -> Bool {
    unsafe access(path, F_OK) == 0
  }

  /// Calls again while a signal interrupts; the call's error number where it fails.
  static func retrying(_ call: () -> Int) -> Result<Int, Failure> {
    while true {
      let result = call()
      if result >= 0 { return .success(result) }
      let number = errno
      if number != EINTR { return .failure(Failure(number: number)) }
    }
  }

  /// An error number with its sentence.
  struct Failure: Error {
    let number: Int32

    var reason: String {
      switch number {
      case ENOENT: "there is no such file or folder"
      case EACCES, EPERM: "access is not permitted"
      case ENOSPC: "the disk is full"
      case EDQUOT: "the disk quota is used up"
      case EFBIG: "the file would pass the size limit of the system or the user"
      case EROFS: "the file system is read-only"
      case EISDIR: "this is a folder, not a file"
      case ENOTDIR: "a part of the path is not a folder"
      default: unsafe String(cString: strerror(number))
      }
    }

    /// The error of a call that was to read.
    func reading(_ path: String) -> FileError {
      FileError(number == ENOENT ? .missing : .unreadable, reason, at: path)
    }

    /// The error of a call that was to write.
    func writing(_ path: String) -> FileError {
      FileError(.unwritable, "cannot be written, \(reason)", at: path)
    }
  }
}
