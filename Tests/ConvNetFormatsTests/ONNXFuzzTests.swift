import ConvNetFormats
import ConvNetGraph
import Testing

/// Valid models in which numbers, names and shapes are changed: imported or refused, never a trap.
@Suite struct ONNXFuzzTests {
  private static let numbers: [Int64] = [
    0, 1, 2, 3, 4, 5, 7, 64, -1, -2, -3, 1 << 24, 1 << 31, 1 << 40, 1 << 62, .max, .min, .min + 1,
  ]
  private static let reals: [Float] = [
    0, 1, -1, 0.5, 1e30, -1e30, .infinity, .nan, .leastNonzeroMagnitude,
  ]

  /// Every operator with attributes or extents, in a few small models.
  private static func models() throws -> [ONNXModel] {
    let vector = { (count: Int) in Tensor(repeating: Float(0.5), shape: [count]) }
    let spatial = onnx(
      [
        .to(
          "c", "Conv", "x", "w", with: .ints("kernel_shape", [3, 3]), .ints("strides", [1, 1]),
          .ints("dilations", [1, 1]), .ints("pads", [1, 1, 1, 1]), .int("group", 1)),
        .to(
          "t", "ConvTranspose", "c", "w", with: .ints("strides", [2, 2]),
          .ints("output_shape", [8, 8]), .ints("output_padding", [0, 0]), .int("group", 1)),
        .to(
          "p", "AveragePool", "t", with: .ints("kernel_shape", [2, 2]), .ints("strides", [2, 2]),
          .ints("pads", [0, 0, 0, 0]), .int("ceil_mode", 1), .int("count_include_pad", 1)),
        .to(
          "m", "MaxPool", "p", with: .ints("kernel_shape", [2, 2]), .ints("dilations", [1, 1]),
          .text("auto_pad", "SAME_LOWER")),
        .to("l", "LRN", "m", with: .int("size", 3), .float("alpha", 0.1)),
        .to("g", "GroupNormalization", "l", "v", "v", with: .int("num_groups", 2)),
        .to("d", "SpaceToDepth", "g", with: .int("blocksize", 2)),
        .to("e", "DepthToSpace", "d", with: .int("blocksize", 2), .text("mode", "CRD")),
        .to("r", "Resize", "e", "", "scales", with: .text("mode", "linear")),
        .to("s", "Resize", "r", "", "", "sizes", with: .ints("axes", [0, 1, 2, 3])),
        .to("f", "Flatten", "s", with: .int("axis", 1)), .to("y", "Softmax", "f"),
      ], inputs: ["x": [1, 2, 4, 4]],
      stored: [
        "w": Tensor(zeros: [2, 2, 3, 3]), "v": vector(2), "sizes": int64s(1, 2, 4, 4),
        "scales": Tensor([1, 1, 2, 2] as [Float]),
      ])
    var spread = try ONNXModels.residual()
    spread.graph.nodes.append(
      .to("w", "LayerNormalization", "y", "fc.bias", with: .int("axis", -1)))
    spread.graph.outputs.append(ONNXValueInfo("w", .unknown))
    return [spatial, shaping([2, 1, 2]), shaping(["N", 1, "W"]), spread]
  }

  /// Arithmetic on extents and what it steers.
  private static func shaping(_ extents: [Dimension]) -> ONNXModel {
    let i = { (values: Int64...) in Tensor(values) }
    return onnx(
      [
        .to("s", "Shape", "x", with: .int("start", 0), .int("end", 3)),
        .to("h", "Gather", "s", "one", with: .int("axis", 0)),
        .to("d", "Div", "h", "one"), .to("q", "Mul", "d", "two"),
        .to("a", "Concat", "q", "q", "rest", with: .int("axis", 0)),
        .to("z", "Slice", "a", "zero", "two", "zero", "one"), .to("b", "Reshape", "x", "z"),
        .to("e", "Expand", "b", "z"), .to("t", "Tile", "e", "pair"),
        .to("p", "Pad", "t", "pads"), .to("c", "Slice", "p", "zero", "two", "zero", "one"),
        ONNXNode(
          "Split", name: "SP", inputs: ["c"], outputs: ["u", "v"],
          attributes: [.int("axis", 0), .int("num_outputs", 2)]),
        .to("k", "Transpose", "u", with: .ints("perm", [1, 0])),
        .to("n", "Unsqueeze", "k", "one"), .to("o", "Squeeze", "n", "one"),
        .to("r", "ReduceSum", "o", "one", with: .int("keepdims", 1)),
        .to("w", "ConstantOfShape", "pair"), .to("ww", "Size", "w"),
        .to("rr", "Range", "nought", "ww", "unit"), .to("cc", "Cast", "rr", with: .int("to", 1)),
        .to("y", "Gather", "r", "zero", with: .int("axis", 1)),
      ], inputs: ["x": extents],
      stored: [
        "zero": i(0), "one": i(1), "two": i(2), "rest": i(-1), "pair": i(1, 2),
        "pads": i(1, 0, 0, 1), "nought": Tensor(scalar: Int64(0)),
        "unit": Tensor(scalar: Int64(1)),
      ], outputs: ["y", "cc"])
  }

  private static func change(_ model: inout ONNXModel, _ random: inout Lehmer) throws {
    func number() -> Int64 { numbers.randomElement(using: &random) ?? 0 }
    let index = Int.random(in: 0..<model.graph.nodes.count, using: &random)
    switch Int.random(in: 0..<9, using: &random) {
    case 0...3:
      guard !model.graph.nodes[index].attributes.isEmpty else { return }
      let place = Int.random(in: 0..<model.graph.nodes[index].attributes.count, using: &random)
      switch model.graph.nodes[index].attributes[place].value {
      case .int: model.graph.nodes[index].attributes[place].value = .int(number())
      case .float:
        model.graph.nodes[index].attributes[place].value = .float(
          reals.randomElement(using: &random) ?? 0)
      case .ints(var values):
        if Int.random(in: 0..<4, using: &random) == 0 { values.append(number()) }
        if !values.isEmpty { values[values.indices.randomElement(using: &random) ?? 0] = number() }
        model.graph.nodes[index].attributes[place].value = .ints(values)
      default: model.graph.nodes[index].attributes.remove(at: place)
      }
    case 4, 5:
      let place = Int.random(in: 0..<model.graph.initializers.count, using: &random)
      let tensor = model.graph.initializers[place]
      let data = try tensor.read()
      if data.elementType == .int64 {
        var values = data.elements(of: Int64.self)
        if Int.random(in: 0..<4, using: &random) == 0 { values.append(number()) }
        values[values.indices.randomElement(using: &random) ?? 0] = number()
        model.graph.initializers[place] = ONNXTensor(tensor.name, Tensor(values))
      } else {
        let extents = (0..<Int.random(in: 0...4, using: &random)).map { _ in
          Int.random(in: 0...4, using: &random)
        }
        let value = reals.randomElement(using: &random) ?? 0
        model.graph.initializers[place] = ONNXTensor(
          tensor.name, Tensor(repeating: value, shape: Shape(extents)))
      }
    case 6:
      guard case .tensor(let type, var extents?) = model.graph.inputs[0].type else { return }
      let place = Int.random(in: 0..<extents.count, using: &random)
      extents[place] =
        Int.random(in: 0..<3, using: &random) == 0
        ? .symbol("N") : .fixed(Int(max(number(), 0)))
      model.graph.inputs[0].type = .tensor(type, extents)
    case 7:
      let names = model.graph.nodes.flatMap(\.inputs) + model.graph.nodes.flatMap(\.outputs)
      guard !model.graph.nodes[index].inputs.isEmpty else { return }
      let place = Int.random(in: 0..<model.graph.nodes[index].inputs.count, using: &random)
      model.graph.nodes[index].inputs[place] = names.randomElement(using: &random) ?? ""
    default: model.opsetImports[""] = [1, 5, 6, 7, 9, 10, 11, 13, 18].randomElement(using: &random)
    }
  }

  @Test(arguments: 0..<4) func changedModelsAreImportedOrRefused(model index: Int) throws {
    let original = try Self.models()[index]
    _ = try ONNXFile.load(original)
    var imported = 0
    for seed in 1...UInt64(700) {
      var random = Lehmer(seed: seed)
      var model = original
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        try Self.change(&model, &random)
      }
      do {
        let graph = try ONNXFile.load(model).graph
        imported += 1
        // Open extents get numbers, which may not fit either.
        let shapes = graph.inputViews.map { view in
          (view.name, view.type.dimensions.map { $0.extent ?? 2 })
        }
        do {
          _ = try graph.resolved(
            inputShapes: Dictionary(
              uniqueKeysWithValues: shapes.map { ($0, try Shape(checking: $1)) }))
        } catch is GraphError {}
      } catch is FileError {
      } catch { Issue.record("seed \(seed): not a FileError: \(error)") }
    }
    #expect(imported > 20, "\(imported)")
  }
}
