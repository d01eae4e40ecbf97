import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct ClippingTests {
  /// One update of a weight and a bias of n numbers each by plain gradient descent of rate 1, from 0; so
  /// what they become is the clipped gradient with the sign changed.
  func clipped(
    _ clipping: GradientClipping?, weight: [Float], bias: [Float], lanes: Int = 1
  ) throws -> (weight: [Float], bias: [Float], norm: Double?) {
    let graph = try Graph(input: .features(1)) { $0.dense(weight.count, name: "d") }
    let state = OptimizerState(
      .sgd(SGD(learningRate: 1, momentum: 0)), clipping: clipping, graph: graph
    ) { _, _ in false }
    let lanes = try Lanes(count: lanes)
    var w = [Float](repeating: 0, count: weight.count)
    var b = w
    w.withUnsafeMutableBufferPointer { w in
      b.withUnsafeMutableBufferPointer { b in
        weight.withUnsafeBufferPointer { dw in
          bias.withUnsafeBufferPointer { db in
            state.bind(
              parameters: { $0 == "d.weight" ? w : b },
              gradients: { $0 == "gradient/d.weight" ? dw : db })
            #expect(state.nonFiniteGradient(lanes: lanes) == nil)
            state.update(factor: 1, lanes: lanes)
          }
        }
      }
    }
    return (w, b, state.gradientNorm)
  }

  /// ‖(3, 4, 12)‖ = 13; clipped to 6½ gradients are halved.
  @Test func normByHand() throws {
    let halved = try clipped(.norm(6.5), weight: [3, 4], bias: [12, 0])
    #expect(halved.weight == [-1.5, -2] && halved.bias == [-6, 0] && halved.norm == 13)
    let whole = try clipped(.norm(13), weight: [3, 4], bias: [12, 0])
    #expect(whole.weight == [-3, -4] && whole.bias == [-12, 0] && whole.norm == 13)
    let plain = try clipped(nil, weight: [3, 4], bias: [12, 0])
    #expect(plain.weight == whole.weight && plain.norm == nil)
  }

  @Test func valueByHand() throws {
    let found = try clipped(.value(4), weight: [3, 4, -5], bias: [12, -4, 0])
    #expect(found.weight == [-3, -4, 4] && found.bias == [-4, 4, 0] && found.norm == nil)
  }

  /// Several pieces, against Double: squares and sums of at most 4096/8 floats round 2⁹ times, the norm is
  /// half as far off, and the factor and the product round once more each.
  @Test func normAgainstDouble() throws {
    let n = 40_001
    let (weight, bias) = (
      Philox(seed: 1, stream: 1).uniforms(n, bound: 2).map { Float($0) },
      Philox(seed: 1, stream: 2).uniforms(n, bound: 1).map { Float($0) }
    )
    let want = (weight + bias).reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    let one = try clipped(.norm(3), weight: weight, bias: bias)
    let epsilon = Double(Float.ulpOfOne)
    let norm = try #require(one.norm)
    #expect(abs(norm - want) <= 256 * epsilon * want, "\(norm), not \(want)")
    for (found, gradient) in zip(one.weight + one.bias, weight + bias) {
      let exact = -Double(gradient) * 3 / want
      #expect(abs(Double(found) - exact) <= 260 * epsilon * abs(exact))
    }
    let two = try clipped(.norm(3), weight: weight, bias: bias, lanes: 2)
    #expect(two.weight == one.weight && two.bias == one.bias && two.norm == one.norm)
  }

  /// Squares of 10³⁰ exceed float, those of 10⁻³⁰ are 0 in it.
  @Test func extremeGradients() throws {
    let large = try clipped(.norm(1), weight: [3e30, 0], bias: [0, -4e30])
    #expect(abs((large.norm ?? 0) / 5e30 - 1) < 1e-6)
    #expect(abs(large.weight[0] + 0.6) < 1e-6 && abs(large.bias[1] - 0.8) < 1e-6)
    let small = try clipped(.norm(1), weight: [3e-30, 0], bias: [0, -4e-30])
    #expect(small.weight == [-3e-30, 0] && small.bias == [0, 4e-30])
  }

  /// The parts of a batch are clipped as the batch, not one by one.
  @Test func accumulatedGradientsAreClippedTogether() throws {
    let graph = try smallNetwork(size: 8, classes: 2)
    let data = try bands(16, size: 8, classes: 2, seed: 2)
    func train(_ clipping: GradientClipping?, steps: Int, lanes: Int) throws -> Trainer {
      let trainer = try Trainer(
        model: Model(initializing: graph, seed: 4), optimizer: .sgd(SGD(learningRate: 0.1)),
        batchSize: 8, accumulation: Accumulation(steps: steps), clipping: clipping,
        lanes: Lanes(count: lanes))
      try trainer.run(epochs: 1, data: data)
      return trainer
    }
    for steps in [1, 2] {
      let (one, two, free) = (
        try train(.norm(0.125), steps: steps, lanes: 1),
        try train(.norm(0.125), steps: steps, lanes: 2),
        try train(nil, steps: steps, lanes: 1)
      )
      #expect(one.model.parameters == two.model.parameters)
      #expect(one.model.parameters != free.model.parameters)
      #expect(one.gradientNorm.map { $0 > 0.125 } == true && free.gradientNorm == nil)
    }
  }

  @Test func impossibleOptions() throws {
    let model = try Model(initializing: smallNetwork(size: 8, classes: 2), seed: 1)
    let optimizer = Optimizer.sgd(SGD(learningRate: 1))
    for clipping in [GradientClipping.norm(0), .norm(.infinity), .value(-1), .value(.nan)] {
      #expect(throws: TrainingError.self) {
        try Trainer(model: model, optimizer: optimizer, clipping: clipping)
      }
    }
    for decay in [-0.5, 1, .nan] {
      #expect(throws: TrainingError.self) {
        try Trainer(model: model, optimizer: optimizer, averageDecay: decay)
      }
    }
  }
}
