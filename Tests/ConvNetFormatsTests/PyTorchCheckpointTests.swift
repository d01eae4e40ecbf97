import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct PyTorchCheckpointTests {
  /// A convolution, a batch norm, a depthwise convolution and two dense layers, the first of which sees a
  /// flattened map of 2 × 3 positions and 4 channels.
  private static func graph(classes: Int = 2) throws -> Graph {
    try Graph(input: .image(height: 2, width: 3, channels: 3)) { x in
      x.convolution(4, kernel: 3, bias: false, name: "conv").batchNormalization(name: "bn").relu()
        .depthwiseConvolution(kernel: 3, bias: false, name: "depthwise")
        .flatten().dense(5, name: "hidden").relu().dense(classes, name: "fc")
    }
  }

  /// Numbers that say where they are: of the parameter i, element k is 1000·i + k.
  private static func model(_ graph: Graph) throws -> Model {
    var parameters: [String: Tensor] = [:]
    for (index, view) in graph.parameterViews.enumerated() {
      let shape = try #require(view.type.shape)
      parameters[view.name] = Tensor(
        (0..<shape.count).map { Float(1000 * index + $0) }, shape: shape)
    }
    var state = Model.initialState(of: graph)
    for (name, tensor) in state where tensor.elementType == .float32 {
      state[name] = Tensor((0..<tensor.count).map { Float($0) + 0.5 }, shape: tensor.shape)
    }
    for name in state.keys where name.hasSuffix("num_batches_tracked") {
      state[name] = Tensor(scalar: Int64(42))
    }
    return try Model(graph: graph, parameters: parameters, state: state)
  }

  /// The tensors of a checkpoint of `graph()`, for tests that change them.
  private static func tensors(in folder: String) throws -> [String: Tensor] {
    try PyTorchCheckpoint.save(model(graph()), to: folder + "/tensors")
    return try SafetensorsFile.open(folder + "/tensors").readAll()
  }

  private static func load(
    _ tensors: [String: Tensor], _ graph: Graph? = nil, in folder: String
  ) throws -> Model {
    try SafetensorsFile.write(tensors, to: folder + "/changed")
    return try PyTorchCheckpoint.load(folder + "/changed", into: graph ?? Self.graph())
  }

  private func expectSame(_ a: Model, _ b: Model, _ comment: Comment = "") {
    #expect(a.parameters == b.parameters, comment)
    #expect(a.state == b.state, comment)
  }

  @Test func layoutsArePyTorchs() throws {
    try withFolder { folder in
      let model = try Self.model(Self.graph())
      let tensors = try Self.tensors(in: folder)
      #expect(tensors.keys.sorted() == (Array(model.parameters.keys) + model.state.keys).sorted())
      func expect(
        _ name: String, _ shape: Shape, _ index: (_ i: [Int]) -> Int
      ) throws {
        let there = try #require(tensors[name])
        let here = try #require(model.parameters[name])
        #expect(there.shape == shape, "\(name)")
        let values = (0..<shape.count).map { k in
          here.floats[index(shape.strides.indices.map { k / shape.strides[$0] % shape[$0] })]
        }
        #expect(there.floats == values, "\(name)")
      }
      // [o, i, u, v] is [u, v, i, o] here; [o, features] is [features, o].
      try expect("conv.weight", [4, 3, 3, 3]) { (($0[2] * 3 + $0[3]) * 3 + $0[1]) * 4 + $0[0] }
      try expect("depthwise.weight", [4, 1, 3, 3]) { ($0[2] * 3 + $0[3]) * 4 + $0[0] }
      try expect("fc.weight", [2, 5]) { $0[1] * 2 + $0[0] }
      // Column (c·2 + h)·3 + w there is row (h·3 + w)·4 + c here.
      try expect("hidden.weight", [5, 24]) { i in
        let (channel, position) = (i[1] / 6, i[1] % 6)
        return (position * 4 + channel) * 5 + i[0]
      }
      try expect("bn.weight", [4]) { $0[0] }
      #expect(tensors["bn.num_batches_tracked"] == Tensor(scalar: Int64(42)))
      #expect(tensors["bn.running_var"] == model.state["bn.running_var"])
      expectSame(try Self.load(tensors, in: folder), model)
    }
  }

  /// Ours to PyTorch's and back, with every layer that the built-in networks have.
  @Test func roundTripKeepsEveryBit() throws {
    try withFolder { folder in
      let graphs = [
        try Graph(input: .image(height: 8, width: 8, channels: 3)) { x in
          x.vgg(stages: [[4], [5, 6]], units: 7, classes: 3, normalized: true)
        },
        try Graph(input: .image(height: 6, width: 6, channels: 4)) { x in
          x.invertedResidual(6, expansion: 2, stride: 2, normalized: true)
            .bottleneckBlock(3, stride: 1, normalized: true)
            .denseBlock(layers: 2, growth: 2, normalized: true).denseTransition(normalized: true)
            .transposedConvolution(4, kernel: 3, stride: 2, groups: 2).groupNormalization(groups: 2)
            .globalAveragePooling().dense(3)
        },
      ]
      for graph in graphs {
        let model = try Self.model(graph)
        try PyTorchCheckpoint.save(model, to: folder + "/a")
        let loaded = try PyTorchCheckpoint.load(folder + "/a", into: graph)
        expectSame(loaded, model)
        try PyTorchCheckpoint.save(loaded, to: folder + "/b")
        #expect(try bytes(of: folder + "/a") == bytes(of: folder + "/b"))
      }
    }
  }

  /// Whether rows are permuted, the graph says: what lies between the map and the dense layer, a batch norm
  /// of its features, and maps that were put channels first.
  @Test func flattenedMapsAreFoundInTheGraph() throws {
    let input = TensorType.image(height: 2, width: 2, channels: 3)
    func rows(_ layers: @escaping (Graph.Value) -> Graph.Value) throws -> [String: Tensor] {
      try withFolder { folder in
        try PyTorchCheckpoint.save(Self.model(Graph(input: input, layers)), to: folder + "/a")
        return try SafetensorsFile.open(folder + "/a").readAll()
      }
    }
    let (mine, permuted): ([Float], [Float]) = (
      (0..<12).map { Float($0) }, (0..<12).map { Float($0 % 4 * 3 + $0 / 4) }
    )
    let direct = try rows { $0.flatten().dense(1, name: "d") }
    #expect(direct["d.weight"]?.floats == permuted)
    let between = try rows { $0.flatten().relu().dropout(0.5).reshaped([12]).dense(1, name: "d") }
    #expect(between["d.weight"]?.floats == permuted)
    let reshaped = try rows { $0.reshaped([-1]).dense(1, name: "d") }
    #expect(reshaped["d.weight"]?.floats == permuted)
    let first = try rows { $0.transposed([0, 3, 1, 2]).relu().flatten().dense(1, name: "d") }
    #expect(first["d.weight"]?.floats == mine)
    let pooled = try rows { $0.globalAveragePooling().flatten().dense(12).dense(1, name: "d") }
    #expect(pooled["d.weight"]?.floats.map { $0 - 2000 } == mine)
    let normalized = try rows { $0.flatten().batchNormalization(name: "b").dense(1, name: "d") }
    #expect(normalized["b.weight"]?.floats == permuted)
    #expect(normalized["b.bias"]?.floats.map { $0 - 1000 } == permuted)
    #expect(normalized["b.running_mean"]?.floats.map { $0 - 0.5 } == permuted)
    #expect(normalized["b.running_var"]?.floats.map { $0 - 0.5 } == permuted)
    #expect(normalized["d.weight"]?.floats.map { $0 - 2000 } == permuted)
  }

  @Test func countersInAllForms() throws {
    try withFolder { folder in
      let name = "bn.num_batches_tracked"
      var tensors = try Self.tensors(in: folder)
      func count() throws -> Tensor? { try Self.load(tensors, in: folder).state[name] }
      for form in [
        Tensor(scalar: Int64(7)), Tensor([7] as [Int64]), Tensor(scalar: Int32(7)),
        Tensor(scalar: Float(7)), Tensor([7] as [Double]), Tensor(scalar: UInt8(7)),
      ] {
        tensors[name] = form
        #expect(try count() == Tensor(scalar: Int64(7)), "\(form.elementType) \(form.shape)")
      }
      tensors[name] = Tensor(scalar: Int64.max)
      #expect(try count() == Tensor(scalar: Int64.max))
      for wrong in [
        Tensor(scalar: Int64(-1)), Tensor(scalar: Float.nan), Tensor(scalar: Float(-1)),
        Tensor(scalar: Float(1.5)), Tensor(scalar: Float.infinity), Tensor(scalar: 0x1p63),
      ] {
        tensors[name] = wrong
        expectError(.malformed, "\"bn.num_batches_tracked\"") { _ = try count() }
      }
      for misshapen in [
        Tensor([1, 2] as [Int64]), Tensor([] as [Int64]), Tensor([1] as [Int64], shape: [1, 1]),
        Tensor(scalar: true),
      ] {
        tensors[name] = misshapen
        expectError(.mismatched, "\(name) is") { _ = try count() }
      }
      tensors[name] = nil
      #expect(try count() == Tensor(scalar: Int64(0)))
    }
  }

  @Test func sharedPrefixesAreLeftOut() throws {
    try withFolder { folder in
      let model = try Self.model(Self.graph())
      let tensors = try Self.tensors(in: folder)
      func prefixed(_ prefix: String) -> [String: Tensor] {
        Dictionary(uniqueKeysWithValues: tensors.map { (prefix + $0, $1) })
      }
      for prefix in ["module.", "model.", "state_dict.", "state_dict.model.module."] {
        expectSame(try Self.load(prefixed(prefix), in: folder), model, "\(prefix)")
      }
      expectError(.mismatched, "10 are missing") {
        _ = try Self.load(prefixed("backbone."), in: folder)
      }
      var mixed = prefixed("module.")
      mixed["conv.weight"] = mixed.removeValue(forKey: "module.conv.weight")
      expectError(.mismatched, "9 are missing") { _ = try Self.load(mixed, in: folder) }
      // A network whose own names begin so.
      let graph = try Graph(input: .features(2)) { x in
        x.scoped("model") { $0.dense(1, name: "fc") }
      }
      let own = try Self.model(graph)
      try PyTorchCheckpoint.save(own, to: folder + "/own")
      expectSame(try PyTorchCheckpoint.load(folder + "/own", into: graph), own)
    }
  }

  @Test func oldNamesOfDenseNets() throws {
    try withFolder { folder in
      let graph = try Graph(input: .image(height: 4, width: 4, channels: 2)) { x in
        x.denseBlock(layers: 2, growth: 2, normalized: true)
      }
      let model = try Self.model(graph)
      try PyTorchCheckpoint.save(model, to: folder + "/new")
      var tensors = try SafetensorsFile.open(folder + "/new").readAll()
      for name in tensors.keys {
        let old = ["norm1", "norm2", "conv1", "conv2"].reduce(name) { name, part in
          name.replacing(part, with: "\(part.dropLast()).\(part.last ?? "0")")
        }
        tensors[old] = tensors.removeValue(forKey: name)
      }
      #expect(tensors["denselayer1.norm.1.weight"] != nil)
      expectSame(try Self.load(tensors, graph, in: folder), model)
    }
  }

  @Test func everythingThatDoesNotFitIsReportedTogether() throws {
    try withFolder { folder in
      var tensors = try Self.tensors(in: folder)
      tensors["fc.bias"] = nil
      tensors["conv.weight"] = Tensor(zeros: [3, 3, 3, 4])
      tensors["bn.weight"] = Tensor(zeros: [4], elementType: .float64)
      for index in 0..<45 { tensors["stranger.\(10 + index)"] = Tensor(zeros: [1]) }
      for text in [
        "2 are of another shape: conv.weight is F32 [3, 3, 3, 4], not F32 [4, 3, 3, 3], here "
          + "[3, 3, 3, 4], bn.weight is F64 [4], not F32 [4]; ",
        "1 is missing: fc.bias [2]; ",
        "45 are unexpected: \"stranger.10\" F32 [1], ", "\"stranger.17\" F32 [1] and 37 more",
      ] {
        expectError(.mismatched, text) { _ = try Self.load(tensors, in: folder) }
      }
      try SafetensorsFile.write([:], to: folder + "/empty")
      expectError(.mismatched, "10 are missing") {
        _ = try PyTorchCheckpoint.load(folder + "/empty", into: Self.graph())
      }
    }
  }

  /// A head of another number of classes keeps its initial values, whatever the checkpoint has there.
  @Test func partsCanBeLeftOut() throws {
    try withFolder { folder in
      var tensors = try Self.tensors(in: folder)
      var model = try Self.model(Self.graph(classes: 9))
      model.metadata["classes"] = "kept"
      try model.setParameter("conv.weight", to: Tensor(zeros: [3, 3, 3, 4]))
      func load(_ prefixes: [String]) throws -> Model {
        try SafetensorsFile.write(tensors, to: folder + "/a")
        return try PyTorchCheckpoint.load(folder + "/a", into: model, except: prefixes)
      }
      expectError(.mismatched, "fc.weight is F32 [2, 5], not F32 [9, 5], here [5, 9]") {
        _ = try load([])
      }
      let expected = try Self.model(Self.graph())
      for removes in [false, true] {
        if removes { tensors["fc.weight"] = nil }
        let loaded = try load(["fc."])
        #expect(loaded.parameters["conv.weight"] == expected.parameters["conv.weight"])
        #expect(loaded.parameters["fc.weight"] == model.parameters["fc.weight"])
        #expect(loaded.parameters["fc.bias"] == model.parameters["fc.bias"])
        #expect(loaded.metadata == model.metadata)
      }
      #expect(throws: GraphError.self) { _ = try load(["head."]) }
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      let graph = try Graph(input: .image(height: 1, width: 2, channels: 1)) { x in
        x.convolution(1, kernel: 1, bias: false).batchNormalization().flatten().dense(1)
      }
      try PyTorchCheckpoint.save(Self.model(graph), to: folder + "/a")
      try damage(try bytes(of: folder + "/a"), flips: 500, in: folder) {
        _ = try PyTorchCheckpoint.load($0, into: graph)
      }
    }
  }

  @Test func formatsAreRecognised() throws {
    try withFolder { folder in
      let model = try Self.model(Self.graph())
      let (saved, checkpoint) = (folder + "/saved.safetensors", folder + "/pt.safetensors")
      #expect(try ModelFormat.forWriting(saved) == .saved)
      expectError(.unsupported, "ends in .safetensors") { _ = try ModelFormat.forWriting("a.pth") }
      try ModelFormat.saved.save(model, to: saved)
      try ModelFormat.pyTorch.save(model, to: checkpoint)
      #expect(try ModelFormat.recognize(saved) == .saved)
      #expect(try ModelFormat.recognize(checkpoint) == .pyTorch)
      expectSame(try ModelFormat.load(saved), model)
      expectSame(try ModelFormat.load(checkpoint, into: model.graph), model)
      expectError(.mismatched, "which network") { _ = try ModelFormat.load(checkpoint) }
      expectError(.mismatched, "its own network") {
        _ = try ModelFormat.load(saved, into: model.graph)
      }
    }
  }
}
