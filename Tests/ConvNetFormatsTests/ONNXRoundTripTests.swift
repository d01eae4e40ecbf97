import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import Testing

/// Ours to ONNX and back: the same numbers under the same names, bit for bit.
@Suite struct ONNXRoundTripTests {
  private func through(
    _ model: Model, mode: ExecutionMode = .inference
  ) throws -> (source: ONNXModel, model: Model) {
    try withFolder { folder in
      try ONNXFile.save(model, to: folder + "/a.onnx", mode: mode)
      // The data stay in the file.
      var source = try ONNXModel.read(folder + "/a.onnx")
      source.graph.initializers = try source.graph.initializers.map {
        ONNXTensor($0.name, try $0.read())
      }
      return (source, try ONNXFile.load(folder + "/a.onnx"))
    }
  }

  private func expectSame(
    _ model: Model, _ again: Model, _ name: String, mode: ExecutionMode = .inference
  ) {
    // Numbers such as ε are constants of the file.
    let constants = again.graph.parameters.filter { $0.role == .constant }.map(\.name)
    let learned = again.parameters.filter { !constants.contains($0.key) }
    for (old, new) in [(model.parameters, learned), (model.state, again.state)] {
      #expect(old.keys.filter { !constants.contains($0) }.sorted() == new.keys.sorted(), "\(name)")
      let changed = new.keys.filter { old[$0] != new[$0] }
      #expect(changed.isEmpty, "\(name)")
    }
    // Inference drops nothing, and training needs a key for it.
    func ports(_ ports: [Graph.PortView]) -> [String] {
      ports.filter { mode == .training || $0.name != GraphBuilder.randomKeyName }
        .map { "\($0.name) \($0.type)" }
    }
    #expect(ports(model.graph.inputViews) == ports(again.graph.inputViews), "\(name)")
    #expect(ports(model.graph.outputViews) == ports(again.graph.outputViews), "\(name)")
    func switches(_ graph: Graph) -> [String: [String]] {
      Dictionary(
        uniqueKeysWithValues: graph.batchNormalizationViews.map {
          (
            $0.layer,
            [
              "\($0.options.decay) \($0.options.runningVariance) \($0.source) \($0.updates)"
                + " \($0.trainsAffine) \(Float($0.options.epsilon))"
            ]
          )
        })
    }
    #expect(switches(model.graph) == switches(again.graph), "\(name)")
    func trained(_ graph: Graph) -> [String] {
      graph.parameters.filter(\.isTrainable).map { "\($0.name) \($0.role)" }.sorted()
    }
    #expect(trained(model.graph) == trained(again.graph), "\(name)")
    #expect(model.metadata == again.metadata, "\(name)")
    #expect(again.graph.transposeCount <= model.graph.transposeCount, "\(name)")
  }

  /// Small networks with the parts of the large ones.
  private static let small: [(String, @Sendable () throws -> Graph)] = [
    ("lenet", { try Network.lenet.graph(classes: 3, size: 16) }),
    ("fashion", { try Network.fashion.graph(classes: 3, size: 6) }),
    (
      "plain fashion", { try Network.fashion.graph(classes: 3, batchNormalization: false, size: 6) }
    ),
    (
      "residual",
      {
        try Graph(input: .image(height: 7, width: 6, channels: 2)) { x in
          x.scoped("layer1") { $0.basicBlock(4, stride: 2, normalized: true) }
            .scoped("layer2") { $0.bottleneckBlock(2, stride: 1, normalized: true) }
            .globalAveragePooling().dense(3, name: "fc")
        }
      }
    ),
    (
      "depthwise and joined",
      {
        try Graph(input: .image(height: 5, width: 6, channels: 4)) { x in
          let y = x.depthwiseConvolution(kernel: 3, bias: false).batchNormalization().relu6()
            .convolution(6, kernel: 1, groups: 2)
          return y.concatenated(with: x, y).averagePooling(kernel: 2).dropout(0.25).flatten()
            .dense(3).softmax()
        }
      }
    ),
    (
      "normalised in other ways",
      {
        try Graph(input: .image(height: 4, width: 4, channels: 4)) { x in
          x.groupNormalization(groups: 2).instanceNormalization().layerNormalization()
            .localResponseNormalization(size: 3).upsampled(by: 2).transposedConvolution(
              3, kernel: 2
            )
            .reduced(.maximum, axes: [1, 2]).tanh()
        }
      }
    ),
    (
      "vectors",
      {
        try Graph(inputs: [("a", .features(6)), ("b", .features(6))]) { values in
          let y = values[0].dense(4).batchNormalization(.keras).sigmoid()
          return [
            "sum": y + values[1].sliced(axis: 1, 1..<5), "hidden": y.maximum(values[1].dense(1)),
          ]
        }
      }
    ),
  ]

  @Test(arguments: small.indices) func smallNetworks(index: Int) throws {
    let (name, graph) = Self.small[index]
    let model = try randomModel(graph(), seed: 61)
    let again = try through(model).model
    expectSame(model, again, name)
    let inputs = Dictionary(
      uniqueKeysWithValues: model.graph.inputViews.filter { $0.name != GraphBuilder.randomKeyName }
        .map { view in
          let shape = Shape(view.type.dimensions.map { $0.extent ?? 2 })
          return (view.name, TestData.uniform(shape, seed: 62))
        })
    #expect(try infer(again, inputs) == infer(model, inputs), "\(name)")
    // What was read is written as it was.
    let twice = try through(again).model
    expectSame(model, twice, name)
    #expect(try infer(twice, inputs) == infer(model, inputs), "\(name)")
    expectSame(model, try through(model, mode: .training).model, name, mode: .training)
  }

  /// The built-in networks for ImageNet at their smallest: every parameter has a number of its own.
  @Test(arguments: [Network.resnet18, .mobilenetV2, .densenet121])
  func builtInNetworks(network: Network) throws {
    let graph = try network.graph(classes: 3, size: 32)
    func numbers(_ ports: [(String, Graph.ValueID)]) -> [String: Tensor] {
      Dictionary(
        uniqueKeysWithValues: ports.enumerated().map { index, port in
          let type = graph.type(of: port.1)
          let value = Float(index + 1)
          let tensor = Tensor(repeating: value, shape: type.shape ?? [])
          return (port.0, type.elementType == .int64 ? Tensor(scalar: Int64(index)) : tensor)
        })
    }
    let model = try Model(
      graph: graph, parameters: numbers(graph.parameters.map { ($0.name, $0.value) }),
      state: numbers(graph.states.map { ($0.name, $0.value) }), metadata: ["classes": "a\nb\nc"])
    let again = try through(model).model
    expectSame(model, again, network.rawValue)
    #expect(again.graph.transposeCount == 0)
    #expect(again.graph.nodes.count <= graph.nodes.count)
  }

  /// Every switch of a layer, one layer each, in both forms.
  @Test(arguments: [ExecutionMode.inference, .training])
  func batchNormalizationKeepsItsSwitches(mode: ExecutionMode) throws {
    let graph = try Graph(input: .features(3)) { x in
      x.batchNormalization(decay: .takeNew(0.25), name: "a")
        .batchNormalization(decay: .cumulative, runningVariance: .population, name: "b")
        .batchNormalization(
          epsilon: 1e-3, scale: false, name: "c",
          statistics: BatchStatistics(singleSample: .skipUpdate, ghostBatchSize: 4)
        )
        .batchNormalization(
          shift: false, name: "d", statistics: BatchStatistics(renormalizes: true)
        )
        .batchNormalization(name: "frozen").batchNormalization(name: "read").dense(2, name: "fc")
    }
    var model = try randomModel(graph, seed: 63).freezingBatchNormalization(["frozen"])
      .settingBatchNormalization(["read"], source: .running, updates: true)
    for (index, name) in model.state.keys.sorted().filter({ $0.hasSuffix("tracked") }).enumerated()
    {
      try model.setState(name, to: Tensor(scalar: Int64(index + 3)))
    }
    let (source, again) = try through(model.freezing(prefix: "fc"), mode: mode)
    let layers = again.graph.batchNormalizationViews
    #expect(layers.map(\.layer) == ["a", "b", "c", "d", "frozen", "read"])
    let before = model.graph.batchNormalizationViews
    for (old, new) in zip(before, layers) {
      #expect(old.options.decay == new.options.decay && old.source == new.source, "\(old.layer)")
      #expect(old.options.runningVariance == new.options.runningVariance, "\(old.layer)")
      #expect(old.updates == new.updates && old.trainsAffine == new.trainsAffine, "\(old.layer)")
    }
    func statistics(_ graph: Graph) -> [BatchStatistics] {
      graph.nodes.compactMap {
        if case .batchMoments(let moments) = $0.operation { moments.statistics } else { nil }
      }
    }
    #expect(statistics(again.graph) == statistics(model.graph))
    #expect(again.state == model.state)
    #expect(
      again.graph.parameterViews.filter { $0.name.hasPrefix("fc") }.allSatisfy { !$0.isTrainable })
    let modes = source.graph.nodes.filter { $0.opType == "BatchNormalization" }.map { node in
      if case .int(let mode)? = node["training_mode"] { mode } else { Int64(0) }
    }
    #expect(modes == (mode == .training ? [1, 1, 1, 1, 0, 0] : [0, 0, 0, 0, 0, 0]))
  }

  @Test func whatONNXLacksIsListed() throws {
    let graph = try Graph(input: .features(4)) { x in
      x.decorrelatedBatchNormalization(groupSize: 2, name: "first").relu()
        .decorrelatedBatchNormalization(groupSize: 2, name: "second")
    }
    let model = try randomModel(graph, seed: 64)
    try withFolder { folder in
      do {
        try ONNXFile.save(model, to: folder + "/a.onnx")
        Issue.record("nothing was thrown")
      } catch let error as FileError {
        #expect(error.code == .unsupported && error.path == folder + "/a.onnx")
        #expect(error.reason.contains("first") && error.reason.contains("second"), "\(error)")
      }
      #expect(try names(in: folder).isEmpty)
    }
  }

  /// A file is what it contains, whatever it is called.
  @Test func formatsAreRecognisedByTheirContents() throws {
    try withFolder { folder in
      let model = try ModelFileTests.model()
      for path in [folder + "/a.onnx", folder + "/a.safetensors", folder + "/a"] {
        try ONNXFile.save(model, to: path)
        #expect(try ModelFormat.recognize(path) == .onnx)
        #expect(try ModelFormat.load(path).parameters == model.parameters)
        try ModelFile.save(model, to: path)
        #expect(try ModelFormat.recognize(path) == .saved)
        try PyTorchCheckpoint.save(model, to: path)
        #expect(try ModelFormat.recognize(path) == .pyTorch)
      }
      try write([], to: folder + "/empty.onnx")
      try write(Array("neither this nor that".utf8), to: folder + "/b.safetensors")
      expectError(.mismatched) { _ = try ModelFormat.load(folder + "/empty.onnx") }
      expectError(.mismatched) { _ = try ModelFormat.load(folder + "/b.safetensors") }
      expectError(.missing) { _ = try ModelFormat.recognize(folder + "/none.onnx") }
    }
  }
}
