import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What ONNX's own tests do not cover: old forms, layers out of nodes, and open extents.
@Suite struct ONNXImportTests {
  // MARK: Batch normalisation

  /// γ (x − μ)/√(σ² + 1) + β = (3 − 1)/2·2 + 1 and (6 − 2)/2·4 − 1.
  private func normalized(
    opset: Int64, _ attributes: [ONNXAttribute] = [], outputs: [String] = ["y"],
    wanted: [String] = ["y"]
  ) -> ONNXModel {
    onnx(
      opset: opset,
      [
        ONNXNode(
          "BatchNormalization", name: "bn", inputs: ["x", "scale", "shift", "mean", "variance"],
          outputs: outputs, attributes: attributes + [.float("epsilon", 1)])
      ], inputs: ["x": ["N", 2, 1, 1]],
      stored: [
        "scale": Tensor([2, 4] as [Float]), "shift": Tensor([1, -1] as [Float]),
        "mean": Tensor([1, 2] as [Float]), "variance": Tensor([3, 3] as [Float]),
      ], outputs: wanted)
  }

  private static let forms: [(Int64, [ONNXAttribute])] = [
    (1, [.ints("consumed_inputs", [0, 0, 0, 1, 1]), .int("is_test", 1), .int("spatial", 1)]),
    (6, [.int("is_test", 1), .int("spatial", 1)]), (7, [.int("spatial", 1)]), (7, []), (9, []),
    (14, [.int("training_mode", 0)]), (15, []), (21, []),
  ]

  @Test(arguments: forms.indices) func batchNormalizationOfEveryOperatorSet(form: Int) throws {
    let (opset, attributes) = Self.forms[form]
    let outputs = opset < 9 ? ["y", "m", "v", "sm", "sv"] : ["y"]
    for outputs in [["y"], outputs] {
      let model = try ONNXFile.load(
        normalized(opset: opset, attributes + [.float("momentum", 0.75)], outputs: outputs))
      let x = Tensor([3, 6] as [Float], shape: [1, 2, 1, 1])
      #expect(try infer(model, ["x": x])["y"]?.floats == [3, 7])
      let layer = try #require(model.batchNormalizationStates.first)
      #expect(layer.layer.layer == "bn" && layer.layer.source == .batch && layer.layer.updates)
      #expect(layer.layer.trainsAffine && layer.layer.options.runningVariance == .population)
      #expect(layer.layer.options.decay == .keepOld(0.75) && layer.layer.options.epsilon == 1)
      #expect(layer.runningMean?.floats == [1, 2] && layer.runningVariance?.floats == [3, 3])
      #expect(layer.scale?.floats == [2, 4] && layer.shift?.floats == [1, -1])
      #expect(Set(model.state.keys) == ["mean", "variance", "bn.num_batches_tracked"])
    }
  }

  @Test func batchNormalizationThatIsRefused() {
    for opset in [1, 6, 7] as [Int64] {
      expectError(.unsupported, "node \"bn\" (BatchNormalization): statistics for every position") {
        _ = try ONNXFile.load(normalized(opset: opset, [.int("spatial", 0)]))
      }
    }
    for opset in [7, 15] as [Int64] {
      expectError(.unsupported, "statistics as results") {
        _ = try ONNXFile.load(
          normalized(opset: opset, outputs: ["y", "m"], wanted: ["y", "m"]))
      }
    }
  }

  /// μ = 2 and σ² = 1 and 4, momentum ½: computed results, not a layer with state.
  @Test func batchNormalizationThatHandsItsStatisticsOut() throws {
    let model = try ONNXFile.load(
      normalized(
        opset: 15, [.int("training_mode", 1), .float("momentum", 0.5)], outputs: ["y", "m", "v"],
        wanted: ["y", "m", "v"]))
    let x = Tensor([1, 0, 3, 4] as [Float], shape: [2, 2, 1, 1])
    let y = try infer(model, ["x": x])
    #expect(y["m"]?.floats == [1.5, 2] && y["v"]?.floats == [2, 3.5])
    // σ² + 1 is 2 and 5; one rounding to float32 at the end.
    let expected = [-1 / 2.squareRoot() * 2, -2 / 5.squareRoot() * 4]
    let values = try #require(y["y"]).doubles
    for (index, value) in values.enumerated() {
      let channel = index % 2
      let exact = (index < 2 ? 1 : -1) * expected[channel] + [1, -1][channel]
      #expect(abs(value - exact) <= Double(Float.ulpOfOne) * 4, "\(index)")
    }
    #expect(model.state.isEmpty)
  }

  /// In a file in training form a layer that uses its running statistics is a frozen one.
  @Test(arguments: [[0, 0], [1, 0], [1, 1]] as [[Int64]])
  func layersOfFilesInTrainingForm(modes: [Int64]) throws {
    var model = normalized(opset: 15, [.int("training_mode", modes[0])], outputs: ["z"])
    var second = model.graph.nodes[0]
    second.name = "bn2"
    second.inputs = ["z"] + second.inputs.dropFirst().map { $0 + "2" }
    second.outputs = ["y"]
    second.attributes = [.int("training_mode", modes[1])]
    model.graph.nodes.append(second)
    model.graph.initializers += try model.graph.initializers.map {
      ONNXTensor($0.name + "2", try $0.read())
    }
    let layers = try ONNXFile.load(model).graph.batchNormalizationViews
    let isTrainingForm = modes.contains(1)
    for (layer, mode) in zip(layers, modes) {
      let isFrozen = isTrainingForm && mode == 0
      #expect(layer.source == (isFrozen ? .running : .batch) && layer.updates != isFrozen)
    }
  }

  @Test func statisticsThatAreComputedMakeNoLayer() throws {
    var model = normalized(opset: 15)
    model.graph.nodes.insert(.to("mean2", "Relu", "mean"), at: 0)
    model.graph.nodes[1].inputs[3] = "mean2"
    let loaded = try ONNXFile.load(model)
    #expect(loaded.state.isEmpty && loaded.graph.batchNormalizationViews.isEmpty)
    let x = Tensor([3, 6] as [Float], shape: [1, 2, 1, 1])
    #expect(try infer(loaded, ["x": x])["y"]?.floats == [3, 7])
  }

  // MARK: Shapes

  /// A reshape to `[N, C, H·W]` whose shape is computed from extents that are open.
  @Test func shapesAreComputed() throws {
    let model = try ONNXFile.load(
      onnx(
        [
          .to("s", "Shape", "x"), .to("n", "Slice", "s", "zero", "two"),
          .to("shape", "Concat", "n", "rest", with: .int("axis", 0)),
          .to("y", "Reshape", "x", "shape"),
          .to("h", "Gather", "s", "three"), .to("w", "Unsqueeze", "h", "zero"),
          .to("shape2", "Concat", "rest", "w", with: .int("axis", 0)),
          .to("z", "Reshape", "y", "shape2"),
        ], inputs: ["x": ["N", 2, "H", -1]],
        stored: [
          "zero": int64s(0), "two": int64s(2), "rest": int64s(-1),
          "three": Tensor(scalar: Int64(3)),
        ], outputs: ["y", "z"]))
    let types = model.graph.outputViews.map(\.type.dimensions)
    #expect(types[0].prefix(2) == ["N", 2] && types[0][2].extent == nil)
    #expect(types[1][1] == .symbol("x.3"))
    for (n, h, w) in [(1, 2, 3), (3, 1, 1), (2, 5, 4)] {
      let x = TestData.integers([n, 2, h, w], seed: 1)
      let y = try infer(model, ["x": x])
      #expect(y["y"]?.shape == [n, 2, h * w] && y["z"]?.shape == [n * 2 * h, w])
      #expect(y["z"]?.floats == x.floats)
    }
  }

  /// Extents that are read where transposes are moved: of values at hand in that order and of others.
  @Test func shapesAreReadBesideTransposes() throws {
    let model = try ONNXFile.load(
      onnx(
        [
          .to("t", "Transpose", "x", with: .ints("perm", [0, 2, 3, 1])), .to("r", "Relu", "t"),
          .to("b", "Transpose", "r", with: .ints("perm", [0, 3, 1, 2])),
          .to("s", "Shape", "x", with: .int("end", 2)),
          .to("u", "Shape", "r", with: .int("end", -1)),
          .to("shape", "Concat", "s", "rest", with: .int("axis", 0)),
          .to("y", "Reshape", "b", "shape"),
          .to("other", "Concat", "u", "rest", with: .int("axis", 0)),
          .to("z", "Reshape", "x", "other"),
        ], inputs: ["x": ["N", 2, "H", "W"]], stored: ["rest": int64s(-1)], outputs: ["y", "z"]))
    for (n, h, w) in [(1, 2, 3), (2, 3, 1)] {
      let x = TestData.integers([n, 2, h, w], in: 0...9, seed: 6)
      let y = try infer(model, ["x": x])
      #expect(y["y"]?.shape == [n, 2, h * w] && y["y"]?.floats == x.floats)
      #expect(y["z"]?.shape == [n, h, w, 2] && y["z"]?.floats == x.floats)
    }
  }

  /// Before operator set 7 the second operand was laid along an axis.
  @Test func operandsWithAnAxis() throws {
    let model = try ONNXFile.load(
      onnx(
        opset: 6,
        [.to("y", "Add", "x", "b", with: .int("broadcast", 1), .int("axis", 1))],
        inputs: ["x": [2, 3, 2]], stored: ["b": Tensor([10, 20, 30] as [Float])]))
    let x = TestData.integers([2, 3, 2], seed: 2)
    let expected = zip(x.floats, [10, 10, 20, 20, 30, 30, 10, 10, 20, 20, 30, 30]).map { $0 + $1 }
    #expect(try infer(model, ["x": x])["y"]?.floats == expected)
  }

  /// An input that steers a shape has to be given, and is none any more then.
  @Test func valuesOfInputsAreBuiltIn() throws {
    var source = onnx([.to("y", "Reshape", "x", "shape")], inputs: ["x": ["N", 6]])
    source.graph.inputs.append(ONNXValueInfo("shape", .tensor(.int64, [.fixed(2)])))
    expectError(.unsupported, "node \"Y\" (Reshape)") { _ = try ONNXFile.load(source) }
    let model = try ONNXFile.load(source, values: ["shape": int64s(-1, 3)])
    #expect(model.graph.inputViews.map(\.name) == ["x"])
    #expect(
      try infer(model, ["x": TestData.integers([3, 6], seed: 3)])["y"]?.shape == [6, 3])
    expectError(.mismatched, "no input") {
      _ = try ONNXFile.load(source, values: ["form": int64s(1)])
    }
    expectError(.unsupported, "is float32 [N, 6], not [3, 7]") {
      _ = try ONNXFile.load(
        source, inputShapes: ["x": [3, 7]], values: ["shape": int64s(-1, 3)])
    }
  }

  /// One model for all sizes computes what one for each size does; only the image is transposed.
  @Test func residualNetworkOfOpenExtents() throws {
    let open = try ONNXFile.load(ONNXModels.residual())
    #expect(open.graph.transposeCount == 1)
    #expect(open.graph.inputViews[0].type == TensorType(["N", 3, "H", "W"]))
    for (n, h, w) in [(2, 9, 8), (1, 5, 12)] {
      let shape: Shape = [n, 3, h, w]
      let x = TestData.uniform(shape, seed: 4)
      let fixed = try ONNXFile.load(ONNXModels.residual(), inputShapes: ["x": shape])
      let y = try infer(open, ["x": x])
      #expect(try y["y"]?.shape == [n, 5] && y == infer(fixed, ["x": x]))
    }
    try withFolder { folder in
      try ONNXFile.save(open, to: folder + "/a.onnx")
      let again = try ONNXFile.load(folder + "/a.onnx")
      #expect(again.graph.transposeCount == 1 && again.parameters == open.parameters)
      #expect(again.state == open.state)
      let x = TestData.uniform([1, 3, 6, 7], seed: 5)
      #expect(try infer(again, ["x": x]) == infer(open, ["x": x]))
    }
  }
}
