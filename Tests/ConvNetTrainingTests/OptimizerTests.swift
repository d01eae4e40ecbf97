import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct OptimizerTests {
  static let names = ["dense1.weight", "dense1.bias"]

  /// A graph with a weight of n numbers and a bias of n numbers.
  func graph(_ n: Int) throws -> Graph {
    try Graph(input: .features(1)) { $0.dense(n) }
  }

  /// Runs updates on both parameters, from given values and with given gradients for each step.
  func run(
    _ optimizer: Optimizer, values: [Float], gradients: [[Float]], factor: Double = 1,
    lanes: Int = 1,
    decays: (String, ParameterRole) -> Bool = { $1.decaysByDefault }
  ) throws -> (weight: [Float], bias: [Float], state: OptimizerState) {
    let state = OptimizerState(optimizer, graph: try graph(values.count), decays: decays)
    let lanes = try Lanes(count: lanes)
    var (weight, bias) = (values, values)
    for gradient in gradients {
      weight.withUnsafeMutableBufferPointer { weight in
        bias.withUnsafeMutableBufferPointer { bias in
          gradient.withUnsafeBufferPointer { gradient in
            state.bind(
              parameters: { $0 == Self.names[0] ? weight : bias }, gradients: { _ in gradient })
            state.update(factor: factor, lanes: lanes)
          }
        }
      }
    }
    return (weight, bias, state)
  }

  /// Small multiples of 1/8, repeating from a seed.
  func dyadic(_ count: Int, seed: UInt64) -> [Float] {
    let random = Philox(seed: seed, stream: 0)
    return (0..<count).map { Float(Int(random.word(UInt64($0)) % 33) - 16) / 8 }
  }

  /// Rates, momentum and decay are powers of ½, so that no step of either side rounds.
  @Test(arguments: [false, true], [WeightDecay.none, .coupled(0.25), .decoupled(0.25)])
  func sgdIsExact(nesterov: Bool, weightDecay: WeightDecay) throws {
    let n = 21
    let values = dyadic(n, seed: 1)
    let gradients = [dyadic(n, seed: 2), dyadic(n, seed: 3), dyadic(n, seed: 4)]
    let sgd = SGD(
      learningRate: 1, momentum: 0.5, nesterov: nesterov, weightDecay: weightDecay)
    let found = try run(.sgd(sgd), values: values, gradients: gradients, factor: 0.5)
    for (decays, result) in [(true, found.weight), (false, found.bias)] {
      var (w, v) = (values, [Float](repeating: 0, count: n))
      for gradient in gradients {
        for i in 0..<n {
          var g = gradient[i]
          if decays, case .coupled(let rate) = weightDecay { g += Float(rate) * w[i] }
          if decays, case .decoupled(let rate) = weightDecay { w[i] -= 0.5 * Float(rate) * w[i] }
          v[i] = 0.5 * v[i] + g
          w[i] -= 0.5 * (nesterov ? g + 0.5 * v[i] : v[i])
        }
      }
      #expect(result == w, "decays: \(decays)")
    }
  }

  /// With β₁ = ½, β₂ = ¾ and ε = |g| = 2, the first corrected ratio is ±½.
  @Test func adamByHand() throws {
    let adam = Adam(learningRate: 1, beta1: 0.5, beta2: 0.75, epsilon: 2)
    let found = try run(.adam(adam), values: [1, 1], gradients: [[2, -2]])
    #expect(found.weight == [0.5, 1.5])
    let decayed = try run(
      .adam(
        Adam(learningRate: 1, beta1: 0.5, beta2: 0.75, epsilon: 2, weightDecay: .decoupled(0.5))),
      values: [1, 1], gradients: [[2, -2]])
    #expect(decayed.weight == [0, 1] && decayed.bias == [0.5, 1.5])
    let coupled = try run(
      .adam(Adam(learningRate: 1, beta1: 0.5, beta2: 0.75, epsilon: 2, weightDecay: .coupled(1))),
      values: [1], gradients: [[1]])
    #expect(coupled.weight == [0.5])
  }

  /// Against the same formulas in Double.
  ///
  /// With ½ ≤ |g| ≤ 1 the ratio is at most 2 and √v̂ at least ½; a
  /// step makes some ten roundings of its operands, so k steps of rate r stay within k·(64·ε·r + ε·|w|).
  @Test(arguments: [WeightDecay.none, .coupled(0.125), .decoupled(0.125)])
  func adamAgainstDouble(weightDecay: WeightDecay) throws {
    let (n, steps, rate) = (37, 6, 0.0625)
    let values = dyadic(n, seed: 5)
    let gradients = (0..<steps).map { step in
      Philox(seed: UInt64(step), stream: 9).uniforms(n, bound: 1).map {
        Float($0 < 0 ? ($0 - 1) / 2 : ($0 + 1) / 2)
      }
    }
    let adam = Adam(learningRate: rate, weightDecay: weightDecay)
    let found = try run(.adam(adam), values: values, gradients: gradients).weight
    for i in 0..<n {
      var (w, m, v) = (Double(values[i]), 0.0, 0.0)
      var (c1, c2) = (1.0, 1.0)
      for gradient in gradients {
        let g = Double(gradient[i]) + weightDecay.coupledRate * w
        (c1, c2) = (c1 * 0.9, c2 * 0.999)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w -=
          rate
          * (m / (1 - c1) / ((v / (1 - c2)).squareRoot() + 1e-8)
            + weightDecay.decoupledRate * w)
      }
      // The corrections 1 − βᵗ are rounded once; 1 − 0.999 as a float is 0.001·(1 ± 3e-5).
      let relative = 64 * Double(Float.ulpOfOne) + Double(Float.ulpOfOne) / 0.001
      let bound = Double(steps) * (relative * rate * 2 + Double(Float.ulpOfOne) * 3)
      #expect(abs(Double(found[i]) - w) <= bound, "element \(i): \(found[i]), not \(w)")
    }
  }

  /// Several pieces a tensor, one and two lanes.
  @Test func lanesDoNotMatter() throws {
    let n = 40_001
    let (values, gradients) = (dyadic(n, seed: 6), [dyadic(n, seed: 7), dyadic(n, seed: 8)])
    for optimizer in [
      Optimizer.sgd(SGD(learningRate: 0.1, weightDecay: .decoupled(0.01))), .adam(Adam()),
    ] {
      let one = try run(optimizer, values: values, gradients: gradients, lanes: 1)
      let two = try run(optimizer, values: values, gradients: gradients, lanes: 2)
      #expect(one.weight == two.weight && one.bias == two.bias)
      #expect(one.weight != values)
    }
  }

  @Test func decayFollowsThePredicate() throws {
    let sgd = Optimizer.sgd(SGD(learningRate: 1, momentum: 0, weightDecay: .coupled(0.5)))
    let all = try run(sgd, values: [2], gradients: [[0]]) { _, _ in true }
    #expect(all.weight == [1] && all.bias == [1])
    let named = try run(sgd, values: [2], gradients: [[0]]) { name, _ in name == "dense1.bias" }
    #expect(named.weight == [2] && named.bias == [1])
    let decaying: [ParameterRole] = [.convolutionFilter, .denseWeight]
    let others: [ParameterRole] = [.bias, .normalizationScale, .normalizationShift]
    #expect(decaying.allSatisfy(\.decaysByDefault) && !others.contains(where: \.decaysByDefault))
  }

  @Test func momentsComeBack() throws {
    let adam = Optimizer.adam(Adam(learningRate: 0.5))
    let gradients = [dyadic(5, seed: 1), dyadic(5, seed: 2)]
    let state = try run(adam, values: dyadic(5, seed: 3), gradients: gradients).state
    #expect(state.tensors.count == 5 && state.tensors["steps"] == Tensor(scalar: Int64(2)))
    let copy = OptimizerState(adam, graph: try graph(5)) { _, _ in false }
    try copy.restore(state.tensors)
    #expect(copy.tensors == state.tensors && copy.stepCount == 2)
    var broken = state.tensors
    broken["mean/dense1.bias"] = Tensor(zeros: [4])
    #expect(throws: TrainingError.self) { try copy.restore(broken) }
    #expect(throws: TrainingError.self) { try copy.restore([:]) }
    #expect(copy.tensors == state.tensors)
  }

  @Test func impossibleOptions() {
    let bad: [Optimizer] = [
      .sgd(SGD(learningRate: -1)), .sgd(SGD(learningRate: .nan)),
      .sgd(SGD(learningRate: 1, momentum: 1)), .adam(Adam(epsilon: 0)), .adam(Adam(beta2: 1)),
      .sgd(SGD(learningRate: 1, weightDecay: .coupled(-1))),
    ]
    for optimizer in bad { #expect(throws: TrainingError.self) { try optimizer.check() } }
  }
}
