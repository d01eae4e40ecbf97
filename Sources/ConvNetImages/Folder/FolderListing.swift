import ConvNetFormats
import Glibc

/// Names in folders as the file system has them, which are bytes and not always UTF-8.
enum FolderListing {
  /// Something in a folder.
  struct Entry {
    var name: [UInt8]
    /// What identifies a folder however it is reached; nil for a file.
    var folder: FolderID?
  }

  /// A folder of the file system.
  struct FolderID: Hashable {
    var device: UInt
    var number: UInt
  }

  /// Files and folders in a folder, sorted by the bytes of their names.
  ///
  /// Hidden ones, whose name begins with a point, are left out. Symbolic links are followed; one that leads
  /// nowhere counts as a file.
  ///
  /// - Throws: `FileError` where the folder cannot be read.
  static func entries(_ path: [UInt8]) throws -> [Entry] {
    guard let folder = unsafe withCPath(path, { unsafe opendir($0) }) else {
      throw failure(errno, at: path)
    }
    defer { unsafe closedir(folder) }
    var entries: [Entry] = []
    errno = 0
    while let found = unsafe readdir(folder) {
      let name = unsafe name(found)
      let isFile = unsafe Int(found.pointee.d_type) == DT_REG
      if name.first != UInt8(ascii: ".") {
        let id = isFile ? nil : folderID(path + [UInt8(ascii: "/")] + name)
        entries.append(Entry(name: name, folder: id))
      }
      errno = 0
    }
    if errno != 0 { throw failure(errno, at: path) }
    return entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  /// The name alone: the whole structure may be longer than what the system has put there.
  private static func name(_ entry: UnsafeMutablePointer<dirent>) -> [UInt8] {
    guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return [] }
    let name = unsafe UnsafeRawPointer(entry) + offset
    let length = unsafe strlen(name.assumingMemoryBound(to: CChar.self))
    return unsafe Array(UnsafeRawBufferPointer(start: name, count: length))
  }

  /// The folder at a path, behind links; nil where there is none.
  static func folderID(_ path: [UInt8]) -> FolderID? {
    var status = stat()
    guard unsafe withCPath(path, { unsafe stat($0, &status) }) == 0,
      status.st_mode & S_IFMT == S_IFDIR
    else { return nil }
    return FolderID(device: UInt(status.st_dev), number: UInt(status.st_ino))
  }

  /// A path as a message shows it.
  static func shown(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }

  private static func failure(_ number: Int32, at path: [UInt8]) -> FileError {
    let shown = shown(path)
    switch number {
    case ENOENT: return FileError(.missing, "there is no such folder", at: shown)
    case ENOTDIR: return FileError(.unreadable, "this is a file, not a folder", at: shown)
    case EACCES, EPERM:
      return FileError(.unreadable, "the folder cannot be read, access is not permitted", at: shown)
    default:
      let reason = unsafe String(cString: strerror(number))
      return FileError(.unreadable, "the folder cannot be read, \(reason)", at: shown)
    }
  }

  /// Calls a closure with a path as C has it.
  static func withCPath<Result>(
    _ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result
  ) -> Result {
    let terminated = path.map { CChar(bitPattern: $0) } + [0]
    return unsafe terminated.withUnsafeBufferPointer { buffer in
      // The array has its terminator at least.
      guard let start = buffer.baseAddress else { fatalError("A path has no bytes.") }
      return unsafe body(start)
    }
  }
}
