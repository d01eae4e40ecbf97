import ConvNet
import Foundation
import Testing

/// The commands on files in the ONNX format.
@Suite struct ONNXCommandTests {
  @Test func runsInspectsAndConverts() throws {
    let folder = try TemporaryFolder()
    let (own, onnx) = (folder.file("m.safetensors"), folder.file("m.onnx"))
    let model = try Model(initializing: Network.fashion.graph(classes: 3, size: 8), seed: 1)
    try ModelFile.save(model, to: own)
    let report = try Tool.succeed(["convert", own, onnx, "--json"]).object()
    #expect(report["from"] as? String == "convnet" && report["to"] as? String == "onnx")
    let inspected = try Tool.succeed(["inspect", onnx, "--plan", "--batch", "2"]).output
    for text in ["batchNormalization1", "convolutionFilter", "running mean", "[N, 8, 8, 1]"] {
      #expect(inspected.contains(text), "\(text) in \(inspected)")
    }

    try NpyFile.write(
      Tensor((0..<128).map { Float($0 % 11) }, shape: [2, 8, 8, 1]), to: folder.file("x.npy"))
    let back = folder.file("b.safetensors")
    _ = try Tool.succeed(["convert", onnx, back])
    for (index, path) in [own, onnx, back].enumerated() {
      _ = try Tool.succeed([
        "run", path, "--input", folder.file("x.npy"), "--output", folder.file("\(index).npy"),
        "--executor", "reference",
      ])
    }
    #expect(try folder.read("0.npy") == folder.read("1.npy"))
    #expect(try folder.read("0.npy") == folder.read("2.npy"))
    _ = try Tool.succeed([
      "run", onnx, "--input", "input=" + folder.file("x.npy"), "--output", folder.file("y.npy"),
    ])
    #expect(try NpyFile.read(folder.file("y.npy")).shape == [2, 3])

    // Without its extension a file is known by its contents.
    try FileManager.default.copyItem(atPath: onnx, toPath: folder.file("plain"))
    #expect(try Tool.succeed(["inspect", folder.file("plain")]).output.contains("running mean"))
    try folder.write([UInt8]((try folder.read("m.onnx")).prefix(1000)), to: "cut.onnx")
    for (arguments, text) in [
      (["inspect", folder.file("cut.onnx")], "cut.onnx"),
      (["inspect", onnx, "--network", "fashion"], "its own network"),
      (
        ["run", onnx, "--input", "b=x.npy", "--input", "c.npy", "--output", "y.npy"],
        "which has: input"
      ),
    ] {
      let outcome = try Tool.run(arguments)
      #expect(outcome.status != 0 && outcome.output.isEmpty, "\(arguments)")
      #expect(outcome.remarks.contains(text), "\(outcome.remarks)")
      #expect(outcome.remarks.split(separator: "\n").count == 1, "\(outcome.remarks)")
    }
  }
}
