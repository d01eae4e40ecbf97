import ConvNet
import Foundation
import Testing

/// `recalibrate`, `inspect --batch-norm` and `inspect --folding`, and folding in `run` and `evaluate`.
@Suite struct BatchNormalizationCommandTests {
  /// A model after three steps: far too few for its running statistics.
  private func trained(_ folder: TemporaryFolder) throws -> String {
    try folder.writeDataset()
    let model = folder.file("m")
    _ = try Tool.succeed([
      "train", "--data", folder.path, "--network", "fashion", "--epochs", "1", "--batch-size",
      "16", "--save", model,
    ])
    return model
  }

  private func layers(_ outcome: Tool.Outcome) throws -> [[String: Any]] {
    try #require(try outcome.object()["batch_norm"] as? [[String: Any]])
  }

  private func findings(_ layer: [String: Any]) throws -> [[String: Any]] {
    let diagnosis = try #require(layer["diagnosis"] as? [String: Any])
    return try #require(diagnosis["findings"] as? [[String: Any]])
  }

  @Test func diagnosisThenRecalibration() throws {
    let folder = try TemporaryFolder()
    let model = try trained(folder)
    let inspect = ["inspect", model, "--batch-norm", "--data", folder.path]
    let before = try layers(Tool.succeed(inspect + ["--json"]))
    #expect(before.count == 5)
    #expect(before[0]["decay"] as? String == "keepOld(0.9)")
    #expect(before[0]["update_count"] as? Int == 3)
    let command = "convnet recalibrate \(model) --data \(folder.path)"
    let found = try findings(before[1])
    #expect(found.first?["kind"] as? String == "tooFewUpdates")
    #expect(found.first?["command"] as? String == command)
    let text = try Tool.succeed(inspect).output
    for part in ["initial values", command, "mean off by", "unbiased"] {
      #expect(text.contains(part), "\(text)")
    }

    // A command is to be pasted into a shell.
    let spaced = folder.file("it's m")
    try folder.write([UInt8](folder.read("m")), to: "it's m")
    #expect(
      try Tool.succeed(["inspect", spaced] + inspect.dropFirst(2)).output.contains(
        "convnet recalibrate '\(folder.path)/it'\\''s m' --data \(folder.path)"))

    let original = try folder.read("m")
    let recalibrate = ["recalibrate", model, "--data", folder.path, "--batch-size", "48"]
    let other = folder.file("other")
    let result = try Tool.succeed(recalibrate + ["--output", other, "--json"]).object()
    #expect(result["samples"] as? Int == 48)
    #expect(result["saved"] as? String == other)
    let moved = try #require(result["layers"] as? [[String: Any]])
    #expect(moved.count == 5)
    #expect(moved.allSatisfy { $0["mean_change"] as? Double ?? 0 > 0 })
    #expect(try folder.read("m") == original)

    // Without --output over the model, the same bytes for any number of lanes.
    #expect(
      try Tool.succeed(recalibrate + ["--lanes", "1"]).output.contains("mean moved by"))
    #expect(try folder.read("m") == folder.read("other"))
    let after = try layers(Tool.succeed(inspect + ["--json"]))
    for layer in after {
      #expect(try findings(layer).allSatisfy { $0["kind"] as? String != "tooFewUpdates" })
      let diagnosis = try #require(layer["diagnosis"] as? [String: Any])
      #expect(try #require(diagnosis["mean_divergence"] as? Double) < 1e-5)
    }
  }

  @Test func frozenLayers() throws {
    let folder = try TemporaryFolder()
    let model = try trained(folder)
    let frozen = try ModelFile.load(model).freezingBatchNormalization()
    try ModelFile.save(frozen, to: model)
    let original = try folder.read("m")
    #expect(try Tool.succeed(["inspect", model]).output.contains("frozen"))
    let inspect = ["inspect", model, "--batch-norm", "--json", "--data", folder.path]
    let layers = try layers(Tool.succeed(inspect))
    #expect(layers.allSatisfy { $0["frozen"] as? Bool == true })
    let commands = try layers.flatMap(findings).compactMap { $0["command"] as? String }
    #expect(commands.contains { $0.hasSuffix("--including-frozen") })

    let recalibrate = ["recalibrate", model, "--data", folder.path]
    let refused = try Tool.run(recalibrate)
    #expect(refused.status != 0 && refused.output.isEmpty)
    #expect(refused.remarks.contains("--including-frozen"), "\(refused.remarks)")
    #expect(try folder.read("m") == original)
    _ = try Tool.succeed(recalibrate + ["--including-frozen"])
    let recalibrated = try ModelFile.load(model)
    #expect(recalibrated.graph == frozen.graph)
    #expect(recalibrated.parameters == frozen.parameters)
    #expect(recalibrated.state != frozen.state)
  }

  @Test func folding() throws {
    let folder = try TemporaryFolder()
    let model = try trained(folder)
    for more in [[], ["--data", folder.path, "--batch", "4"]] {
      let report = try Tool.succeed(["inspect", model, "--folding", "--json"] + more).object()
      let folding = try #require(report["folding"] as? [String: Any])
      let folded = try #require(folding["folded"] as? [[String: Any]])
      #expect(folded.count == 5)
      #expect((folding["kept"] as? [Any])?.isEmpty == true)
      for fold in folded {
        // At most five layers, each of at most 576 terms.
        let drift = try #require(fold["relative"] as? Double)
        #expect(drift <= 5 * 576 * Double(Float.ulpOfOne), "\(fold)")
      }
    }
    #expect(
      try Tool.succeed(["inspect", model, "--folding"]).output.contains("largest drift"))
    let plan = ["inspect", model, "--plan"]
    #expect(try Tool.succeed(plan).output.contains("is folded into convolution1"))
    let unfolded = try Tool.succeed(plan + ["--no-folding"]).output
    #expect(!unfolded.contains("folded") && unfolded.contains("batchNormalization1 ["))
  }

  /// Folded and unfolded runs differ by rounding; the reference never folds.
  @Test func runFoldedAndUnfolded() throws {
    let folder = try TemporaryFolder()
    let model = try trained(folder)
    let values = (0..<2 * 64).map { Float($0 % 11) / 4 - 1 }
    try NpyFile.write(Tensor(values, shape: [2, 8, 8, 1]), to: folder.file("x.npy"))
    let results = try [[], ["--no-folding"], ["--executor", "reference"]].map { more in
      _ = try Tool.succeed(
        ["run", model, "--input", folder.file("x.npy"), "--output", folder.file("y.npy")] + more)
      return try NpyFile.read(folder.file("y.npy")).doubles
    }
    let largest = results[2].map(abs).max() ?? 0
    let bound = 6 * 576 * Double(Float.ulpOfOne) * max(largest, 1)
    for result in results[..<2] {
      for (a, b) in zip(result, results[2]) { #expect(abs(a - b) <= bound, "\(a), \(b)") }
    }
    #expect(results[0] != results[1])
  }

  @Test func mistakes() throws {
    let folder = try TemporaryFolder()
    let model = try trained(folder)
    let original = try folder.read("m")
    let data = ["--data", folder.path]
    let cases: [([String], String)] = [
      (["inspect", model] + data, "--batch-norm or --folding"),
      (["inspect", model, "--batch", "0"], "--batch must be at least 1"),
      (["inspect", model, "--batch-norm", "--samples", "0"] + data, "--samples"),
      (["recalibrate", model, "--samples", "-1"] + data, "--samples must be at least 1, not -1"),
      (["recalibrate", model, "--batch-size", "0"] + data, "0"),
      (["recalibrate", model, "--output", "/nonexistent/m"] + data, "/nonexistent/m"),
      (["recalibrate", folder.file("none")] + data, folder.file("none")),
    ]
    for (arguments, fragment) in cases {
      let outcome = try Tool.run(arguments)
      #expect(outcome.status != 0 && outcome.output.isEmpty, "\(arguments)")
      #expect(outcome.remarks.split(separator: "\n").count == 1, "\(outcome.remarks)")
      #expect(outcome.remarks.contains(fragment), "\(outcome.remarks)")
    }
    _ = try Tool.succeed(
      [
        "train", "--network", "fashion", "--epochs", "1", "--batch-size", "16", "--save",
        folder.file("bare"), "--no-batch-norm",
      ] + data)
    let outcome = try Tool.run(["recalibrate", folder.file("bare")] + data)
    #expect(outcome.status != 0 && outcome.remarks.contains("no batch norm"))
    #expect(try folder.read("m") == original)
  }
}
