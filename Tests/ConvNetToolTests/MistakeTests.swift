import Foundation
import Testing

/// Bad input: one sentence on standard error, nothing on standard output, a status other than 0.
@Suite struct MistakeTests {
  private func expectMistake(
    _ arguments: [String], saying fragments: [String], limit: Int? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try Tool.run(arguments, limit: limit)
    let lines = outcome.remarks.split(separator: "\n")
    #expect(outcome.status != 0, "\(arguments)", sourceLocation: sourceLocation)
    #expect(outcome.output.isEmpty, "\(outcome.output)", sourceLocation: sourceLocation)
    #expect(lines.count == 1, "\(outcome.remarks)", sourceLocation: sourceLocation)
    #expect(outcome.remarks.hasPrefix("convnet: "), sourceLocation: sourceLocation)
    for fragment in fragments {
      #expect(
        outcome.remarks.contains(fragment), "\(outcome.remarks)", sourceLocation: sourceLocation)
    }
  }

  @Test func unknownNetwork() throws {
    try expectMistake(
      ["train", "--data", "fashion-mnist", "--network", "lenin"],
      saying: ["“lenin”", "lenet", "fashion"])
    try expectMistake(
      ["train", "--data", "fashion-mnist", "--network", "lenet", "--recipe", "tasty"],
      saying: ["“tasty”", "standard, fast, best"])
  }

  @Test func unknownWords() throws {
    try expectMistake(["trane"], saying: ["trane"])
    try expectMistake(["doctor", "--jsno"], saying: ["--jsno"])
  }

  @Test func missingData() throws {
    try expectMistake(
      ["train", "--data", "/nonexistent/data", "--network", "fashion"],
      saying: ["/nonexistent/data"])
    try expectMistake(["evaluate", "/nonexistent/m", "--data", "/"], saying: ["/nonexistent/m"])
  }

  @Test(arguments: ["0", "10000", "-1"])
  func lanes(_ count: String) throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    try expectMistake(
      ["train", "--data", folder.path, "--network", "fashion", "--lanes", count],
      saying: ["lanes must be between 1 and 1024, not \(count)"])
  }

  @Test func truncatedData() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let name = "train-images-idx3-ubyte"
    try folder.write([UInt8](folder.read(name).dropLast(10)), to: name)
    try expectMistake(
      ["train", "--data", folder.path, "--network", "fashion"], saying: [folder.file(name)])
  }

  @Test func optionsOutOfRange() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let train = ["train", "--data", folder.path, "--network", "fashion"]
    try expectMistake(train + ["--epochs", "0"], saying: ["--epochs", "0"])
    try expectMistake(train + ["--batch-size", "0"], saying: ["0"])
    try expectMistake(train + ["--batch-size", "49"], saying: ["48", "49"])
    try expectMistake(train + ["--learning-rate", "-1"], saying: ["-1"])
    try expectMistake(train + ["--save", "/nonexistent/m"], saying: ["/nonexistent/m"])
    try expectMistake(train + ["--kernels", "Pentium"], saying: ["Pentium"])
  }

  @Test func impossibleShapes() throws {
    let convolution = ["bench", "convolution", "--kernel", "3", "--filters", "8", "--shape"]
    for shape in ["0,8,8,1", "8,8", "1,2,3,x", "-1,8,8,1", "99999999999999999999,1,1,1"] {
      try expectMistake(convolution + [shape], saying: ["N,H,W,C", shape])
    }
    try expectMistake(convolution + ["99999,99999,99999,99999"], saying: ["99999"])
    try expectMistake(["bench", "batchnorm", "--shape", "1,1,1,8"], saying: ["1, 1, 1, 8"])
    try expectMistake(
      convolution + ["1,8,8,4", "--strategy", "magic"], saying: ["magic", "im2col"])
  }

  @Test func networksThatCannotBeMeasured() throws {
    let infer = ["bench", "infer"]
    try expectMistake(infer, saying: ["--network", "--model"])
    try expectMistake(
      infer + ["--network", "lenet", "--model", "m"], saying: ["--network", "--model"])
    try expectMistake(infer + ["--network", "resnet19"], saying: ["resnet19", "resnet18"])
    try expectMistake(infer + ["--network", "lenet", "--batch", "0"], saying: ["--batch", "0"])
    try expectMistake(infer + ["--network", "lenet", "--size", "3"], saying: ["convolution2"])
    try expectMistake(infer + ["--network", "lenet", "--seconds", "-1"], saying: ["-1"])
    try expectMistake(
      infer + ["--network", "fashion", "--size", "9999", "--batch", "9999"], saying: ["bytes"])
    try expectMistake(
      infer + ["--network", "lenet", "--profile", "/nonexistent/p"], saying: ["/nonexistent/p"])
  }

  @Test func whatIsNoModel() throws {
    let folder = try TemporaryFolder()
    try folder.write([UInt8]("no model at all".utf8), to: "m")
    try expectMistake(["inspect", folder.file("m")], saying: [folder.file("m")])
  }

  @Test func fullDisk() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let model = folder.file("m.safetensors")
    let train = [
      "train", "--data", folder.path, "--network", "fashion", "--epochs", "1", "--batch-size", "16",
      "--json", "--save", model,
    ]
    _ = try Tool.succeed(train)
    let before = try folder.read("m.safetensors")
    let outcome = try Tool.run(train + ["--seed", "2"], limit: 16)
    #expect(outcome.status != 0)
    #expect(outcome.remarks.contains("convnet: \(model): cannot be written"), "\(outcome.remarks)")
    #expect(try folder.read("m.safetensors") == before)
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(left.count == 5, "\(left)")
  }
}
