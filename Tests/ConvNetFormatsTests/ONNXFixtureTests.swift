import ConvNetFormats
import ConvNetGraph
import Testing

/// Files that the `onnx` package wrote: scripts/fixtures/onnxfiles.py.
@Suite struct ONNXFixtureTests {
  static func path(_ name: String, from file: String = #filePath) -> String {
    let folder = file.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/\(folder)/Fixtures/ONNX/\(name)"
  }

  /// What the script's `values` gives for a type, as it is read.
  static func expected(_ type: ONNXDataType) -> Tensor? {
    let isUnsigned = [.uint64, .uint32, .uint16, .uint8].contains(type)
    let values: [Double] = isUnsigned ? [0, 1, 2, 100, 7, 8] : [0, 1, -2, 100, -7, 8]
    if type == .bool { return Tensor([false, true, true, false, true, false], shape: [2, 3]) }
    return type.elementType.map { Tensor(doubles: values, shape: [2, 3], elementType: $0) }
  }

  @Test func readsEveryTypeFromEveryField() throws {
    let model = try ONNXModel.read(Self.path("typed.onnx"))
    #expect(model.graph.initializers.count == 28)
    for tensor in model.graph.initializers {
      let expected = try #require(Self.expected(tensor.dataType), "\(tensor.name)")
      #expect(try tensor.read() == expected, "\(tensor.name)")
      let values = expected.doubles
      let transposed = [0, 3, 1, 4, 2, 5].map { values[$0] }
      let result = try tensor.read(permutedBy: [1, 0])
      #expect(result.shape == [3, 2] && result.doubles == transposed, "\(tensor.name)")
    }
  }

  @Test func readsTheStructure() throws {
    let model = try ONNXModel.read(Self.path("typed.onnx"))
    #expect(model.irVersion == 9)
    #expect(model.producerName == "fixtures" && model.producerVersion == "1")
    #expect(model.opsetImports == ["": 18, "test": 2])
    #expect(model.metadata == ["key": "value"])
    #expect(model.functions == ["test.Own"])
    let graph = model.graph
    #expect(graph.name == "typed")
    #expect(graph.nodes.count == 1)
    #expect(
      graph.inputs == [
        ONNXValueInfo("x", .tensor(.float, [.symbol("N"), .fixed(3), .unknown])),
        ONNXValueInfo("sequence", .unsupported("sequence")),
      ])
    #expect(graph.outputs == [ONNXValueInfo("y", .tensor(.int64, nil))])
    #expect(graph.valueInfos == [ONNXValueInfo("z", .tensor(.bool, []))])
  }

  @Test func readsEveryKindOfAttribute() throws {
    let model = try ONNXModel.read(Self.path("typed.onnx"))
    let node = try #require(model.graph.nodes.first)
    #expect(node.name == "everything" && node.opType == "Everything" && node.domain == "test")
    #expect(node.inputs == ["x", "", "raw.float"] && node.outputs == ["y"])
    func check(_ name: String, _ isRight: (ONNXAttribute.Value?) -> Bool) {
      #expect(isRight(node[name]), "\(name): \(String(describing: node[name]))")
    }
    check("int") { if case .int(-3) = $0 { true } else { false } }
    check("float") { if case .float(0.5) = $0 { true } else { false } }
    check("string") { if case .string("Grüße") = $0 { true } else { false } }
    check("ints") { if case .ints([1, -2, 1_099_511_627_776]) = $0 { true } else { false } }
    check("floats") { if case .floats([1.5, -0.25]) = $0 { true } else { false } }
    check("strings") { if case .strings(["a", "b"]) = $0 { true } else { false } }
    check("type") { if case .unsupported("a type") = $0 { true } else { false } }
    check("none") { $0 == nil }
    guard case .tensor(let tensor) = node["tensor"], case .graph(let inner) = node["graph"] else {
      Issue.record("the tensor and the graph are missing")
      return
    }
    #expect(try tensor.read() == Tensor([0, 1, 2] as [Int64]))
    #expect(inner.name == "inner" && inner.nodes.map(\.opType) == ["Identity"])
  }

  @Test func readsExternalData() throws {
    let model = try ONNXModel.read(Self.path("external.onnx"))
    let weight = try #require(model.graph.initializers.first)
    guard case .external(let data) = weight.contents else {
      Issue.record("the weight is not external")
      return
    }
    #expect(data.location == "external.onnx.data")
    let values = (0..<24).map(Float.init)
    #expect(try weight.read() == Tensor(values, shape: [2, 3, 2, 2]))
    // Element (h, w, i, o) of the result is element (o, i, h, w) of the file.
    let permuted = (0..<24).map { index in
      let (h, w, i, o) = (index / 12, index / 6 % 2, index / 2 % 3, index % 2)
      return Float(12 * o + 4 * i + 2 * h + w)
    }
    #expect(
      try weight.read(permutedBy: [2, 3, 1, 0]) == Tensor(permuted, shape: [2, 2, 3, 2]))
    #expect(try model.graph.initializers[1].read() == Tensor([1, -1] as [Float]))
  }

  @Test func readsSingleTensors() throws {
    let (name, tensor) = try ONNXTensorFile.read(Self.path("tensor.pb"))
    #expect(name == "input")
    #expect(tensor == Tensor([1, 2, 3, 4] as [Float], shape: [2, 2]))
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      var original = try bytes(of: Self.path("typed.onnx"))
      try damage(original, flips: 500, in: folder) { try readEverything($0) }
      original = try bytes(of: Self.path("tensor.pb"))
      try damage(original, in: folder) { _ = try ONNXTensorFile.read($0) }
    }
  }
}

/// Reads a model and all data that it has, in attributes and nested graphs too.
func readEverything(_ path: String) throws {
  func read(_ graph: ONNXGraph) throws {
    for tensor in graph.initializers where tensor.elementType != nil {
      _ = try tensor.read(permutedBy: Array((0..<tensor.shape.rank).reversed()))
    }
    for attribute in graph.nodes.flatMap(\.attributes) {
      switch attribute.value {
      case .tensor(let tensor) where tensor.elementType != nil: _ = try tensor.read()
      case .graph(let inner): try read(inner)
      default: break
      }
    }
  }
  try read(try ONNXModel.read(path).graph)
}
