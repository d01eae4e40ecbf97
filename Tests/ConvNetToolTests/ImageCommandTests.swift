import ConvNet
import ConvNetImages
import Foundation
import Testing

/// The commands on folders of photographs.
@Suite struct ImageCommandTests {
  /// Red and green images of several sizes, some of them broken.
  private func photographs() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (part, count) in [("train", 10), ("val", 4)] {
      for (name, channel) in [("red", 0), ("green", 1)] {
        let path = "\(part)/\(name)"
        try FileManager.default.createDirectory(
          atPath: folder.file(path), withIntermediateDirectories: true)
        for index in 0..<count {
          let (height, width) = (20 + index, 34 - index)
          let bytes = (0..<height * width * 3).map { place -> UInt8 in
            (place % 3 == channel ? 180 : 20) + UInt8((place &* 7 &+ index) % 50)
          }
          let image = PixelImage(height: height, width: width, channels: 3, bytes: bytes)
          try folder.write(image.pngBytes(), to: "\(path)/\(index).png")
        }
      }
    }
    try folder.write([], to: "train/red/empty.png")
    try folder.write(Array("GIF89a".utf8), to: "val/green/other.jpg")
    return folder
  }

  private func train(_ folder: TemporaryFolder, _ more: [String] = []) throws -> Tool.Outcome {
    try Tool.run(
      [
        "train", "--data", folder.path, "--network", "lenet", "--image-size", "28", "--epochs", "2",
        "--batch-size", "5", "--save", folder.file("model"), "--json",
      ] + more)
  }

  @Test func fromAFolderToPredictions() throws {
    let folder = try photographs()
    let strict = try train(folder)
    #expect(strict.status != 0 && strict.remarks.contains("train/red/empty.png: the file is empty"))
    let outcome = try train(folder, ["--unreadable", "skip"])
    #expect(outcome.status == 0, "\(outcome.remarks)")
    for file in ["train/red/empty.png", "val/green/other.jpg"] {
      #expect(outcome.remarks.components(separatedBy: file).count == 2, "\(outcome.remarks)")
    }
    let result = try #require(try outcome.objects().last)
    let evaluate = [
      "evaluate", folder.file("model"), "--data", folder.path, "--unreadable", "skip", "--json",
    ]
    let evaluation = try Tool.succeed(evaluate).object()
    #expect(evaluation["count"] as? Int == 8)
    #expect(evaluation["classes"] as? [String] == ["green", "red"])
    #expect(evaluation["accuracy"] as? Double == result["accuracy"] as? Double)
    _ = try Tool.succeed(
      ["recalibrate", folder.file("model"), "--data", folder.path, "--unreadable", "skip"])
    try FileManager.default.removeItem(atPath: folder.file("train/red/empty.png"))
    _ = try Tool.succeed(
      ["inspect", folder.file("model"), "--batch-norm", "--data", folder.path, "--samples", "8"])
    try predict(folder)
  }

  private func predict(_ folder: TemporaryFolder) throws {
    let files = ["val/red/1.png", "val/green/other.jpg", "val/green/2.png", "nothing.png"]
    let outcome = try Tool.run(
      ["predict", folder.file("model"), "--json", "--top", "1"] + files.map(folder.file))
    #expect(outcome.status != 0)
    let lines = try outcome.objects()
    #expect(lines.map { $0["image"] as? String } == files.map(folder.file))
    #expect(lines.map { $0["error"] != nil } == [false, true, false, true])
    let classes = try #require(lines[0]["classes"] as? [[String: Any]])
    #expect(classes.count == 1 && ["red", "green"].contains(classes[0]["name"] as? String ?? ""))
    #expect(outcome.remarks.contains("this is a GIF file"))
    let plain = try Tool.succeed(["predict", folder.file("model"), folder.file(files[0])])
    #expect(plain.output.split(separator: "\n").count == 2 && plain.remarks.isEmpty)
    #expect(
      try Tool.run(["predict", folder.file("model"), folder.file(files[0]), "--top", "0"]).status
        != 0)
  }

  /// Everything that decides the images of a training comes back with its configuration.
  @Test func aTrainingOnPhotographsGoesOn() throws {
    let folder = try photographs()
    let options = ["--unreadable", "skip", "--normalization", "scaling"]
    let one = folder.file("runs/one")
    _ = try Tool.succeed(
      [
        "train", "--data", folder.path, "--network", "lenet", "--image-size", "28", "--epochs",
        "1", "--batch-size", "5", "--checkpoints", one,
      ] + options)
    let outcome = try Tool.succeed(["train", "--checkpoints", one, "--resume", "--epochs", "1"])
    #expect(outcome.remarks.contains("goes on from"), "\(outcome.remarks)")
    let data = folder.file("train")
    let other = try Tool.run([
      "train", "--checkpoints", one, "--resume", "--epochs", "1", "--data", data,
      "--validation", "0.4",
    ])
    #expect(other.status != 0 && other.remarks.contains("of another"), "\(other.remarks)")
  }

  /// A folder without parts is split by hash, to the same parts by each command.
  @Test func validationIsChosenByHash() throws {
    let folder = try photographs()
    try FileManager.default.removeItem(atPath: folder.file("train/red/empty.png"))
    let data = folder.file("train")
    let outcome = try Tool.succeed([
      "train", "--data", data, "--network", "lenet", "--epochs", "1", "--batch-size", "4",
      "--validation", "0.4", "--save", folder.file("model"), "--json", "--normalization", "scaling",
    ])
    let result = try #require(try outcome.objects().last)
    // Training measures the network as it is; folding batch norm would round differently.
    let evaluation = try Tool.succeed([
      "evaluate", folder.file("model"), "--data", data, "--validation", "0.4", "--json",
      "--no-folding",
    ]).object()
    #expect(evaluation["loss"] as? Double == result["loss"] as? Double)
    let all = try Tool.succeed([
      "evaluate", folder.file("model"), "--data", data, "--validation", "1", "--json",
    ]).object()
    #expect(all["count"] as? Int == 20)
    for arguments in [
      ["--unreadable", "ignore"], ["--validation", "2"], ["--normalization", "some"],
    ] {
      let outcome = try Tool.run(
        ["train", "--data", data, "--network", "lenet", "--epochs", "1"] + arguments)
      #expect(outcome.status != 0 && !outcome.remarks.isEmpty)
    }
  }

  @Test func foldersThatAreNoDataAreSaid() throws {
    let folder = try TemporaryFolder()
    let model = ["--network", "lenet"]
    let empty = try Tool.run(["train", "--data", folder.path] + model)
    #expect(empty.status != 0 && empty.remarks.contains("a folder for each class"))
    let missing = try Tool.run(["train", "--data", folder.file("nothing")] + model)
    #expect(missing.status != 0 && missing.remarks.contains("no such folder"))
  }
}
