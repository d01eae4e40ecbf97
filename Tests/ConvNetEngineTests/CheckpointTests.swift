import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What PyTorch computes with a checkpoint of its own; scripts/fixtures/checkpoints.py wrote both.
@Suite struct CheckpointTests {
  private static let folder =
    "/" + "\(#filePath)".split(separator: "/").dropLast(2).joined(separator: "/")
    + "/Fixtures/Checkpoints/"

  /// The module `Small` of the script: every layout, and a batch norm and a dense layer on a flattened map.
  private static func graph() throws -> Graph {
    try Graph(input: .image(height: 6, width: 4, channels: 3)) { x in
      func block(_ x: Graph.Value) -> Graph.Value {
        let y = x.convolution(6, 3, stride: 2, "conv1").batchNormalization(name: "bn1").relu()
          .convolution(6, 3, "conv2").batchNormalization(name: "bn2")
        let shortcut = x.scoped("downsample") {
          $0.convolution(6, 1, stride: 2, "0").batchNormalization(name: "1")
        }
        return (y + shortcut).relu()
      }
      let grouped = x.convolution(4, 3, "conv1").batchNormalization(name: "bn1").relu()
        .scoped("layer1.0", block)
        .convolution(
          8,
          window: Window(kernel: [1, 3], padding: .explicit(top: 0, bottom: 0, left: 1, right: 1)),
          groups: 2, name: "grouped"
        ).relu()
      return
        grouped.depthwiseConvolution(kernel: 3, padding: .explicit(1), name: "depthwise")
        .flatten().batchNormalization(name: "bn2").relu().dense(5, name: "fc")
    }
  }

  @Test(arguments: [false, true]) func computesWhatPyTorchComputes(folds: Bool) throws {
    let file = try SafetensorsFile.open(Self.folder + "small-output.safetensors")
    let (x, y) = (try file.read("x"), try file.read("y"))
    let model = try PyTorchCheckpoint.load(
      Self.folder + "small.safetensors", into: Self.graph())
    let resolved = try ResolveMode(.inference).apply(to: model.graph)
    let reference = try Reference(resolved, parameters: model.parameters, state: model.state)
    let values = model.parameters.merging(model.state) { first, _ in first }
      .merging(["input": x]) { first, _ in first }
    let found = try Tolerance.perturbing(reference, values, terms: 54, seed: 1)
    let (expected, tolerance) = try #require(found["output"])
    // In Double both compute the same sums in other orders.
    let largest = y.doubles.reduce(0) { max($0, abs($1)) }
    expectClose(expected.values, y.doubles, tolerance: 1e3 * .ulpOfOne * largest, "reference")
    let options = PredictorOptions(foldsBatchNormalization: folds)
    let logits = try Predictor(model, options: options).predict(["input": x])["output"]
    expectClose(try #require(logits).doubles, y.doubles, tolerance: tolerance, "folds \(folds)")
  }
}

extension Graph.Value {
  fileprivate func convolution(
    _ filters: Int, _ kernel: Int, stride: Int = 1, _ name: String
  ) -> Graph.Value {
    convolution(
      filters, kernel: kernel, stride: stride, padding: .explicit(kernel / 2), bias: false,
      name: name)
  }
}
