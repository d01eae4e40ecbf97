import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// What may not change a bit of a training, lanes, and what may change it by rounding only.
@Suite struct BitwiseTrainingTests {
  /// Losses and the model after some steps.
  private struct Run {
    var losses: [Double]
    var model: Model
    var byteCount: Int

    /// Parameters and state.
    var values: [String: Tensor] { model.parameters.merging(model.state) { first, _ in first } }
  }

  /// Some steps on changing batches, from initial weights that may be changed by rounding errors.
  private func train(
    _ graph: Graph, data: TrainingData, batchSize: Int, steps: Int, lanes: Int = 0,
    checkpointing: Bool = false, changed: UInt64? = nil
  ) throws -> Run {
    var model = try Model(initializing: graph, seed: 51)
    if let changed {
      // The longest sums are those over the pixels of a batch.
      let terms = batchSize * data.images.shape.dimensions[1...2].reduce(1, *)
      let most = 4 * Double(terms + 16).squareRoot() * Double(Float.ulpOfOne) / 2
      for (name, value) in model.parameters {
        let noise = Philox(seed: changed, purpose: name).uniforms(value.count, bound: most)
        try model.setParameter(
          name,
          to: Tensor(zip(value.doubles, noise).map { Float($0 * (1 + $1)) }, shape: value.shape))
      }
    }
    let trainer = try Trainer(
      model: model,
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
    return Run(
      losses: losses, model: trainer.model, byteCount: try trainer.peakByteCount(images: images))
  }

  private func expectSame(
    _ one: Run, _ other: Run, _ comment: Comment, location: SourceLocation = #_sourceLocation
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
        .convolution(16, kernel: 5, bias: false).batchNormalization().relu()
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
      Set(strategies).isSuperset(of: [
        "thin", "winograd", "depthwise", "pointwise", "direct", "im2col",
      ]),
      "\(strategies)")

    let one = try train(graph, data: data, batchSize: 6, steps: 50)
    let two = try train(graph, data: data, batchSize: 6, steps: 50, lanes: 1)
    expectSame(one, two, "2 lanes")
    #expect(one.losses[49] < one.losses[0] / 2, "\(one.losses)")
  }

  /// Dropout draws the same elements, no statistics move twice, ghost batches and renormalisation included.
  ///
  /// Batch norm's sums may be taken at another place, in another order: what that changes stays below twice
  /// what changes of the initial weights by 4·√(K + 16)·u, K the longest sum, make of them, as in
  /// `Tolerance.perturbing`.
  @Test func checkpointingChangesNothingButRounding() throws {
    let (size, steps) = (12, 3)
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
    func train(lanes: Int = 0, checkpointing: Bool = false, changed: UInt64? = nil) throws -> Run {
      try self.train(
        graph, data: data, batchSize: 6, steps: steps, lanes: lanes, checkpointing: checkpointing,
        changed: changed)
    }
    let plain = try train()
    let again = try train(checkpointing: true)
    expectSame(again, try train(lanes: 1, checkpointing: true), "2 lanes")
    #expect(again.byteCount < plain.byteCount)
    let changed = try (1...4).map { try train(changed: $0) }
    for (name, value) in plain.values {
      func distance(_ other: Run) -> Double {
        zip(value.doubles, other.values[name]?.doubles ?? []).map { abs($0 - $1) }.max() ?? 0
      }
      let bound = 2 * (changed.map(distance).max() ?? 0)
      #expect(distance(again) <= bound, "\(name)")
    }
  }
}
