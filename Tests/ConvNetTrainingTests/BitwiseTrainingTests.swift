import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// What may not change a bit of a training: lanes, and whether activations are kept or computed again.
@Suite struct BitwiseTrainingTests {
  /// Losses and the model after some steps on changing batches.
  private func train(
    _ graph: Graph, data: TrainingData, batchSize: Int, steps: Int, lanes: Int = 0,
    checkpointing: Bool = false
  ) throws -> (losses: [Double], model: Model, byteCount: Int) {
    let trainer = try Trainer(
      model: Model(initializing: graph, seed: 51),
      optimizer: .sgd(
        SGD(learningRate: 0.05, momentum: 0.9, nesterov: true, weightDecay: .coupled(1e-3))),
      batchSize: batchSize, seed: 52, checkpointing: checkpointing, lanes: TestLanes.all[lanes])
    let losses = try (0..<steps).map { step in
      let first = step * batchSize % (data.count / batchSize * batchSize)
      let samples = first..<first + batchSize
      return try trainer.step(
        images: data.images.samples(samples), labels: Tensor(Array(data.labels[samples])))
    }
    let images = Shape([batchSize] + data.images.shape.dimensions.dropFirst())
    return (losses, trainer.model, try trainer.peakByteCount(images: images))
  }

  private func expectSame(
    _ one: (losses: [Double], model: Model, byteCount: Int),
    _ other: (losses: [Double], model: Model, byteCount: Int), _ comment: Comment,
    location: SourceLocation = #_sourceLocation
  ) {
    #expect(one.losses == other.losses, comment, sourceLocation: location)
    #expect(one.model.parameters == other.model.parameters, comment, sourceLocation: location)
    #expect(one.model.state == other.model.state, comment, sourceLocation: location)
  }

  /// Every strategy of convolutions, batch norm and dropout.
  @Test func fiftyStepsHaveTheSameBitsOnOneLaneAndOnTwo() throws {
    let size = 10
    let graph = try Graph(input: .image(height: size, width: size, channels: 1)) {
      $0.convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .depthwiseConvolution(kernel: 3, bias: false).batchNormalization().map(.relu6)
        .convolution(24, kernel: 1, bias: false).batchNormalization().relu()
        .convolution(16, kernel: 3, stride: 2, bias: false).batchNormalization().relu()
        .dropout(0.25).flatten().dense(3)
    }
    let data = try bands(30, size: size, classes: 3, seed: 53)
    let shapes = ["input": [6, size, size, 1] as Shape, Loss.labelsName: [6]]
    let step = try Loss.softmaxCrossEntropy().added(to: graph)
      .trainingStep(inputShapes: shapes, loss: Loss.lossName).graph
    let strategies = try Plan(
      step, inputShapes: [:], options: PlanOptions(keepsPackedWeights: false)
    ).convolutionChoices.map(\.chosen)
    #expect(
      Set(strategies).isSuperset(of: ["thin", "winograd", "depthwise", "pointwise", "im2col"]),
      "\(strategies)")

    let one = try train(graph, data: data, batchSize: 6, steps: 50)
    let two = try train(graph, data: data, batchSize: 6, steps: 50, lanes: 1)
    expectSame(one, two, "2 lanes")
    #expect(one.losses[49] < one.losses[0] / 2, "\(one.losses)")
  }

  /// Dropout draws the same elements, no statistics move twice, ghost batches and renormalisation included.
  @Test func checkpointingKeepsTheBits() throws {
    let size = 12
    let graph = try Graph(input: .image(height: size, width: size, channels: 1)) {
      $0.convolution(8, kernel: 3, bias: false)
        .batchNormalization(statistics: BatchStatistics(ghostBatchSize: 3)).relu().dropout(0.2)
        .residualBlock(8).residualBlock(8)
        .convolution(16, kernel: 3, stride: 2, bias: false)
        .batchNormalization(statistics: BatchStatistics(renormalizes: true)).relu()
        .depthwiseConvolution(kernel: 3, bias: false).batchNormalization().map(.relu6)
        .convolution(16, kernel: 1, bias: false).decorrelatedBatchNormalization(groupSize: 4).relu()
        .maxPooling(kernel: 2).residualBlock(16).dropout(0.2).flatten().dense(3)
    }
    let data = try bands(24, size: size, classes: 3, seed: 54)
    let plain = try train(graph, data: data, batchSize: 6, steps: 6)
    for lanes in 0...1 {
      let again = try train(
        graph, data: data, batchSize: 6, steps: 6, lanes: lanes, checkpointing: true)
      expectSame(plain, again, "\(lanes + 1) lanes")
      if lanes == 0 { #expect(again.byteCount < plain.byteCount) }
    }
  }
}
