import ConvNet
import Foundation
import Testing

/// `train --checkpoints`: stopping, being killed and going on, and configurations.
@Suite struct CheckpointCommandTests {
  private func arguments(_ folder: TemporaryFolder, _ more: [String] = []) -> [String] {
    [
      "train", "--data", folder.path, "--network", "fashion", "--epochs", "2", "--batch-size", "8",
      "--optimizer", "adamw", "--schedule", "one-cycle", "--ema", "0.9", "--json",
    ] + more
  }

  private func steps(_ folder: String) throws -> [Int] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      .filter { $0.hasPrefix("checkpoint-") }
      .compactMap { Int($0.filter { ("0"..."9").contains($0) }) }
  }

  /// Starts the tool and sends it a signal as soon as there is a checkpoint of a step, and some
  /// microseconds later.
  private func stop(
    _ arguments: [String], in folder: String, after step: Int, by signal: Int32,
    microseconds: UInt32 = 0
  ) throws -> Process {
    let process = Process()
    process.executableURL = URL(filePath: Tool.path)
    process.arguments = arguments
    (process.standardOutput, process.standardError) = (
      FileHandle.nullDevice, FileHandle.nullDevice
    )
    process.environment = ProcessInfo.processInfo.environment.filter {
      $0.key != "OPENBLAS_CORETYPE"
    }
    try process.run()
    while process.isRunning, (try? steps(folder).last ?? 0) ?? 0 < step { usleep(2000) }
    usleep(microseconds)
    kill(process.processIdentifier, signal)
    process.waitUntilExit()
    return process
  }

  /// Killed while it writes one checkpoint after the other, again and again, a training comes to the same
  /// model, and what is there is never less than before.
  @Test func killedAgainAndAgain() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    _ = try Tool.succeed(arguments(folder, ["--save", folder.file("whole.safetensors")]))
    let checkpoints = folder.file("run")
    let more = ["--checkpoints", checkpoints, "--checkpoint-every", "1", "--keep", "2"]
    var reached = 0
    for round in 0..<4 {
      let begin = round == 0 ? arguments(folder, more) : ["train", "--resume"] + more
      let wanted = min(reached + 2, 11)
      _ = try stop(
        begin, in: checkpoints, after: wanted, by: SIGKILL, microseconds: UInt32(round) * 2500)
      let present = try steps(checkpoints)
      #expect(present.last ?? 0 >= wanted && present.count >= min(wanted, 2), "\(present)")
      reached = present.last ?? 0
      for step in present {
        let path =
          "\(checkpoints)/checkpoint-\(String(repeating: "0", count: 8))"
          + (step < 10 ? "0" : "") + "\(step).safetensors"
        #expect(throws: Never.self) { try ModelFile.load(path) }
      }
    }
    let model = folder.file("parts.safetensors")
    let end = try Tool.succeed(["train", "--json", "--resume", "--save", model] + more)
    #expect(try folder.read("parts.safetensors") == folder.read("whole.safetensors"))
    #expect(try end.objects().last?["epochs"] as? Int == 2)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: checkpoints).allSatisfy {
        !$0.hasSuffix(".tmp")
      }, "what was half written is removed")
  }

  @Test(arguments: [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)])
  func signalsEndInACheckpoint(signal: Int32, status: Int32) throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let checkpoints = folder.file("run")
    let process = try stop(
      arguments(
        folder, ["--epochs", "100", "--checkpoints", checkpoints, "--checkpoint-every", "3"]),
      in: checkpoints, after: 3, by: signal)
    #expect(process.terminationReason == .exit && process.terminationStatus == status)
    #expect(try steps(checkpoints).last ?? 0 >= 3)
  }

  /// A disk that is full, or a file that may not grow: training goes on, and so does what was saved.
  @Test func aFullDiskLosesNothing() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let checkpoints = folder.file("run")
    _ = try Tool.succeed(
      arguments(folder, ["--epochs", "1", "--schedule", "constant", "--checkpoints", checkpoints]))
    let before = try folder.read("run/checkpoint-0000000006.safetensors")
    let resume = ["train", "--resume", "--checkpoints", checkpoints, "--epochs", "3", "--json"]
    let outcome = try Tool.run(resume, limit: 16)
    #expect(outcome.status == 0, "\(outcome.remarks)")
    #expect(outcome.remarks.contains("size limit"), "\(outcome.remarks)")
    #expect(try outcome.objects().count == 3)
    #expect(try steps(checkpoints) == [6])
    #expect(try folder.read("run/checkpoint-0000000006.safetensors") == before)
    #expect(try Tool.succeed(resume).objects().count == 3)
    #expect(try steps(checkpoints) == [6, 12, 18])
  }

  /// What is left in the folder makes the same training elsewhere; the command line wins.
  @Test func configurations() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let (one, two) = (folder.file("one"), folder.file("two"))
    let more = ["--label-smoothing", "0.1", "--clip-norm", "1", "--seed", "9", "--no-batch-norm"]
    _ = try Tool.succeed(
      arguments(
        folder, more + ["--checkpoints", one, "--save", folder.file("one.safetensors")]))
    _ = try Tool.succeed([
      "train", "--config", one + "/config.json", "--checkpoints", two, "--save",
      folder.file("two.safetensors"),
    ])
    #expect(try folder.read("one.safetensors") == folder.read("two.safetensors"))
    #expect(try folder.read("one/config.json") == folder.read("two/config.json"))
    let short = try Tool.succeed([
      "train", "--config", one + "/config.json", "--epochs", "1", "--json",
    ])
    #expect(try short.objects().count == 2)
  }

  @Test func mistakesInConfigurations() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    func refused(_ text: String, _ words: [String]) throws {
      try folder.write([UInt8](text.utf8), to: "config")
      let outcome = try Tool.run([
        "train", "--data", folder.path, "--network", "fashion", "--config", folder.file("config"),
      ])
      #expect(outcome.status != 0 && outcome.output.isEmpty)
      for word in words { #expect(outcome.remarks.contains(word), "\(outcome.remarks)") }
    }
    try refused(#"{"learning_rate": 1}"#, ["config", "“learning_rate”"])
    try refused(#"{"recipe": {"optimizer": {"momentun": 1}}}"#, ["“momentun”", "“momentum”"])
    try refused(#"{"recipe": {"epochs": 1.5}}"#, ["config", "broken number"])
    try refused(#"{"recipe": {"augmentation": {"shift": "far"}}}"#, ["config", "shift"])
    try refused(#"{"seed": -1}"#, ["config", "negative"])
    try refused("", ["config"])
    try refused(#"{"metric": "beauty"}"#, ["beauty", "accuracy"])
    try refused(String(repeating: "[", count: 10_000), ["config", "deep"])
  }

  @Test func foldersOfOtherTrainings() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let checkpoints = ["--checkpoints", folder.file("run")]
    _ = try Tool.succeed(arguments(folder, checkpoints))
    func refused(_ more: [String], _ words: [String]) throws {
      let outcome = try Tool.run(["train"] + checkpoints + more)
      #expect(outcome.status == 1)
      for word in words { #expect(outcome.remarks.contains(word), "\(outcome.remarks)") }
    }
    try refused(["--data", folder.path, "--network", "fashion"], ["--resume"])
    try refused(["--resume", "--batch-size", "4"], ["batch size 8 there and 4 here"])
    try refused(["--resume", "--no-batch-norm"], ["another network"])
    try refused(["--resume", "--early-stopping", "0"], ["0 epochs"])
    let over = try Tool.succeed(["train", "--resume", "--json"] + checkpoints)
    #expect(try over.objects().count == 1, "there is nothing left but the result")
  }
}
