import ConvNet
import Foundation
import Testing

/// The commands on small data, from training to running what was saved.
@Suite struct CommandTests {
  private func train(
    _ folder: TemporaryFolder, save: String, _ more: [String] = []
  ) throws -> Tool.Outcome {
    try Tool.succeed(
      [
        "train", "--data", folder.path, "--network", "fashion", "--epochs", "2", "--batch-size",
        "8",
        "--json", "--save", folder.file(save),
      ] + more)
  }

  @Test func help() throws {
    let outcome = try Tool.succeed(["--help"])
    for command in [
      "doctor", "train", "evaluate", "run", "inspect", "convert", "recalibrate", "bench",
    ] {
      #expect(outcome.output.contains("  \(command) "), "\(outcome.output)")
    }
    #expect(outcome.remarks.isEmpty)
    #expect(try Tool.succeed(["help", "train"]).output.contains("--no-batch-norm"))
  }

  @Test func averagesAreMeasuredAndSaved() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let plain = try train(folder, save: "plain").objects()
    let averaged = try train(folder, save: "ema", ["--ema", "0.5", "--clip-norm", "0.25"]).objects()
    let result = try #require(averaged.last)
    #expect(result["loss"] as? Double != plain.last?["loss"] as? Double)
    let evaluate = [
      "evaluate", folder.file("ema"), "--data", folder.path, "--json", "--no-folding",
    ]
    #expect(
      try Tool.succeed(evaluate).object()["loss"] as? Double == result["loss"] as? Double)
    let data = ["--data", folder.path, "--network", "fashion"]
    for arguments in [["--clip-norm", "0"], ["--ema", "1"], ["--ema", "-0.1"]] {
      let outcome = try Tool.run(["train"] + data + arguments)
      #expect(outcome.status != 0 && outcome.remarks.split(separator: "\n").count == 1)
    }
  }

  /// A recipe sets what other options do not.
  @Test func recipesCanBeChosen() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let plain = try train(folder, save: "plain").objects()
    let fast = try train(folder, save: "fast", ["--recipe", "fast"]).objects()
    #expect(plain.count == fast.count)
    let (first, other) = (plain[0]["learning_rate"], fast[0]["learning_rate"])
    #expect(other as? Double == (first as? Double).map { 2 * $0 })
  }

  @Test func fromTrainingToRunning() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let lines = try train(folder, save: "m").objects()
    #expect(lines.count == 3)
    let keys: Set = [
      "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate",
      "images_per_second", "seconds",
    ]
    #expect(Set(lines[0].keys) == keys)
    let result = try #require(lines.last)
    #expect(result["network"] as? String == "fashion")
    #expect(result["batch_norm"] as? Bool == true)
    let accuracy = try #require(result["accuracy"] as? Double)

    let model = folder.file("m")
    let evaluate = ["evaluate", model, "--data", folder.path, "--json"]
    let evaluation = try Tool.succeed(evaluate).object()
    #expect(evaluation["accuracy"] as? Double == accuracy)
    // Training measures without folding.
    let unfolded = try Tool.succeed(evaluate + ["--no-folding"]).object()
    #expect(unfolded["loss"] as? Double == result["loss"] as? Double)
    #expect((evaluation["confusion"] as? [[Int]])?.joined().reduce(0, +) == 12)
    #expect(evaluation["classes"] as? [String] == ["0", "1", "2"])
    #expect(
      try Tool.succeed(["evaluate", model, "--data", folder.path]).output.contains("confusion"))

    let inspected = try Tool.succeed(["inspect", model, "--plan", "--batch", "2"]).output
    for text in [
      "batchNormalization1", "convolutionFilter", "running mean", "activations: 0", "fashion",
    ] {
      #expect(inspected.contains(text), "\(text)")
    }
    try compareExecutors(folder, model)
  }

  /// Both executors on the same array.
  private func compareExecutors(_ folder: TemporaryFolder, _ model: String) throws {
    let values = (0..<2 * 64).map { Float($0 % 11) / 4 - 1 }
    try NpyFile.write(Tensor(values, shape: [2, 8, 8, 1]), to: folder.file("x.npy"))
    let run = ["run", model, "--input"]
    _ = try Tool.succeed(run + ["input=" + folder.file("x.npy"), "--output", folder.file("y.npy")])
    _ = try Tool.succeed(
      run + [
        folder.file("x.npy"), "--output", "output=" + folder.file("z.npy"), "--executor",
        "reference",
      ])
    let (y, z) = try (NpyFile.read(folder.file("y.npy")), NpyFile.read(folder.file("z.npy")))
    #expect(y.shape == [2, 3])
    #expect(z.shape == [2, 3])
    // Six layers, sums of at most 576 terms in float32: each layer's error is at most 576·ε of the
    // largest sum of magnitudes, which weights of either sign make larger than the logits.
    let largest = z.doubles.map(abs).max() ?? 0
    let bound = 6 * 576 * Double(Float.ulpOfOne) * max(largest, 1)
    for (a, b) in zip(y.doubles, z.doubles) { #expect(abs(a - b) <= bound, "\(a), \(b)") }

    let wrong = try Tool.run(
      run + ["imput=x.npy", "--input", "b.npy", "--output", folder.file("y.npy")])
    #expect(wrong.status != 0)
    #expect(wrong.remarks.contains("which has: input"), "\(wrong.remarks)")
  }

  /// Our own network as a checkpoint of PyTorch, and back; its rows behind `flatten()` are permuted twice.
  @Test func checkpointsOfPyTorch() throws {
    let folder = try TemporaryFolder()
    let (model, checkpoint) = (folder.file("m.safetensors"), folder.file("pt.safetensors"))
    let graph = try Network.fashion.graph(classes: 3, size: 8)
    try ModelFile.save(Model(initializing: graph, seed: 1), to: model)
    let convert = ["convert", model, checkpoint]
    let report = try Tool.succeed(convert + ["--to", "pytorch", "--json"]).object()
    #expect(report["from"] as? String == "convnet" && report["to"] as? String == "pytorch")
    #expect(report["parameters"] as? Int == graph.trainableCount)

    try NpyFile.write(
      Tensor((0..<64).map { Float($0 % 11) }, shape: [1, 8, 8, 1]), to: folder.file("x.npy"))
    let network = ["--network", "fashion", "--classes", "3", "--image-size", "8"]
    let run = ["--input", folder.file("x.npy"), "--output"]
    _ = try Tool.succeed(["run", model] + run + [folder.file("y.npy")])
    _ = try Tool.succeed(["run", checkpoint] + network + run + [folder.file("z.npy")])
    #expect(try folder.read("y.npy") == folder.read("z.npy"))

    let inspected = try Tool.succeed(["inspect", checkpoint] + network).output
    #expect(inspected.contains("fashion") && inspected.contains("batchNormalization1"))
    let folded = ["convert", checkpoint, folder.file("f.safetensors"), "--fold-batch-norm"]
    #expect(try Tool.succeed(folded + network).output.contains("5 batch-norm layers folded"))
    _ = try Tool.succeed(["run", folder.file("f.safetensors")] + run + [folder.file("z.npy")])

    for (arguments, text) in [
      (["inspect", checkpoint], "which network"),
      (["inspect", model] + network, "its own network"),
      (["inspect", checkpoint, "--network", "fashion", "--image-size", "8"], "dense1.weight"),
      (["inspect", checkpoint, "--classes", "3"], "--network"),
      (["convert", model, folder.file("m.pth")], ".safetensors"),
      (convert + ["--to", "keras"], "pytorch"),
    ] {
      let outcome = try Tool.run(arguments)
      #expect(outcome.status != 0 && outcome.output.isEmpty, "\(arguments)")
      #expect(outcome.remarks.contains(text), "\(outcome.remarks)")
      #expect(outcome.remarks.split(separator: "\n").count == 1, "\(outcome.remarks)")
    }
  }

  @Test func oneSeedGivesTheSameBits() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    _ = try train(folder, save: "one", ["--lanes", "1", "--seed", "7"])
    _ = try train(folder, save: "two", ["--lanes", "2", "--seed", "7"])
    _ = try train(folder, save: "other", ["--seed", "8"])
    #expect(try folder.read("one") == folder.read("two"))
    #expect(try folder.read("one") != folder.read("other"))
  }

  @Test func curvesBesideEachOther() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    for (name, more) in [("a", []), ("b", ["--no-batch-norm"])] {
      try folder.write(
        [UInt8](train(folder, save: "m", more).output.utf8), to: "\(name).jsonl")
    }
    let compare = ["compare-curves", folder.file("a.jsonl"), folder.file("b.jsonl")]
    let text = try Tool.succeed(compare).output
    for part in ["with batch norm", "without batch norm", "test accuracy", "epoch"] {
      #expect(text.contains(part), "\(text)")
    }
    try folder.write([UInt8]("{}\n".utf8), to: "a.jsonl")
    let outcome = try Tool.run(compare)
    #expect(outcome.status != 0)
    #expect(outcome.remarks.contains("a.jsonl: line 1"), "\(outcome.remarks)")
  }

  @Test func doctor() throws {
    let report = try Tool.succeed(["doctor", "--json", "--size", "128"]).object()
    let speeds = try #require(report["gflops"] as? [String: Double])
    for key in ["kernels", "default_kernels", "recommended_kernels", "own_kernels"] {
      let name = try #require(report[key] as? String, "\(key)")
      #expect(speeds[name] ?? 0 > 0, "\(key)")
    }
    #expect(report["ratio"] is Double)
    #expect(report["reason"] is String)
    #expect((report["self_test"] as? [String: Any])?["passed"] as? Bool == true)
    #expect((report["openblas"] as? [String: Any])?["threads"] as? Int == 1)
    let lanes = try #require(report["lanes"] as? [String: Any])
    #expect(lanes["count"] as? Int ?? 0 >= 1)
    #expect(lanes["reason"] is String)
    #expect(try Tool.succeed(["doctor", "--size", "64"]).output.contains("recommended"))
  }
}
