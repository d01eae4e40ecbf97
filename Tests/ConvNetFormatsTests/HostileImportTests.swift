import ConvNetFormats
import ConvNetGraph
import Testing

/// Well-formed ONNX files that describe what cannot be: refused with the node's name, never a trap.
@Suite struct HostileImportTests {
  private typealias Case = (
    nodes: [ONNXNode], x: [Dimension], stored: [String: Tensor], reason: String
  )

  private func refuse(
    _ model: ONNXModel, _ reason: String, _ code: FileError.Code = .unsupported,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectError(code, reason, sourceLocation: sourceLocation) { _ = try ONNXFile.load(model) }
  }

  @Test func everythingUnsupportedIsListedAtOnce() throws {
    let names = (0..<25).map { "n\($0)" }
    let nodes = names.map { ONNXNode.to($0, $0 == "n3" ? "Relu" : "Loop", "x") }
    let after = ONNXNode.to("after", "Relu", "n7")
    let foreign = ONNXNode(
      "Own", domain: "com.other", name: "F", inputs: ["x"], outputs: ["f"])
    let model = onnx([foreign] + nodes + [after], inputs: ["x": [2]], outputs: ["f", "after"])
    do {
      _ = try ONNXFile.load(model)
      Issue.record("nothing was thrown")
    } catch let error as FileError {
      let reason = error.reason
      #expect(error.code == .unsupported)
      #expect(reason.contains("node \"F\" (Own): the operator com.other.Own is not supported"))
      #expect(reason.contains("node \"N2\" (Loop): the operator Loop is not supported"))
      // What reads a missing value is not to blame.
      #expect(!reason.contains("\"N3\"") && !reason.contains("AFTER"))
      #expect(reason.hasSuffix("; and 5 more"), "\(reason)")
    }
  }

  @Test func graphsThatAreNone() throws {
    let relu = ONNXNode.to("y", "Relu", "x")
    func graph(_ nodes: [ONNXNode], outputs: [String] = ["y"]) -> ONNXModel {
      onnx(nodes, inputs: ["x": [2, 3]], stored: ["w": Tensor(zeros: [3])], outputs: outputs)
    }
    refuse(
      graph([.to("y", "Add", "x", "z"), .to("z", "Relu", "y")]),
      "node \"Y\" (Add): reads \"z\", which no node before it makes")
    refuse(graph([.to("y", "Relu", "y")]), "reads \"y\", which no node")
    refuse(graph([relu, relu]), "node \"Y\" (Relu): makes \"y\" for the second time")
    refuse(graph([.to("w", "Relu", "x")]), "makes \"w\" for the second time")
    refuse(graph([.to("x", "Relu", "w")]), "makes \"x\" for the second time")
    refuse(
      graph([ONNXNode("Split", name: "S", inputs: ["x"], outputs: ["y", "y"])]),
      "makes \"y\" for the second time")
    refuse(graph([.to("y", "Add", "x", "lost")]), "reads \"lost\"")
    refuse(graph([relu], outputs: ["y", "lost"]), "output \"lost\": there is no value")
    refuse(graph([relu], outputs: ["y", "y"]), "\"y\": the output is given twice")
    refuse(graph([.to("y", "Add", "x")]), "node \"Y\" (Add): operand 1 is missing")
    refuse(graph([.to("y", "Conv", "x")]), "operand 1 is missing")
    refuse(graph([.to("y", "Identity")]), "operand 0 is missing")
    refuse(graph([.to("y", "Sum")]), "it has no operands")
    refuse(
      graph([ONNXNode("Relu", name: "R", inputs: ["x"], outputs: ["y", "more"])]), "only 1 of")
    var model = graph([relu])
    model.graph.inputs.append(model.graph.inputs[0])
    refuse(model, "\"x\": the input is given twice")
    for (type, reason) in [
      (ONNXValueInfo.ValueType.unknown, "is no tensor"), (.unsupported("map"), "is no tensor"),
      (.tensor(.string, [.fixed(1)]), "elements of type"), (.tensor(.float, nil), "give its shape"),
      (.tensor(.float, [.fixed(.max), .fixed(2)]), "no tensor can be"),
      (.tensor(.float, [.symbol("N"), .fixed(1 << 40), .fixed(1 << 40)]), "no tensor can be"),
      (.tensor(.float, [.symbol(String(repeating: "N", count: 1 << 17))]), "too long"),
      (.tensor(.float, [ONNXValueInfo.Dimension](repeating: .fixed(1), count: 65)), "no tensor"),
    ] {
      model.graph.inputs = [ONNXValueInfo("x", type)]
      refuse(model, reason)
    }
    model.opsetImports = ["com.other": 1]
    refuse(model, "none of ONNX's own")
  }

  private static let w = ["w": Tensor(zeros: [4, 2, 3, 3])]
  private static let image: [Dimension] = ["N", 2, 8, 8]
  private static let big = Int64.max
  private static func i(_ values: Int64...) -> [String: Tensor] { ["i": Tensor(values)] }

  /// Convolution, pooling and products.
  private static let windows: [Case] = [
    ([.to("y", "Conv", "x", "w", with: .text("strides", "2"))], image, w, "is a string, not int"),
    (
      [.to("y", "Conv", "x", "w", with: .ints("group", [1]))], image, w,
      "integers, not an integer"
    ),
    (
      [.to("y", "Conv", "x", "w", with: .int("auto_pad", 1))], image, w,
      "an integer, not a string"
    ),
    ([.to("y", "Conv", "x", "w", with: .int("group", 0))], image, w, "in 0 groups"),
    ([.to("y", "Conv", "x", "w", with: .int("group", .min))], image, w, "groups"),
    ([.to("y", "Conv", "x", "w", with: .ints("strides", [big, 1]))], image, w, "between 1 and"),
    ([.to("y", "Conv", "x", "w", with: .ints("dilations", [0, 1]))], image, w, "between 1 and"),
    ([.to("y", "Conv", "x", "w", with: .ints("pads", [big, 0, 0, 0]))], image, w, "padding"),
    ([.to("y", "Conv", "x", "w", with: .ints("pads", [1]))], image, w, "1 pads do not fit"),
    ([.to("y", "Conv", "x", "w", with: .ints("kernel_shape", [0, 0]))], image, w, "a kernel of"),
    ([.to("y", "Conv", "x", "w", with: .text("auto_pad", "SAME"))], image, w, "no auto_pad"),
    ([.to("y", "Conv", "x", "w")], image, ["w": Tensor(zeros: [4, 2, 0, 3])], "between 1 and"),
    ([.to("y", "Conv", "x", "w")], ["N", "C", 8, 8], w, "do not fit"),
    ([.to("y", "Conv", "x", "w")], image, ["w": Tensor(zeros: [4])], "is not known"),
    (
      [.to("y", "ConvTranspose", "x", "w", with: .ints("output_padding", [big, big]))],
      [1, 4, 8, 8], w, "gives no output"
    ),
    (
      [.to("y", "ConvTranspose", "x", "w", with: .ints("output_shape", [big, big]))],
      [1, 4, 8, 8], w, "open extents"
    ),
    (
      [.to("y", "MaxPool", "x", with: .ints("kernel_shape", [.max, .max]))], image, [:],
      "between 1 and"
    ),
    ([.to("y", "MaxPool", "x", with: .ints("kernel_shape", []))], image, [:], "rank"),
    ([.to("y", "AveragePool", "x")], image, [:], "the kernel is missing"),
    ([.to("y", "LRN", "x", with: .int("size", big))], image, [:], ""),
    ([.to("y", "LRN", "x", with: .int("size", 0))], image, [:], "windows of 0"),
    ([.to("y", "Gemm", "x", "w", with: .int("transB", 1))], [2, 3], w, "other dimensions"),
    ([.to("y", "MatMul", "x", "w")], [], w, "multiplies matrices"),
  ]

  /// What moves elements.
  private static let shapes: [Case] = [
    ([.to("y", "Concat", "x", with: .int("axis", .min))], image, [:], "does not exist"),
    ([.to("y", "Softmax", "x", with: .int("axis", 4))], image, [:], "does not exist"),
    ([.to("y", "Flatten", "x", with: .int("axis", -5))], image, [:], "does not exist"),
    ([.to("y", "Gather", "x", "i", with: .int("axis", 9))], image, i(0), "does not exist"),
    (
      [.to("y", "Transpose", "x", with: .ints("perm", [0, 0, 1, 9]))], image, [:], "not an order"
    ),
    ([.to("y", "Transpose", "x", with: .ints("perm", []))], image, [:], "not an order"),
    ([.to("y", "Squeeze", "x", "i")], image, i(1), "cannot be reshaped"),
    ([.to("y", "Unsqueeze", "x", "i")], image, i(0, 0), "do not fit"),
    ([.to("y", "Unsqueeze", "x", "i")], image, i(.min), "do not fit"),
    ([.to("y", "Reshape", "x", "i")], image, i(big, big), ""),
    ([.to("y", "Reshape", "x", "i")], [2, 3], i(-2), "reshaped"),
    ([.to("y", "Reshape", "x", "i")], [2, 3], i(-1, -1), "reshaped"),
    ([.to("y", "Reshape", "x", "i")], [2, 3], i(1 << 32, 1 << 32, -1), "reshaped"),
    ([.to("y", "Expand", "x", "i")], [1, 3], i(big, 3), ""),
    ([.to("y", "Expand", "x", "i")], [1, 3], i(-1, 3), "an extent of -1"),
    ([.to("y", "Tile", "x", "i")], [2, 3], i(1 << 62, 1 << 62), ""),
    ([.to("y", "Tile", "x", "i")], [2, 3], i(1), "1 repeats do not fit"),
    ([.to("y", "ConstantOfShape", "i")], image, i(1 << 62, 4), ""),
    ([.to("y", "ConstantOfShape", "i")], image, i(-4), "an extent of -4"),
    ([.to("y", "ConstantOfShape", "i", with: .int("value", 3))], image, i(2), "not a tensor"),
    (
      [.to("y", "Range", "zero", "i", "one")], image,
      [
        "zero": Tensor(scalar: Int64(0)), "i": Tensor(scalar: big),
        "one": Tensor(scalar: Int64(1)),
      ], "a range from 0"
    ),
    (
      [.to("y", "Range", "i", "i", "i")], image, ["i": Tensor(scalar: Int64(0))], "a range from 0"
    ),
    ([.to("y", "Pad", "x", "i")], [2, 3], i(big, 0, 0, big), "too large"),
    ([.to("y", "Pad", "x", "i")], [2, 3], i(-2, 0, -1, 0), ""),
    ([.to("y", "Pad", "x", "i")], [2, 3], i(1), "do not fit"),
    (
      [.to("y", "Pad", "x", "i", with: .text("mode", "reflect"))], [2, 3], i(5, 0, 0, 0), "past"
    ),
    ([.to("y", "Slice", "x", "i", "i", "i", "i")], [2, 3], i(0), "a step of 0"),
    ([.to("y", "Slice", "x", "i", "i", "i", "i")], [2, 3], i(.min), ""),
    ([.to("y", "Slice", "x", "i", "i", "i")], [2, 3], i(1, 1), "twice"),
    ([.to("y", "Split", "x", with: .int("num_outputs", big))], [2, .fixed(1 << 40)], [:], "parts"),
    (
      [.to("y", "Split", "x", with: .int("axis", 1), .int("num_outputs", 1 << 40))],
      [2, .fixed(1 << 40)], [:], "parts"
    ),
    ([.to("y", "Split", "x", "i")], [2, 3], i(big, big), "a part of"),
    ([.to("y", "Split", "x", "i")], [2, 3], i(-1, 3), "a part of"),
  ]

  /// Everything else.
  private static let others: [Case] = [
    ([.to("y", "DepthToSpace", "x", with: .int("blocksize", 0))], image, [:], "block size"),
    ([.to("y", "SpaceToDepth", "x", with: .int("blocksize", .max))], image, [:], "block size"),
    ([.to("y", "SpaceToDepth", "x", with: .int("blocksize", 3))], [1, 2, 8, 8], [:], ""),
    ([.to("y", "GroupNormalization", "x", with: .int("num_groups", 0))], image, [:], "groups"),
    ([.to("y", "GroupNormalization", "x", with: .int("num_groups", big))], image, [:], "groups"),
    // Four groups would divide the 128 numbers of an image, but not its channels.
    ([.to("y", "GroupNormalization", "x", with: .int("num_groups", 4))], image, [:], "4 groups"),
    ([.to("y", "Cast", "x", with: .int("to", .min))], image, [:], "no element type"),
    ([.to("y", "ReduceMean", "x", "i")], image, i(1, 1), "twice"),
    ([.to("y", "ReduceMean", "x", "i")], image, i(.max), "does not exist"),
    ([.to("y", "Resize", "x", "", "w")], image, w, "scales do not fit"),
    ([.to("y", "Resize", "x", "", "", "i")], [1, 2, 8, 8], i(1, 2, big, 8), "a resize to"),
    ([.to("y", "Resize", "x", "", "", "i")], [1, 2, 8, 8], i(1, 2, -8, 8), "a resize to"),
    ([.to("y", "Resize", "x")], image, [:], "neither scales nor sizes"),
    (
      [.to("y", "Resize", "x", "", "s")], [1, 2, 8, 8],
      ["s": Tensor([1, 1, .infinity, .nan] as [Float])], "a resize of"
    ),
    ([.to("y", "Squeeze", "x", "i")], image, ["i": Tensor(zeros: [1 << 17])], "too long for"),
    ([.to("y", "Relu", "i")], image, i(1), ""),
    ([.to("y", "Add", "x", "i")], [2], i(1, 2), ""),
  ]

  /// Of every node the attribute or operand that cannot be.
  @Test func nodesThatCannotBe() {
    for (nodes, extents, stored, reason) in Self.windows + Self.shapes + Self.others {
      let model = onnx(nodes, inputs: ["x": extents], stored: stored)
      refuse(model, "node \"Y\" (\(nodes[0].opType)): ")
      refuse(model, reason)
    }
  }

  /// Names of open extents that double with every node, and long chains.
  @Test func growthIsBounded() throws {
    var doubling = (0..<64).map { ONNXNode.to("x\($0 + 1)", "Concat", "x\($0)", "x\($0)") }
    for index in doubling.indices { doubling[index].attributes = [.int("axis", 0)] }
    refuse(onnx(doubling, inputs: ["x0": ["N", 2]], outputs: ["x64"]), "too long")
    refuse(onnx(doubling, inputs: ["x0": [3, 2]], outputs: ["x64"]), "no tensor can be")
    let wide = ONNXNode(
      "Concat", name: "Y", inputs: [String](repeating: "x", count: 5000), outputs: ["y"],
      attributes: [.int("axis", 0)])
    refuse(onnx([wide], inputs: ["x": ["N", 2]]), "5000 operands are too many")
    // The bias of a product is looked for behind transposes, but not for ever.
    let turns = (0..<4000).map { ONNXNode.to("x\($0 + 1)", "Transpose", "x\($0)") }
    let sums = (0..<1000).map { ONNXNode.to("y\($0)", "Add", "x4000", "b") }
    let model = try ONNXFile.load(
      onnx(
        turns + sums, inputs: ["x0": [2, 2]], stored: ["b": Tensor(zeros: [2])], outputs: ["y999"]))
    #expect(model.graph.outputViews.count == 1)
  }

  /// Beside an extent of 0 another needs no bytes in the file, and must take no time.
  @Test func extentsBesideNothingAreNotWalked() throws {
    let (many, few) = (1 << 40, 3)
    func run(_ node: ONNXNode, _ x: [Dimension], _ w: Shape) throws {
      let model = onnx([node], inputs: ["x": x], stored: ["w": Tensor(zeros: w)])
      try withFolder { folder in
        try model.write(to: folder + "/a.onnx")
        for load in [{ try ONNXFile.load(model) }, { try ONNXFile.load(folder + "/a.onnx") }] {
          do { _ = try load() } catch is FileError {}
        }
      }
    }
    try run(.to("y", "Gemm", "x", "w", with: .int("transB", 1)), [2, 0], [many, 0])
    try run(.to("y", "Transpose", "w", with: .ints("perm", [0, 2, 1])), [1], [many, 0, few])
    try run(.to("y", "Transpose", "w", with: .ints("perm", [1, 0])), [1], [many, 0])
    try run(.to("y", "Conv", "x", "w"), [1, 2, 8, 8], [many, 2, 0, few])
    try run(.to("y", "Conv", "x", "w"), ["N", 0, 8, 8], [many, 0, few, few])
    try run(.to("y", "Add", "x", "w"), [1, 0], [many, 0])
    try run(.to("y", "Concat", "w", "w", with: .int("axis", 1)), [1], [many, 0])
    try run(.to("y", "Squeeze", "x", "w"), [1], [many, 0])
    try run(.to("y", "Gather", "w", "w", with: .int("axis", 1)), [1], [many, 0])
  }
}
