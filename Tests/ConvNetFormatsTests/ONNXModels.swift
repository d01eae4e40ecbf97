import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport

/// An ONNX model made in memory.
///
/// - Parameters:
///   - inputs: extents by name, −1 for one without a name, of float32.
///   - stored: initialisers by name.
func onnx(
  opset: Int64 = 20, _ nodes: [ONNXNode], inputs: KeyValuePairs<String, [Dimension]>,
  stored: [String: Tensor] = [:], outputs: [String] = ["y"]
) -> ONNXModel {
  var model = ONNXModel()
  model.opsetImports = ["": opset]
  model.graph.nodes = nodes
  model.graph.inputs = inputs.map { name, extents in
    let dimensions = extents.map { dimension -> ONNXValueInfo.Dimension in
      switch dimension {
      case .fixed(let extent): extent < 0 ? .unknown : .fixed(extent)
      case .symbol(let name): .symbol(name)
      }
    }
    return ONNXValueInfo(name, .tensor(.float, dimensions))
  }
  model.graph.initializers = stored.sorted { $0.key < $1.key }.map { ONNXTensor($0, $1) }
  model.graph.outputs = outputs.map { ONNXValueInfo($0, .unknown) }
  return model
}

extension ONNXNode {
  /// A node of one result, named after it in capitals.
  static func to(
    _ output: String, _ opType: String, _ inputs: String..., with attributes: ONNXAttribute...
  ) -> ONNXNode {
    ONNXNode(
      opType, name: output.uppercased(), inputs: inputs, outputs: [output], attributes: attributes)
  }
}

extension ONNXAttribute {
  static func int(_ name: String, _ value: Int64) -> Self { Self(name, .int(value)) }
  static func ints(_ name: String, _ values: [Int64]) -> Self { Self(name, .ints(values)) }
  static func float(_ name: String, _ value: Float) -> Self { Self(name, .float(value)) }
  static func text(_ name: String, _ value: String) -> Self { Self(name, .string(value)) }
}

func int64s(_ values: Int64...) -> Tensor { Tensor(values) }

/// What a model computes in inference, by the reference.
func infer(_ model: Model, _ inputs: [String: Tensor]) throws -> [String: Tensor] {
  try Reference(model, mode: .inference).run(inputs: inputs)
}

/// Networks as files have them.
enum ONNXModels {
  /// A residual network, channels first, with open batch, height and width.
  static func residual(extents: [Dimension] = ["N", 3, "H", "W"]) throws -> ONNXModel {
    var nodes: [ONNXNode] = []
    var stored: [String: Tensor] = [:]
    func values(_ name: String, _ shape: Shape, from low: Float = -0.5) {
      stored[name] = TestData.uniform(shape, in: low...(low + 1), seed: UInt64(stored.count))
    }
    func unit(_ name: String, _ x: String, _ from: Int, _ to: Int, kernel: Int, stride: Int64 = 1) {
      values("\(name).weight", [to, from, kernel, kernel])
      let pad = Int64(kernel / 2)
      nodes.append(
        .to(
          "\(name).c", "Conv", x, "\(name).weight", with: .ints("strides", [stride, stride]),
          .ints("pads", [pad, pad, pad, pad])))
      let parts = ["scale", "shift", "mean", "variance"].map { "\(name).bn.\($0)" }
      for part in parts { values(part, [to], from: part.hasSuffix("e") ? 0.5 : -0.5) }
      nodes.append(
        ONNXNode(
          "BatchNormalization", name: "\(name).bn", inputs: ["\(name).c"] + parts, outputs: [name]))
    }
    unit("stem", "x", 3, 4, kernel: 3)
    nodes.append(.to("stem.r", "Relu", "stem"))
    nodes.append(
      .to(
        "pool", "MaxPool", "stem.r", with: .ints("kernel_shape", [3, 3]), .ints("strides", [2, 2]),
        .ints("pads", [1, 1, 1, 1])))
    unit("a", "pool", 4, 6, kernel: 3, stride: 2)
    nodes.append(.to("a.r", "Relu", "a"))
    unit("b", "a.r", 6, 6, kernel: 3)
    unit("skip", "pool", 4, 6, kernel: 1, stride: 2)
    nodes += [
      .to("sum", "Add", "b", "skip"), .to("sum.r", "Relu", "sum"),
      .to("mean", "GlobalAveragePool", "sum.r"), .to("flat", "Flatten", "mean"),
      .to("y", "Gemm", "flat", "fc.weight", "fc.bias", with: .int("transB", 1)),
    ]
    values("fc.weight", [5, 6])
    values("fc.bias", [5])
    return onnx(nodes, inputs: ["x": extents], stored: stored)
  }
}
