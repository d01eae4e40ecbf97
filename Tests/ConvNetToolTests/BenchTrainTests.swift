import ConvNet
import Foundation
import Testing

@Suite struct BenchTrainTests {
  static let bench = ["bench", "train", "--seconds", "0", "--lanes", "2"]

  @Test func measuresSteps() throws {
    let folder = try TemporaryFolder()
    let arguments = ["--network", "lenet", "--batch", "3", "--profile", folder.file("p.json")]
    let report = try Tool.succeed(Self.bench + arguments + ["--json"]).object()
    #expect(
      Set(report.keys) == [
        "network", "batch", "batch_norm", "checkpointing", "median_ms", "min_ms", "p50_ms",
        "p99_ms", "runs", "lanes", "kernels", "peak_bytes", "resident_bytes", "parameters",
        "gflops",
      ])
    #expect(report["runs"] as? Int == 5 && report["batch_norm"] as? Bool == true)
    #expect(report["parameters"] as? Int == (try Network.lenet.graph().trainableCount))
    let resident = try #require(report["resident_bytes"] as? Int)
    #expect(resident > (report["peak_bytes"] as? Int ?? .max))

    let trace = try #require(
      try JSONSerialization.jsonObject(with: folder.read("p.json")) as? [String: Any])
    let events = try #require(trace["traceEvents"] as? [[String: Any]])
    let names = events.compactMap { $0["name"] as? String }
    for part in ["pack weights", "convolution1", "check gradients", "optimiser"] {
      #expect(names.contains(part), "\(part) in \(names)")
    }
    // Parts follow one another.
    let ends = events.map { ($0["ts"] as? Double ?? 0) + ($0["dur"] as? Double ?? 0) }
    #expect(ends == ends.sorted())
  }

  @Test func checkpointingNeedsLessMemory() throws {
    let arguments =
      Self.bench + ["--network", "mobilenet-v2", "--size", "64", "--batch", "8", "--classes", "3"]
    let plain = try Tool.succeed(arguments + ["--json"]).object()
    let less = try Tool.succeed(arguments + ["--checkpointing", "--json"]).object()
    #expect(plain["checkpointing"] as? Bool == false && less["checkpointing"] as? Bool == true)
    let bytes = try [less, plain].map { try #require($0["peak_bytes"] as? Int) }
    #expect(bytes[0] < bytes[1], "\(bytes)")
    #expect(try Tool.succeed(arguments + ["--checkpointing"]).output.contains("with checkpointing"))
  }

  @Test func networksWithoutBatchNorm() throws {
    let text = try Tool.succeed(
      Self.bench + ["--network", "fashion", "--batch", "2", "--classes", "3", "--no-batch-norm"]
    ).output
    #expect(text.contains("fashion without batch norm, batch 2") && text.contains("resident"))
    let graph = try Network.fashion.graph(classes: 3, batchNormalization: false)
    #expect(text.contains("\(graph.trainableCount) parameters"))
  }

  @Test func mistakesAreSentences() throws {
    for arguments in [
      ["--network", "none"], ["--network", "lenet", "--batch", "0"],
      ["--network", "lenet", "--classes", "0"],
      ["--network", "resnet50", "--batch", "60000"],
    ] {
      let outcome = try Tool.run(Self.bench + arguments)
      #expect(outcome.status != 0 && outcome.output.isEmpty, "\(arguments)")
      #expect(outcome.remarks.split(separator: "\n").count == 1, "\(outcome.remarks)")
    }
  }
}
