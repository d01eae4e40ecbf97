import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTraining
import Glibc
import Testing

/// Training and evaluation by the engine against the same graph in the reference, in Double.
@Suite struct ReferenceTests {
  static let rate = 0.05
  static let momentum = 0.9

  /// Losses of steps of SGD with momentum, all in Double, from parameters scaled by `scale(name)`.
  func referenceLosses(
    _ model: Model, images: Tensor, labels: Tensor, steps: Int, scale: (String) -> [Double]
  ) throws -> [Double] {
    let graph = try ResolveMode(.training)
      .apply(to: Loss.softmaxCrossEntropy().added(to: model.graph)).gradient(of: Loss.lossName)
    let reference = try Reference(unbound: graph)
    var values = model.parameters.merging(model.state) { first, _ in first }
      .mapValues(ReferenceTensor.init)
    for name in model.parameters.keys {
      let factors = scale(name)
      for (i, factor) in factors.enumerated() { values[name]?.values[i] *= factor }
    }
    values["input"] = ReferenceTensor(images)
    values[Loss.labelsName] = ReferenceTensor(labels)
    var velocities: [String: [Double]] = [:]
    return try (0..<steps).map { _ in
      let outputs = try reference.runInDouble(values)
      for name in model.parameters.keys {
        guard let gradient = outputs["gradient/\(name)"]?.values else { continue }
        let old = velocities[name] ?? gradient.map { _ in 0 }
        let velocity = zip(old, gradient).map { Self.momentum * $0 + $1 }
        velocities[name] = velocity
        for (i, v) in velocity.enumerated() { values[name]?.values[i] -= Self.rate * v }
      }
      return try #require(outputs[Loss.lossName]).values[0]
    }
  }

  /// The first losses of `lenet`, with and without batch norm.
  ///
  /// A sum of K products in float is the exact sum for factors changed by about √K·ε each (Higham & Mary
  /// 2019, theorem 3.1), so the engine computes what exact arithmetic computes from weights perturbed by
  /// as much, with K the longest sum of a layer, forward or backward. How far such changes move the loss
  /// is measured on the reference with four draws of signs; the bound is eight times the largest, because
  /// the engine's own signs may be worse than four draws, and ε of the loss itself.
  @Test(arguments: [true, false]) func firstLossesOfLenet(normalized: Bool) throws {
    let (size, batch, steps) = (14, 6, 3)
    let graph = try Network.lenet.graph(batchNormalization: normalized, size: size)
    let model = try Model(initializing: graph, seed: 21)
    let data = try bands(batch, size: size, classes: 10, seed: 22)
    let labels = Tensor(data.labels)
    let exact = try referenceLosses(
      model, images: data.images, labels: labels, steps: steps, scale: { _ in [] })
    let change = Double(batch * size * size).squareRoot() * Double(Float.ulpOfOne)
    var spread = [Double](repeating: 0, count: steps)
    for draw in 0..<4 {
      let perturbed = try referenceLosses(
        model, images: data.images, labels: labels, steps: steps,
        scale: { name in
          let random = Philox(seed: UInt64(draw), purpose: name)
          let count = model.parameters[name]?.count ?? 0
          return random.uniforms(count, bound: 1).map {
            1 + ($0 < 0 ? -change : change)
          }
        })
      for step in 0..<steps { spread[step] = max(spread[step], abs(perturbed[step] - exact[step])) }
    }
    let trainer = try Trainer(
      model: model, optimizer: .sgd(SGD(learningRate: Self.rate, momentum: Self.momentum)))
    for step in 0..<steps {
      let loss = try trainer.step(images: data.images, labels: labels)
      let bound = 8 * spread[step] + exact[step] * Double(Float.ulpOfOne)
      #expect(
        abs(loss - exact[step]) <= bound,
        "step \(step): \(loss), not \(exact[step]); bound \(bound)")
    }
    #expect(exact[steps - 1] < exact[0])
  }

  /// Evaluation takes running statistics and the model's normalisation, and any batch size.
  @Test func evaluationMatchesTheReference() throws {
    let data = try bands(7, size: 8, classes: 3, seed: 31)
    var model = try Model(initializing: smallNetwork(size: 8, classes: 3, dropout: 0.5), seed: 32)
    model.normalization = try Normalization(mean: [0.25], standardDeviation: [0.5])
    try model.setState(
      "batchNormalization1.running_mean", to: Tensor(repeating: Float(0.5), shape: [8]))
    let found = try [2, 7].map { try Evaluator(model, batchSize: $0).evaluate(data) }

    let normalized = Tensor(data.images.floats.map { $0 * 2 - 0.5 }, shape: data.images.shape)
    let outputs = try Reference(model, mode: .inference).run(inputs: ["input": normalized])
    let logits = try #require(outputs["output"]).doubles
    var expected = Evaluation(classCount: 3)
    for (sample, label) in data.labels.enumerated() {
      let row = logits[sample * 3..<sample * 3 + 3].map { $0 }
      let total = row.reduce(0) { $0 + exp($1) }
      let loss = -log(exp(row[Int(label)]) / total)
      row.map { Float($0) }.withUnsafeBufferPointer {
        expected.add(loss: loss, logits: $0, labels: [label])
      }
    }
    // Sums of 9 and of 128 products of numbers that stay below 8 and 16, twice for the softmax.
    let bound = 2 * Double(Float.ulpOfOne) * (9 + 128) * 16
    for evaluation in found {
      #expect(evaluation.confusion == expected.confusion && evaluation.count == 7)
      #expect(abs(evaluation.loss - expected.loss) <= bound)
    }
  }
}
