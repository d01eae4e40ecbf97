import ArgumentParser
import ConvNet
import FoundationEssentials

/// What benchmarks of whole networks have in common.
struct NetworkRunOptions: ParsableArguments {
  @Option(
    parsing: .unconditional, help: "Height and width of images; the network's own by default.")
  var size: Int?
  @Option(parsing: .unconditional, help: "Seconds to measure, at least.") var seconds = 2.0
  @Option(help: "Where to write how long each step takes, as JSON.") var profile: String?

  /// Refuses mistakes before long work.
  func check(batch: Int) throws {
    guard (0...3600).contains(seconds) else {
      throw ToolError("--seconds takes a number from 0 to 3600, not \(seconds)")
    }
    guard (1...65536).contains(batch) else {
      throw ToolError("--batch takes a number from 1 to 65536, not \(batch)")
    }
    if let profile { try Output.checkFolder(of: profile) }
  }

  /// Writes a profile where one is wanted.
  func write(_ take: () throws -> [Plan.StepTiming]) throws {
    if let profile { try Trace(take()).write(to: profile) }
  }
}

/// A number of bytes for people.
func mebibytes(_ bytes: Int) -> String { "\(decimal(Double(bytes) / 0x1p20, 1)) MiB" }

/// Steps of a run in the trace-event format: complete events, times in microseconds.
struct Trace: Encodable {
  struct Event: Encodable {
    var name: String
    var cat: String
    var ph = "X"
    var ts: Double
    var dur: Double
    var pid = 1
    var tid = 1
    var args: Arguments
  }

  struct Arguments: Encodable {
    var layer: String
    var strategy: String?
    var pieces: Int
    var gflops: Double?
    var bytes: Int
  }

  var traceEvents: [Event]
  var displayTimeUnit = "ms"

  init(_ steps: [Plan.StepTiming]) {
    traceEvents = steps.map { step in
      Event(
        name: step.name, cat: step.kind, ts: step.start * 1e6, dur: step.seconds * 1e6,
        args: Arguments(
          layer: step.layer, strategy: step.strategy, pieces: step.pieces,
          gflops: step.operationCount > 0 ? step.gigaflops : nil, bytes: step.byteCount))
    }
  }

  func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let data = try encoder.encode(self)
    try AtomicFile.write(to: path) { file in
      try data.withUnsafeBytes { bytes in try file.append(bytes) }
    }
  }
}
