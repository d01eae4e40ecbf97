import ConvNetFormats
import Glibc

/// A folder that holds the last checkpoints of one training, and the best one.
///
/// Each is a file of its own, named after its step, that is complete on the disk before an older one is
/// removed; so that whatever happens, at any moment, the one before is there. One process at a time
/// writes into a folder.
public final class CheckpointFolder {
  /// The folder.
  public let path: String
  /// How many checkpoints stay besides the best.
  public let keep: Int
  /// The newest checkpoint that this process has written or read.
  public private(set) var newestPath: String?
  private let descriptor: Int32
  /// The best checkpoint that is on the disk: a newer one may be best and have met a full disk.
  private var best: Int?

  private static let (prefix, suffix) = ("checkpoint-", ".safetensors")

  /// Opens a folder, or makes it.
  ///
  /// - Throws: `FileError` where there is none and none can be made, or another process writes
  ///   checkpoints into it; `TrainingError` where `keep` is less than 1.
  public init(_ path: String, keep: Int = 3) throws {
    guard keep >= 1 else {
      throw TrainingError(.invalidOption, "\(keep) checkpoints are too few to be kept")
    }
    self.path = path
    self.keep = keep
    try makeFolder(path)
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure(path) }
    // The lock goes with the process, however that ends. Not every file system has locks.
    // A child process that is just being made holds it, too, until it is another program.
    var trials = 0
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      trials += 1
      guard trials > 50 else {
        throw FileError(.unwritable, "another process writes its checkpoints here", at: path)
      }
      usleep(10_000)
    }
    guard access(path, W_OK) == 0 else { throw Self.failure(path) }
    // What a process that was killed left half written; nobody else writes here.
    for name in try Self.names(in: path) where name.hasPrefix(".convnet-") && name.hasSuffix(".tmp")
    {
      unlink("\(path)/\(name)")
    }
  }

  /// Also where the initialiser throws with the folder open.
  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The steps of which there are checkpoints, in order.
  ///
  /// - Throws: `FileError` where the folder cannot be read.
  public func steps() throws -> [Int] {
    try Self.names(in: path).compactMap(Self.step).sorted()
  }

  /// The file of a step.
  public func path(ofStep step: Int) -> String {
    let digits = String(step)
    let zeros = String(repeating: "0", count: max(10 - digits.count, 0))
    return "\(path)/\(Self.prefix)\(zeros)\(digits)\(Self.suffix)"
  }

  /// Writes a checkpoint, then removes those that are not to be kept.
  ///
  /// - Parameters:
  ///   - step: its step; checkpoints of later ones are those of a course that was given up.
  ///   - best: the step of the best checkpoint.
  func save(_ file: CheckpointFile, step: Int, best: Int?) throws {
    let new = path(ofStep: step)
    try file.write(to: new)
    newestPath = new
    let steps = try steps()
    let kept = steps.filter { $0 <= step }.suffix(keep)
    if let best, steps.contains(best) { self.best = best }
    for old in steps where !kept.contains(old) && old != best && old != self.best {
      unlink(path(ofStep: old))
    }
  }

  /// Says which checkpoint is the best of a course that goes on.
  func keepBest(_ step: Int) { best = step }

  /// Reads the newest checkpoint that is not damaged.
  ///
  /// - Returns: it, and remarks about those that cannot; nil where there are no checkpoints.
  /// - Throws: the error of the newest where none can be read, or one is of another version.
  func newest<Contents>(
    _ read: (String) throws -> Contents
  ) throws -> (contents: Contents, path: String, remarks: [String])? {
    var remarks: [String] = []
    var first: (any Error)?
    for step in try steps().reversed() {
      let path = path(ofStep: step)
      do {
        let contents = try read(path)
        if !remarks.isEmpty { remarks.append("\(path) takes its place") }
        newestPath = path
        return (contents, path, remarks)
      } catch let error as FileError
        where [.malformed, .truncated, .mismatched, .missing].contains(error.code)
      {
        // What cannot be read for other reasons may be in order, and would be removed as given up.
        first = first ?? error
        remarks.append("\(error)")
      }
    }
    if let first { throw first }
    return nil
  }

  /// The step of a checkpoint's name.
  private static func step(_ name: String) -> Int? {
    guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
    let digits = name.dropFirst(prefix.count).dropLast(suffix.count)
    return digits.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(digits) : nil
  }

  private static func names(in path: String) throws -> [String] {
    guard let folder = opendir(path) else { throw failure(path) }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) { name in
          name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
    }
    return names
  }

  private static func failure(_ path: String) -> FileError {
    FileError(
      .unwritable, "the folder cannot be used: \(String(cString: strerror(errno)))", at: path)
  }
}
