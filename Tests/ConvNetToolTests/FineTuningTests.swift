import ConvNet
import Foundation
import Testing

/// `train --model`: fine-tuning on the command line.
@Suite struct FineTuningTests {
  private let train = ["--epochs", "1", "--batch-size", "8", "--json"]

  /// A model of three classes.
  private func base(_ folder: TemporaryFolder) throws -> String {
    try folder.writeDataset()
    let model = folder.file("base")
    _ = try Tool.succeed(
      ["train", "--data", folder.path, "--network", "fashion", "--save", model] + train)
    return model
  }

  /// The same images under two classes.
  private func writeTwoClasses(_ folder: TemporaryFolder) throws {
    for (part, count) in [("train", 48), ("t10k", 12)] {
      try folder.write(
        [0, 0, 8, 1, 0, 0, 0, UInt8(count)] + (0..<count).map { UInt8($0 % 3 == 0 ? 0 : 1) },
        to: "\(part)-labels-idx1-ubyte")
    }
  }

  @Test func newHeadOnAFrozenBeginning() throws {
    let folder = try TemporaryFolder()
    let model = try base(folder)
    try writeTwoClasses(folder)
    let tune = ["train", "--data", folder.path, "--model", model] + train
    let frozen = ["convolution1", "batchNormalization1"]
    let lines = try Tool.succeed(
      tune + ["--replace-head", "--save", folder.file("tuned"), "--checkpointing"]
        + frozen.flatMap { ["--freeze", $0] }
    ).objects()
    #expect(lines.last?["network"] as? String == "fashion")
    #expect(lines.last?["batch_norm"] as? Bool == true)
    let (old, new) = try (ModelFile.load(model), ModelFile.load(folder.file("tuned")))
    for (name, tensor) in old.parameters.merging(old.state, uniquingKeysWith: { a, _ in a }) {
      let isFrozen = frozen.contains { name.hasPrefix($0) }
      #expect(((new.parameters[name] ?? new.state[name]) == tensor) == isFrozen, "\(name)")
    }
    #expect(lines.last?["parameters"] as? Int == new.graph.trainableCount)
    #expect(new.classNames == ["0", "1"] && new.normalization == old.normalization)
    let evaluation = try Tool.succeed(
      ["evaluate", folder.file("tuned"), "--data", folder.path, "--json"]
    ).object()
    #expect(evaluation["accuracy"] as? Double == lines.last?["accuracy"] as? Double)
  }

  @Test func mistakesAreSentences() throws {
    let folder = try TemporaryFolder()
    let model = try base(folder)
    let data = ["train", "--data", folder.path] + train
    func refused(_ arguments: [String], _ saying: String) throws {
      let outcome = try Tool.run(data + arguments)
      #expect(outcome.status != 0 && outcome.output.isEmpty, "\(arguments)")
      #expect(outcome.remarks.split(separator: "\n").count == 1, "\(outcome.remarks)")
      #expect(outcome.remarks.contains(saying), "\(outcome.remarks)")
    }
    try refused([], "one of --network and --model")
    try refused(["--network", "fashion", "--model", model], model)
    try refused(["--model", model, "--classes", "3"], "--network")
    try refused(["--network", "fashion", "--replace-head"], "--model")
    try refused(["--network", "fashion", "--freeze", "conv"], "--model")
    try refused(["--model", model, "--no-batch-norm"], "--no-batch-norm")
    try refused(["--model", model, "--freeze", "stem"], "stem")
    try refused(["--model", model, "--freeze", ""], "nothing to be trained")
    try refused(["--model", folder.file("none")], folder.file("none"))
    try writeTwoClasses(folder)
    try refused(["--model", model], "--replace-head")
    try folder.writeDataset(size: 9)
    try refused(["--model", model], "9")
  }
}
