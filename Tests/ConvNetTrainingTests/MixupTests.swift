import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import ConvNetTraining
import Glibc
import Testing

@Suite struct MixupTests {
  /// Mean 1/2 and variance 1/(4·(2α + 1)) of Beta(α, α), each within five standard deviations.
  @Test(arguments: [0.05, 0.2, 1, 4, 100]) func weightsHaveTheirDistribution(alpha: Double) {
    let count = 4000
    let weights = Mixup.weights(
      0..<count, alpha: alpha, in: EpochKey(seed: 5, epoch: 6)
    ).map { Double($0) }
    #expect(weights.allSatisfy { (0...1).contains($0) })
    let mean = weights.reduce(0, +) / Double(count)
    let variance = weights.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / Double(count)
    let expected = 1 / (4 * (2 * alpha + 1))
    #expect(abs(mean - 0.5) < 5 * (expected / Double(count)).squareRoot(), "\(mean)")
    // The fourth central moment of Beta(α, α) is 3/(16·(2α + 1)·(2α + 3)).
    let fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    let deviation = ((fourth - expected * expected) / Double(count)).squareRoot()
    #expect(abs(variance - expected) < 5 * deviation, "\(variance), not \(expected)")
  }

  @Test func tinyAlphaIsNoDivisionByZero() {
    let weights = Mixup.weights(0..<500, alpha: 1e-6, in: EpochKey(seed: 1, epoch: 0))
    #expect(weights.allSatisfy { $0 < 1e-3 || $0 > 0.999 })
    // Five standard deviations of 500 draws of either: 5·√125 = 56.
    #expect((194...306).contains(weights.filter { $0 > 0.5 }.count))
  }

  /// Every image is mixed with the next as it was, the last with the first, whatever the lanes.
  @Test(arguments: [1, 2, 5]) func imagesAreMixedWithTheNext(count: Int) throws {
    let data = try pictures(5, 33, channels: 1, seed: 7)
    let epoch = EpochKey(seed: 8, epoch: 1)
    let samples = Array((0..<count).reversed())
    let plain = try assembled(data, .light, samples, epoch: epoch)
    let weights = Mixup.weights(samples, alpha: 1, in: epoch)
    let size = 33 * 33
    let expected = (0..<count * size).map { i in
      let next = plain[Mixup.partner(of: i / size, count: count) * size + i % size]
      return next + weights[i / size] * (plain[i] - next)
    }
    for lanes in [1, 2] {
      var found = plain
      let lanes = try Lanes(count: lanes)
      found.withUnsafeMutableBufferPointer { Mixup.mix($0, weights: weights, lanes: lanes) }
      #expect(found == expected)
    }
  }

  /// The graph of the mixed loss against finite differences, and its value against the definition.
  @Test(arguments: [0, 0.1]) func lossOfTwoLabels(smoothing: Double) throws {
    let (count, classes) = (4, 3)
    let network = try Graph(input: .features(2)) { $0.dense(classes) }
    let loss = Loss.softmaxCrossEntropy(labelSmoothing: smoothing)
    let graph = try ResolveMode(.training).apply(to: loss.added(to: network, isMixed: true))
    let (a, b) = ([Int64](arrayLiteral: 0, 1, 2, 2), [Int64](arrayLiteral: 1, 1, 0, 2))
    let weights: [Double] = [0.25, 0.5, 1, 0]
    var values: [String: ReferenceTensor] = [
      "input": TestData.doubles([count, 2], seed: 1),
      "dense1.weight": TestData.doubles([2, classes], seed: 2),
      "dense1.bias": TestData.doubles([classes], seed: 3),
      Loss.labelsName: ReferenceTensor(Tensor(a)),
      Loss.partnerLabelsName: ReferenceTensor(Tensor(b)),
      Loss.mixingWeightsName: ReferenceTensor(weights, shape: [count]),
    ]
    try finiteDifferenceCheck(
      graph, values, withRespectTo: ["dense1.weight", "dense1.bias", "input"])

    let outputs = try Reference(unbound: graph).runInDouble(values)
    let logits = try #require(outputs[Loss.predictionName]).values
    func plain(_ sample: Int, _ label: Int64) -> Double {
      let row = logits[sample * classes..<(sample + 1) * classes]
      let total = log(row.reduce(0) { $0 + exp($1) })
      return row.enumerated().reduce(0) { sum, entry in
        let target = smoothing / Double(classes) + (entry.offset == Int(label) ? 1 - smoothing : 0)
        return sum - target * (entry.element - total)
      }
    }
    let expected =
      (0..<count).reduce(0) {
        $0 + weights[$1] * plain($1, a[$1]) + (1 - weights[$1]) * plain($1, b[$1])
      } / Double(count)
    let found = try #require(outputs[Loss.lossName]).values[0]
    #expect(abs(found - expected) < 1e-14)
    // Where every weight is 1, only first labels count.
    values[Loss.mixingWeightsName] = ReferenceTensor([1, 1, 1, 1], shape: [count])
    let first = try #require(Reference(unbound: graph).runInDouble(values)[Loss.lossName])
    let firstOnly = (0..<count).reduce(0) { $0 + plain($1, a[$1]) } / Double(count)
    #expect(abs(first.values[0] - firstOnly) < 1e-14)
  }

  func trainer(
    _ model: Model, _ loss: Loss = .softmaxCrossEntropy(), mixup: Double, lanes: Int = 1
  ) throws -> Trainer {
    try Trainer(
      model: model, loss: loss, optimizer: .sgd(SGD(learningRate: 0.05)), batchSize: 6, seed: 3,
      augmentation: Augmentation(mixup: mixup), lanes: Lanes(count: lanes))
  }

  /// A batch from outside has one label: the mixed loss gives it the same bits as the plain one.
  @Test func givenBatchesAreNotMixed() throws {
    let model = try Model(initializing: smallNetwork(size: 8, classes: 3), seed: 1)
    let data = try bands(6, size: 8, classes: 3, seed: 2)
    let trainers = try [0, 0.5].map { try trainer(model, mixup: $0) }
    for _ in 0..<2 {
      let losses = try trainers.map {
        try $0.step(images: data.images, labels: Tensor(data.labels))
      }
      #expect(losses[0] == losses[1])
    }
    #expect(trainers[0].model.parameters == trainers[1].model.parameters)
  }

  /// An epoch of one batch is a step on the mixed images and mixed targets, to the bit.
  @Test func epochsMixTargets() throws {
    let model = try Model(initializing: smallNetwork(size: 8, classes: 3), seed: 1)
    let data = try bands(6, size: 8, classes: 3, seed: 2)
    let (run, stepped) = (
      try trainer(model, .meanSquaredError, mixup: 1),
      try trainer(model, .meanSquaredError, mixup: 1)
    )
    let report = try run.run(epochs: 1, data: data)[0]
    let epoch = EpochKey(seed: 3, epoch: 0)
    let order = data.order(of: epoch)
    var images = try assembled(data, Augmentation(), order, epoch: epoch)
    let weights = Mixup.weights(order, alpha: 1, in: epoch)
    images.withUnsafeMutableBufferPointer { Mixup.mix($0, weights: weights, lanes: .shared) }
    var targets = [Float](repeating: 0, count: 6 * 3)
    for (place, sample) in order.enumerated() {
      let partner = order[Mixup.partner(of: place, count: 6)]
      targets[place * 3 + Int(data.labels[sample])] += weights[place]
      targets[place * 3 + Int(data.labels[partner])] += 1 - weights[place]
    }
    let loss = try stepped.step(
      images: Tensor(images, shape: [6, 8, 8, 1]), labels: Tensor(targets, shape: [6, 3]))
    #expect(report.loss == loss)
    #expect(run.model.parameters == stepped.model.parameters)
  }

  @Test func mixedTrainingLearnsAndRepeats() throws {
    let model = try Model(initializing: smallNetwork(size: 8, classes: 2), seed: 4)
    let data = try bands(48, size: 8, classes: 2, seed: 5)
    let runs = try [1, 2].map { lanes in
      let trainer = try trainer(model, mixup: 0.4, lanes: lanes)
      try trainer.run(epochs: 6, data: data)
      return trainer
    }
    #expect(runs[0].model.parameters == runs[1].model.parameters)
    #expect(try runs[0].evaluate(data).accuracy == 1)
  }
}
