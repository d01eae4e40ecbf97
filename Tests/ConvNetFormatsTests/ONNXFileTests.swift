import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct ONNXFileTests {
  /// A small model with everything that is written.
  static func model() -> ONNXModel {
    var inner = ONNXGraph()
    inner.name = "inner"
    inner.outputs = [ONNXValueInfo("y", .unknown)]
    var model = ONNXModel()
    model.producerName = "convnet"
    model.producerVersion = "1"
    model.opsetImports = ["": 20, "other": -1]
    model.metadata = ["classes": "a,b", "ключ": ""]
    model.graph.name = "g"
    model.graph.nodes = [
      ONNXNode(
        "Conv", name: "c", inputs: ["x", "float32", ""], outputs: ["y"],
        attributes: [
          ONNXAttribute("strides", .ints([1, -2])), ONNXAttribute("group", .int(-1)),
          ONNXAttribute("floats", .floats([0.5])), ONNXAttribute("f", .float(-0.25)),
          ONNXAttribute("auto_pad", .string("SAME_UPPER")), ONNXAttribute("none", .ints([])),
          ONNXAttribute("strings", .strings(["a", ""])), ONNXAttribute("graph", .graph(inner)),
          ONNXAttribute("value", .tensor(ONNXTensor("", Tensor([1, 2] as [Int64])))),
        ]), ONNXNode("Own", domain: "other", inputs: ["y"], outputs: ["z"]),
    ]
    model.graph.initializers = samples().sorted { $0.key < $1.key }.map { ONNXTensor($0, $1) }
    model.graph.inputs = [
      ONNXValueInfo("x", .tensor(.float, [.symbol("N"), .fixed(3), .unknown]))
    ]
    model.graph.outputs = [ONNXValueInfo("z", .tensor(.int64, nil))]
    model.graph.valueInfos = [ONNXValueInfo("y", .tensor(.bool, []))]
    return model
  }

  @Test func roundTripKeepsEverything() throws {
    try withFolder { folder in
      let path = folder + "/a.onnx"
      let model = Self.model()
      try model.write(to: path)
      let read = try ONNXModel.read(path)
      #expect(read.opsetImports == model.opsetImports && read.metadata == model.metadata)
      #expect(read.graph.inputs == model.graph.inputs && read.graph.outputs == model.graph.outputs)
      #expect(read.graph.valueInfos == model.graph.valueInfos)
      for tensor in read.graph.initializers {
        #expect(try tensor.read() == samples()[tensor.name], "\(tensor.name)")
      }
      let first = try bytes(of: path)
      // Written again from what was read, in place of itself, the bytes are the same.
      try read.write(to: path)
      #expect(try bytes(of: path) == first)
      #expect(try names(in: folder) == ["a.onnx"])
    }
  }

  @Test func largeModelsHaveTheirDataInASecondFile() throws {
    try withFolder { folder in
      let values = Tensor((0..<600).map(Float.init), shape: [20, 30])
      var model = ONNXModel()
      model.opsetImports = ["": 20]
      model.graph.name = "g"
      let transposed = try ONNXTensor("", values).read(permutedBy: [1, 0])
      model.graph.initializers = [
        ONNXTensor("a", values), ONNXTensor("b", values, permutedBy: [1, 0]),
        ONNXTensor("c", .float32, [20, 30]) { values }, ONNXTensor("small", Tensor(scalar: 1.5)),
      ]
      let expected = ["a": values, "b": transposed, "c": values, "small": Tensor(scalar: 1.5)]
      let path = folder + "/a.onnx"
      for limit in [5000, ONNXModel.messageLimit] {
        try model.write(to: path, limit: limit)
        let read = try ONNXModel.read(path)
        for tensor in read.graph.initializers {
          #expect(try tensor.read() == expected[tensor.name], "\(tensor.name), \(limit)")
        }
        // From an external file into the model's own, and the other way round.
        try read.write(to: folder + "/b.onnx", limit: limit == 5000 ? .max : 5000)
        let again = try ONNXModel.read(folder + "/b.onnx")
        for tensor in again.graph.initializers {
          #expect(try tensor.read() == expected[tensor.name], "\(tensor.name), \(limit)")
        }
      }
      let isLong = try bytes(of: path + ".data").count == 2 * 4096 + 2400
      #expect(isLong, "pages for two tensors and the third")
      #expect(try names(in: folder) == ["a.onnx", "a.onnx.data", "b.onnx", "b.onnx.data"])
    }
  }

  @Test(arguments: [
    [1], [], [7, 1, 3], [17, 5, 3, 3], [33, 70], [3, 5000], [70, 4100], [2, 40_000, 2], [1, 0, 2],
    [40_000, 2], [2, 2, 30_000], [5, 3, 2, 2, 3],
  ])
  func readsInEveryOrderOfAxes(extents: [Int]) throws {
    try withFolder { folder in
      let shape = Shape(extents)
      let values = Tensor((0..<shape.count).map { Int32($0) }, shape: shape)
      let narrow = Tensor((0..<shape.count).map { UInt8($0 % 251) }, shape: shape)
      try ONNXTensorFile.write("a", values, to: folder + "/a.pb")
      try ONNXTensorFile.write("", narrow, to: folder + "/b.pb")
      let wide = try ONNXTensorFile.open(folder + "/a.pb")
      let small = try ONNXTensorFile.open(folder + "/b.pb")
      for axes in Self.permutations(shape.rank) {
        let expected = Self.permuted(values, axes)
        #expect(try wide.read(permutedBy: axes) == expected, "\(axes)")
        #expect(
          try small.read(permutedBy: axes).elements(of: UInt8.self)
            == expected.elements(of: Int32.self).map { UInt8($0 % 251) }, "\(axes)")
        let turned = ONNXTensor("", values, permutedBy: axes)
        #expect(try ONNXTensor("", values).read(permutedBy: axes) == expected, "\(axes)")
        #expect(turned.shape == expected.shape)
        #expect(try turned.read() == expected, "\(axes)")
        if shape.rank == 4 {
          var model = ONNXModel()
          model.opsetImports = ["": 20]
          model.graph.initializers = [turned]
          try model.write(to: folder + "/c.onnx")
          let read = try ONNXModel.read(folder + "/c.onnx").graph.initializers[0].read()
          #expect(read == expected, "\(axes)")
        }
      }
    }
  }

  static func permutations(_ count: Int) -> [[Int]] {
    guard count > 0 else { return [[]] }
    // Of five axes only those that begin with the last: 24 are enough.
    let all = permutations(count - 1).flatMap { rest in
      (0..<count).map { place in Array(rest[..<place]) + [count - 1] + Array(rest[place...]) }
    }
    return count > 4 ? all.filter { $0[0] == 4 } : all
  }

  /// Element by element: the index along axis d of the result is that along axes[d] of the source.
  static func permuted(_ tensor: Tensor, _ axes: [Int]) -> Tensor {
    let values = tensor.elements(of: Int32.self)
    let shape = Shape(axes.map { tensor.shape[$0] })
    let (from, to) = (tensor.shape.strides, shape.strides)
    let result = (0..<values.count).map { index in
      var source = 0
      for d in 0..<axes.count { source += index / to[d] % shape[d] * from[axes[d]] }
      return values[source]
    }
    return Tensor(result, shape: shape)
  }

  @Test func refusesToWriteWhatItDoesNotRead() throws {
    try withFolder { folder in
      let path = folder + "/a.onnx"
      var model = Self.model()
      model.functions = ["a.b"]
      expectError(.unsupported, "functions") { try model.write(to: path) }
      model = Self.model()
      model.graph.nodes[0].attributes.append(ONNXAttribute("t", .unsupported("a type")))
      expectError(.unsupported, "node \"c\", attribute \"t\"") { try model.write(to: path) }
      model = Self.model()
      model.graph.inputs = [ONNXValueInfo("x", .unsupported("map"))]
      expectError(.unsupported, "\"x\"") { try model.write(to: path) }
      let typed = try ONNXModel.read(ONNXFixtureTests.path("typed.onnx")).graph.initializers
      model = Self.model()
      model.graph.initializers = typed.filter { $0.name == "field.int8" }
      expectError(.unsupported, "field.int8") { try model.write(to: path) }
      #expect(try names(in: folder).isEmpty)
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      try Self.model().write(to: folder + "/a.onnx")
      try damage(try bytes(of: folder + "/a.onnx"), in: folder) { try readEverything($0) }
    }
  }
}
