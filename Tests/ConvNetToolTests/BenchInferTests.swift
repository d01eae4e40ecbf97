import ConvNet
import Foundation
import Testing

@Suite struct BenchInferTests {
  static let bench = ["bench", "infer", "--seconds", "0", "--lanes", "2", "--json"]

  @Test func measuresANetwork() throws {
    let folder = try TemporaryFolder()
    let arguments = ["--network", "lenet", "--batch", "3", "--profile", folder.file("p.json")]
    let report = try Tool.succeed(Self.bench + arguments).object()
    #expect(
      Set(report.keys) == [
        "network", "batch", "median_ms", "min_ms", "p50_ms", "p99_ms", "runs", "lanes", "kernels",
        "peak_bytes", "resident_bytes", "weights_bytes", "gflops",
      ])
    #expect(report["runs"] as? Int == 5)
    #expect(report["lanes"] as? Int == 2)
    #expect(report["weights_bytes"] as? Int == (try Network.lenet.graph().trainableCount) * 4)
    let (shortest, median, longest) = (
      try #require(report["min_ms"] as? Double), try #require(report["p50_ms"] as? Double),
      try #require(report["p99_ms"] as? Double)
    )
    #expect(0 < shortest && shortest <= median && median <= longest)
    let resident = try #require(report["resident_bytes"] as? Int)
    #expect(resident > (report["peak_bytes"] as? Int ?? .max))

    let trace = try #require(
      try JSONSerialization.jsonObject(with: folder.read("p.json")) as? [String: Any])
    let events = try #require(trace["traceEvents"] as? [[String: Any]])
    #expect(events.allSatisfy { $0["ph"] as? String == "X" && $0["dur"] is Double })
    #expect(events.first?["name"] as? String == "convolution1")
    let first = try #require(events.first?["args"] as? [String: Any])
    #expect(Set(first.keys) == ["layer", "strategy", "pieces", "gflops", "bytes"])
  }

  @Test func measuresASavedModel() throws {
    let folder = try TemporaryFolder()
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 2)) {
      $0.convolution(4, kernel: 3, bias: false).batchNormalization().relu().globalAveragePooling()
    }
    try ModelFile.save(Model(initializing: graph, seed: 1), to: folder.file("m"))
    for extra in [[], ["--no-folding"], ["--exact"]] {
      let report = try Tool.succeed(Self.bench + ["--model", folder.file("m")] + extra).object()
      #expect(report["batch"] as? Int == 1)
      #expect(report["weights_bytes"] as? Int == 4 * (9 * 2 * 4 + 2 * 4))
    }
    let text = try Tool.succeed(Self.bench.dropLast() + ["--model", folder.file("m")]).output
    #expect(text.contains("GFLOP/s") && text.contains("resident at most"))
  }

  /// Fan-in 27: a bound of √(6/27), the variance of an even distribution a third of its square.
  @Test func weightsKeepTheVarianceOfActivations() throws {
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 3)) {
      $0.convolution(512, kernel: 3, name: "c").batchNormalization(name: "n")
    }
    let model = try Model(randomizing: graph)
    let weights = try #require(model.parameters["c.weight"]).doubles
    let bound = (6.0 / 27).squareRoot()
    #expect(weights.allSatisfy { abs($0) <= bound })
    let count = Double(weights.count)
    let mean = weights.reduce(0, +) / count
    let variance = weights.reduce(0) { $0 + $1 * $1 } / count
    // Four standard deviations: σ²/n of the mean, (μ₄ − σ⁴)/n = 4/5·σ⁴/n of the variance.
    #expect(abs(mean) <= 4 * (2 / 27 / count).squareRoot())
    #expect(abs(variance - 2 / 27) <= 4 * (2.0 / 27) * (0.8 / count).squareRoot())
    #expect(model.parameters["n.weight"] == Tensor(repeating: Float(1), shape: [512]))
    #expect(model.state["n.running_var"] == Tensor(repeating: Float(1), shape: [512]))
  }

  @Test func percentilesAreNearestRanks() {
    let timing = Timing(seconds: (1...200).map(Double.init).reversed())
    #expect(timing.percentile99 == 198)
    #expect(Timing(seconds: [3]).percentile99 == 3)
    #expect(Timing(seconds: [1, 2, 3, 4, 5]).percentile99 == 5)
  }
}
