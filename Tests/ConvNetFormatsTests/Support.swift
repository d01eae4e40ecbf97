import CConvNetZlib
import ConvNetFormats
import ConvNetGraph
import FoundationEssentials
import Glibc
import Testing

/// A folder that exists while a closure runs.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let files = FileManager.default
  let folder = files.temporaryDirectory.appendingPathComponent("convnet-\(UUID().uuidString)").path
  try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? files.removeItem(atPath: folder) }
  return try body(folder)
}

func bytes(of path: String) throws -> [UInt8] {
  [UInt8](try #require(FileManager.default.contents(atPath: path), "\(path) cannot be read"))
}

func write(_ bytes: [UInt8], to path: String) throws {
  // A file that is overwritten waits for the disk (ext4), a new one does not: 5 ms against 0.1.
  _ = unlink(path)
  try #require(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
}

/// The names in a folder: a temporary file left behind would be among them.
func names(in folder: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
}

func gzip(_ bytes: [UInt8], to path: String) throws {
  let file = try #require(gzopen(path, "wb"))
  let written = bytes.isEmpty ? 0 : gzwrite(file, bytes, UInt32(bytes.count))
  try #require(written == Int32(bytes.count))
  try #require(gzclose(file) == Z_OK)
}

/// An IDX file of bytes.
func idx(type: UInt8 = 8, _ extents: [Int], _ data: [UInt8]) -> [UInt8] {
  [0, 0, type, UInt8(extents.count)]
    + extents.flatMap { extent in
      stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: extent >> $0) }
    } + data
}

/// One tensor of every element type, with values whose bits matter.
func samples() -> [String: Tensor] {
  [
    "float32": Tensor(
      [0, -0.0, 1.5, .infinity, .nan, .leastNonzeroMagnitude] as [Float], shape: [2, 3]),
    "float64": Tensor([.pi, -.infinity, .leastNonzeroMagnitude, .nan] as [Double], shape: [4]),
    "int64": Tensor([.min, .max, -1] as [Int64], shape: [3, 1]),
    "int32": Tensor([.min, .max] as [Int32], shape: [1, 2]),
    "uint8": Tensor((0...255).map(UInt8.init), shape: [16, 16]),
    "bool": Tensor([true, false, true], shape: [3]),
    "scalar": Tensor(scalar: Int64(42)),
    "empty": Tensor([] as [Float], shape: [0, 7]),
  ]
}

/// A small generator with a seed, so that a failure can be repeated.
struct Lehmer: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state ^ state >> 33
  }
}

/// Expects a `FileError` whose sentence contains a text.
func expectError(
  _ code: FileError.Code, _ text: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("nothing was thrown, expected “\(text)”", sourceLocation: sourceLocation)
  } catch let error as FileError {
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    #expect(
      text.isEmpty || error.description.contains(text), "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record("not a FileError: \(error)", sourceLocation: sourceLocation)
  }
}

/// Shortens a file to every length, which must be refused, and changes bytes of it with a fixed
/// seed, which must be refused or read, and never trap.
func damage(
  _ original: [UInt8], flips: Int = 2000, in folder: String, _ read: (String) throws -> Void
) throws {
  let path = folder + "/damaged"
  try write(original, to: path)
  try read(path)
  for length in 0..<original.count {
    try write(Array(original[..<length]), to: path)
    do {
      try read(path)
      Issue.record("read without its last \(original.count - length) bytes")
    } catch is FileError {
    } catch {
      Issue.record("length \(length): not a FileError: \(error)")
    }
  }
  for seed in 1...UInt64(flips) {
    var random = Lehmer(seed: seed)
    var changed = original
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      let index = Int.random(in: 0..<changed.count, using: &random)
      changed[index] = UInt8.random(in: .min ... .max, using: &random)
    }
    try write(changed, to: path)
    do { try read(path) } catch is FileError {
    } catch { Issue.record("seed \(seed): not a FileError: \(error)") }
  }
}
