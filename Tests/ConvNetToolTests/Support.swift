import ConvNet
import Foundation
import Testing

/// The tool as users have it: the program that was built beside the tests, in a process of its own.
enum Tool {
  struct Outcome {
    var status: Int32
    var output: String
    var remarks: String

    /// The lines of JSON, each an object.
    func objects() throws -> [[String: Any]] {
      try output.split(separator: "\n").map { line in
        try #require(
          try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
      }
    }

    /// The one object that the output is.
    func object() throws -> [String: Any] {
      try #require(
        try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output)")
    }
  }

  static let path: String = {
    let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    return tests.deletingLastPathComponent().appending(path: "convnet").path
  }()

  /// Runs the tool.
  ///
  /// - Parameter limit: the largest file it may write, in blocks of the shell.
  static func run(_ arguments: [String], limit: Int? = nil) throws -> Outcome {
    let process = Process()
    let (output, remarks) = (Pipe(), Pipe())
    process.executableURL = URL(filePath: "/bin/sh")
    let first = limit.map { "ulimit -f \($0); " } ?? ""
    process.arguments = ["-c", first + "exec \"$0\" \"$@\"", path] + arguments
    process.environment = ProcessInfo.processInfo.environment.filter {
      $0.key != "OPENBLAS_CORETYPE"
    }
    process.standardOutput = output
    process.standardError = remarks
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let errors = remarks.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      remarks: String(decoding: errors, as: UTF8.self))
  }

  /// Runs the tool and expects it to succeed.
  static func succeed(
    _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Outcome {
    let outcome = try run(arguments)
    try #require(
      outcome.status == 0, "\(arguments): \(outcome.remarks)", sourceLocation: sourceLocation)
    return outcome
  }
}

/// A folder that is gone when its test ends.
final class TemporaryFolder {
  let path: String

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "convnet-\(UInt64.random(in: 0 ... .max))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  func write(_ bytes: [UInt8], to name: String) throws {
    try Data(bytes).write(to: URL(filePath: file(name)))
  }

  func read(_ name: String) throws -> Data { try Data(contentsOf: URL(filePath: file(name))) }

  /// The four files of the MNIST family, with images of three kinds of stripes.
  func writeDataset(size: Int = 8, train: Int = 48, test: Int = 12) throws {
    for (part, count) in [("train", train), ("t10k", test)] {
      let (images, labels) = Stripes.make(count: count, size: size)
      let header = [UInt8](repeating: 0, count: 2)
      try write(
        header + [8, 3] + [count, size, size].flatMap(Self.bigEndian) + images,
        to: "\(part)-images-idx3-ubyte")
      try write(
        header + [8, 1] + Self.bigEndian(count) + labels.map(UInt8.init),
        to: "\(part)-labels-idx1-ubyte")
    }
  }

  private static func bigEndian(_ number: Int) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
  }
}

/// Images that are easy to tell apart: stripes across, stripes along, and squares.
enum Stripes {
  static func make(count: Int, size: Int) -> (images: [UInt8], labels: [Int64]) {
    let labels = (0..<count).map { Int64($0 % 3) }
    let images = (0..<count).flatMap { image in
      (0..<size * size).map { pixel -> UInt8 in
        let (row, column) = (pixel / size, pixel % size)
        let isLit = [row % 2 == 0, column % 2 == 0, (row / 2 + column / 2) % 2 == 0][image % 3]
        return (isLit ? 200 : 20) + UInt8((image * 7 + pixel * 3) % 32)
      }
    }
    return (images, labels)
  }

  static func data(count: Int, size: Int, classes: Int) throws -> TrainingData {
    let (images, labels) = make(count: count, size: size)
    return try TrainingData(
      images: Tensor(images, shape: [count, size, size, 1]), labels: labels, classCount: classes)
  }
}
