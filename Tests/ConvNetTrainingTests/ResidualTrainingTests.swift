import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import ConvNetTraining
import Testing

/// Ten steps of a residual network by the engine against the same steps in the reference, in Double.
@Suite struct ResidualTrainingTests {
  private static let steps = 10
  private static let rate = 0.02
  private static let momentum = 0.9
  /// Roundings of float32, relative.
  private static let unit = Double(Float.ulpOfOne) / 2

  /// Relative changes, uniform up to a bound each.
  private struct Noise {
    var seed: UInt64 = 0
    /// Of what a step reads.
    var operands = 0.0
    /// Of what it stores.
    var results = 0.0

    func changing(_ value: ReferenceTensor, by bound: Double, _ purpose: String) -> ReferenceTensor
    {
      guard bound > 0, value.elementType == .float32 else { return value }
      let noise = Philox(seed: seed, purpose: purpose).uniforms(value.values.count, bound: bound)
      return ReferenceTensor(zip(value.values, noise).map { $0 * (1 + $1) }, shape: value.shape)
    }
  }

  /// A training in Double: losses, then parameters and running statistics by name.
  private struct DoubleTraining {
    private(set) var losses: [Double] = []
    private(set) var values: [String: ReferenceTensor]
    private var velocities: [String: ReferenceTensor] = [:]
    private let noise: Noise

    init(_ model: Model, inputs: [String: Tensor], noise: Noise = Noise()) throws {
      self.noise = noise
      values = model.parameters.merging(model.state) { first, _ in first }
        .mapValues(ReferenceTensor.init)
      let (graph, layers) = try Loss.softmaxCrossEntropy().added(to: model.graph)
        .trainingStep(inputShapes: inputs.mapValues(\.shape), loss: Loss.lossName)
      let reference = try Reference(unbound: graph)
      for step in 0..<ResidualTrainingTests.steps {
        var operands = inputs.mapValues(ReferenceTensor.init).merging(values) { first, _ in first }
        for (name, value) in operands {
          operands[name] = noise.changing(value, by: noise.operands, "\(step) read \(name)")
        }
        let outputs = try reference.runInDouble(operands)
        losses.append(try #require(outputs[Loss.lossName]).values[0])
        for name in model.parameters.keys {
          try descend(name, along: #require(outputs["gradient/\(name)"]), step)
        }
        for layer in layers { try follow(layer, outputs, step) }
      }
    }

    /// SGD with momentum.
    private mutating func descend(_ name: String, along gradient: ReferenceTensor, _ step: Int)
      throws
    {
      var velocity = gradient
      for (i, old) in (velocities[name]?.values ?? []).enumerated() {
        velocity.values[i] += ResidualTrainingTests.momentum * old
      }
      velocities[name] = noise.changing(velocity, by: noise.results, "\(step) velocity of \(name)")
      var value = try #require(values[name])
      for (i, v) in velocity.values.enumerated() {
        value.values[i] -= ResidualTrainingTests.rate * v
      }
      values[name] = noise.changing(value, by: noise.results, "\(step) new \(name)")
    }

    /// One update of running statistics.
    private mutating func follow(
      _ layer: StatisticsPorts, _ outputs: [String: ReferenceTensor], _ step: Int
    ) throws {
      func output(_ name: String) throws -> [Double] { try #require(outputs[name]).values }
      let triple = layer.triples[0]
      let moments = Moments(
        count: try output(triple.count)[0], mean: try output(triple.mean),
        m2: try output(triple.m2))
      let (running, take) = (layer.running, layer.running.decay.weight(update: step + 1))
      let variance = try #require(moments.variance(running.estimator))
      for (name, batch) in [(running.mean, moments.mean), (running.variance, variance)] {
        var value = try #require(values[name])
        for i in batch.indices { value.values[i] += take * (batch[i] - value.values[i]) }
        values[name] = noise.changing(value, by: noise.results, "\(step) new \(name)")
      }
    }
  }

  /// Losses, parameters and running statistics, with stride, projection and momentum.
  ///
  /// The bound is that of `Tolerance.perturbing`, taken along the whole way: what float32 computes from
  /// some operands is exact for operands off by up to 4·√(K + 16)·u of themselves, K the longest sum of a
  /// step (the pixels of a batch, in filter gradients), so six trainings in Double get such changes of all
  /// operands, anew in every step, and of velocities, parameters and running statistics the rounding they
  /// get when they are stored. The bound is twice the largest distance of the six from the training
  /// without changes, and the last rounding. Channels are too few for Winograd's transforms, whose errors
  /// have another bound.
  @Test func tenStepsStayWithinTheBound() throws {
    let (size, batch) = (6, 4)
    let graph = try Graph(input: .image(height: size, width: size, channels: 3)) {
      $0.convolution(6, kernel: 3, bias: false).batchNormalization().relu()
        .residualBlock(6).residualBlock(8, stride: 2).globalAveragePooling().dense(4)
    }
    let model = try Model(initializing: graph, seed: 47)
    let images = TestData.uniform([batch, size, size, 3], seed: 42)
    let labels = TestData.labels([batch], in: 0...3, seed: 43)
    let inputs = ["input": images, Loss.labelsName: labels]
    let exact = try DoubleTraining(model, inputs: inputs)
    let operands = 4 * Double(batch * size * size + 16).squareRoot() * Self.unit
    let samples = try (1...6).map {
      try DoubleTraining(
        model, inputs: inputs, noise: Noise(seed: $0, operands: operands, results: Self.unit))
    }

    let trainer = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: Self.rate, momentum: Self.momentum)),
      lanes: TestLanes.all[1])
    for (step, expected) in exact.losses.enumerated() {
      let loss = try trainer.step(images: images, labels: labels)
      let moved = samples.map { abs($0.losses[step] - expected) }.max() ?? 0
      expectClose(
        [loss], [expected], tolerance: 2 * moved + Tolerance.ulps(0.5, magnitude: expected),
        "loss of step \(step)")
    }
    let trained = trainer.model
    for (name, tensor) in trained.parameters.merging(trained.state, uniquingKeysWith: { a, _ in a })
    where tensor.elementType == .float32 {
      let expected = try #require(exact.values[name]).values
      let moved = samples.flatMap { sample in
        zip(sample.values[name]?.values ?? [], expected).map { abs($0 - $1) }
      }
      let largest = expected.map(abs).max() ?? 0
      expectClose(
        tensor.doubles, expected,
        tolerance: 2 * (moved.max() ?? 0) + Tolerance.ulps(0.5, magnitude: largest), name)
      // The bound is some 10⁻⁵ of the way: with this seed no ReLU is so near its corner that a change
      // takes it across, which would make the bound a thousand times as large.
      let start = try #require(model.parameters[name] ?? model.state[name]).doubles
      let way = zip(start, expected).map { abs($0 - $1) }.max() ?? 0
      #expect(way > 1e4 * (moved.max() ?? 0), "\(name) went \(way), moved \(moved.max() ?? 0)")
    }
    #expect(exact.losses[Self.steps - 1] < exact.losses[0] / 2)
  }
}
