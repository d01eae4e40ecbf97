import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ReferenceTests {
  private func model() throws -> Model {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 1)) { x in
      x.convolution(2, kernel: 3, bias: false, name: "c").batchNormalization(name: "n").relu()
        .dropout(0.5).flatten().dense(3, name: "d")
    }
    return try Model(
      graph: graph,
      parameters: [
        "c.weight": TestData.uniform([3, 3, 1, 2], seed: 1),
        "n.weight": TestData.uniform([2], in: 0.5...1.5, seed: 2),
        "n.bias": TestData.uniform([2], seed: 3),
        "d.weight": TestData.uniform([32, 3], seed: 4), "d.bias": TestData.uniform([3], seed: 5),
      ], state: Model.initialState(of: graph))
  }

  @Test func runsAModelInBothModes() throws {
    let model = try model()
    let x = TestData.uniform([2, 4, 4, 1], seed: 6)
    let inference = try Reference(model, mode: .inference).run(inputs: ["input": x])
    #expect(inference.keys.sorted() == ["output"])
    #expect(inference["output"]?.shape == [2, 3])
    #expect(inference["output"]?.elementType == .float32)
    let training = try Reference(model, mode: .training)
    let key = Tensor([7, 0] as [Int64])
    let output = try training.run(inputs: ["input": x, "random key": key])["output"]
    #expect(output != inference["output"])
    #expect(try training.run(inputs: ["input": x, "random key": key])["output"] == output)
    #expect(throws: GraphError.self) { try training.run(inputs: ["input": x]) }
  }

  @Test func runsAnEmptyBatch() throws {
    let outputs = try Reference(model(), mode: .inference)
      .run(inputs: ["input": Tensor(zeros: [0, 4, 4, 1])])
    #expect(outputs["output"]?.shape == [0, 3])
  }

  @Test(arguments: [
    ("input", Tensor(zeros: [2, 4, 5, 1])), ("input", Tensor(zeros: [4, 4, 1])),
    ("input", Tensor(zeros: [2, 4, 4, 1], elementType: .float64)),
    ("other", Tensor(zeros: [2, 4, 4, 1])),
  ])
  func refusesOtherInputs(_ name: String, _ tensor: Tensor) throws {
    let reference = try Reference(model(), mode: .inference)
    let error = #expect(throws: GraphError.self) { try reference.run(inputs: [name: tensor]) }
    #expect(error?.place == name)
  }

  @Test func roundsAtTheOutputsOnly() throws {
    // (1 + 2⁻³⁰) − 1 would be 0 if float32 were rounded in between.
    let graph = try Graph(input: TensorType([1])) { x in
      x.map(.affine(scale: 1, offset: 1)).map(.affine(scale: 1, offset: -1))
    }
    let outputs = try Reference(graph).run(inputs: ["input": Tensor([0x1p-30] as [Float])])
    #expect(outputs["output"]?.floats == [0x1p-30])
  }

  @Test func interpretsFusedNodesByTheirMembers() throws {
    let fused = Fused(
      anchor: .matrixMultiply(MatrixMultiply()), anchorInputCount: 2,
      epilogue: [.combine(.add), .map(.relu), .combine(.multiply)])
    let y = try evaluateInReference(
      .fused(fused), ReferenceTensor([1, -2], shape: [2, 1]), ReferenceTensor([3], shape: [1, 1]),
      ReferenceTensor([1], shape: [1]), ReferenceTensor([10, 10], shape: [2, 1]))[0]
    #expect(y.values == [40, 0])
  }

  @Test func refusesNumbersThatADoubleCannotHold() throws {
    let large = ReferenceTensor(Tensor([Int64.max]))
    let error = #expect(throws: GraphError.self) {
      try evaluateInReference(.cast(.float32), large)
    }
    #expect(error?.code == .invalidElementType)
  }

  /// Loss and gradients of a small residual network with everything in it, by finite differences.
  @Test func differentiatesAWholeNetwork() throws {
    let graph = try Graph(inputs: [
      ("input", .image(height: 5, width: 6, channels: 2)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let trunk = values[0].convolution(3, kernel: 3, stride: 2, bias: false)
        .batchNormalization().map(.silu)
      let branch = trunk.depthwiseConvolution(kernel: 3).map(.tanh)
      let joined = (trunk + branch).concatenated(
        with: trunk.averagePooling(
          kernel: 2, stride: 1,
          padding: .same))
      let logits = joined.globalAveragePooling().dropout(0.3).dense(4)
      let loss = logits.apply(
        .softmaxCrossEntropy(SoftmaxCrossEntropy(labelSmoothing: 0.1)), values[1])
      return ["loss": loss.reduced(.mean, axes: [0])]
    }
    let training = try ResolveMode(.training).apply(to: graph)
    var values: [String: ReferenceTensor] = [
      "input": TestData.doubles([3, 5, 6, 2], seed: 1),
      "labels": ReferenceTensor(TestData.labels([3], in: 0...3, seed: 2)),
      "random key": ReferenceTensor(Tensor([3, 4] as [Int64])),
    ]
    for (index, parameter) in training.parameters.enumerated() {
      let shape = try #require(training.type(of: parameter.value).shape)
      values[parameter.name] = TestData.doubles(shape, seed: 10 + UInt64(index))
    }
    for (name, tensor) in Model.initialState(of: training) {
      values[name] = ReferenceTensor(tensor)
    }
    try finiteDifferenceCheck(
      training, values, withRespectTo: ["input"] + training.parameters.map(\.name))
  }
}
