/// How weights are pulled towards 0.
public enum WeightDecay: Hashable, Sendable {
  /// Not at all.
  case none
  /// λ·w is added to the gradient, so that momentum and Adam's scaling act on it: the L2 penalty λ/2·w².
  case coupled(Double)
  /// w loses rate·λ·w beside the gradient's step: SGDW and AdamW (Loshchilov & Hutter 2019).
  case decoupled(Double)

  /// λ where it goes through the gradient, else 0.
  package var coupledRate: Double { if case .coupled(let rate) = self { rate } else { 0 } }
  /// λ where it acts on the weight itself, else 0.
  package var decoupledRate: Double { if case .decoupled(let rate) = self { rate } else { 0 } }
}

/// Stochastic gradient descent with momentum.
///
/// v ← momentum·v + g and w ← w − rate·v, or w ← w − rate·(g + momentum·v) with Nesterov's momentum
/// (Sutskever et al. 2013, as most frameworks write it).
public struct SGD: Hashable, Sendable {
  /// The largest learning rate; the schedule multiplies it.
  public var learningRate: Double
  /// How much of the velocity survives a step, in 0..<1.
  public var momentum: Double
  /// Whether the gradient is taken ahead of the velocity.
  public var nesterov: Bool
  /// How weights are pulled towards 0.
  public var weightDecay: WeightDecay

  /// Makes the optimiser's options.
  ///
  /// Numbers outside their range are refused by whoever takes the options, with `TrainingError`.
  public init(
    learningRate: Double, momentum: Double = 0.9, nesterov: Bool = false,
    weightDecay: WeightDecay = .none
  ) {
    self.learningRate = learningRate
    self.momentum = momentum
    self.nesterov = nesterov
    self.weightDecay = weightDecay
  }
}

/// Adam (Kingma & Ba 2015, algorithm 1); with decoupled weight decay, AdamW.
public struct Adam: Hashable, Sendable {
  /// The largest learning rate; the schedule multiplies it.
  public var learningRate: Double
  /// How much of the mean gradient survives a step, in 0..<1.
  public var beta1: Double
  /// How much of the mean squared gradient survives a step, in 0..<1.
  public var beta2: Double
  /// Added to the root of the mean square; above 0.
  public var epsilon: Double
  /// How weights are pulled towards 0.
  public var weightDecay: WeightDecay

  /// Makes the optimiser's options.
  ///
  /// Numbers outside their range are refused by whoever takes the options, with `TrainingError`.
  public init(
    learningRate: Double = 1e-3, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
    weightDecay: WeightDecay = .none
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }
}

/// How parameters follow their gradients.
public enum Optimizer: Hashable, Sendable {
  /// Stochastic gradient descent with momentum.
  case sgd(SGD)
  /// Adam, or AdamW.
  case adam(Adam)

  /// The largest learning rate.
  public var learningRate: Double {
    switch self {
    case .sgd(let sgd): sgd.learningRate
    case .adam(let adam): adam.learningRate
    }
  }

  /// How weights are pulled towards 0.
  public var weightDecay: WeightDecay {
    switch self {
    case .sgd(let sgd): sgd.weightDecay
    case .adam(let adam): adam.weightDecay
    }
  }

  /// What is remembered of each parameter between steps, by name, each of the parameter's shape.
  package var momentNames: [String] {
    switch self {
    case .sgd: ["velocity"]
    case .adam: ["mean", "mean square"]
    }
  }

  /// Refuses numbers that no training can use.
  package func check() throws {
    let (decays, positives): ([(String, Double)], [(String, Double)])
    switch self {
    case .sgd(let sgd): (decays, positives) = ([("momentum", sgd.momentum)], [])
    case .adam(let adam):
      decays = [("beta1", adam.beta1), ("beta2", adam.beta2)]
      positives = [("epsilon", adam.epsilon)]
    }
    for (name, value) in decays where !(0..<1).contains(value) {
      throw TrainingError(.invalidOption, "a \(name) of \(value) is not in 0..<1")
    }
    let rates = [
      ("learning rate", learningRate),
      ("weight decay", weightDecay.coupledRate + weightDecay.decoupledRate),
    ]
    for (name, value) in rates + positives where !(value >= 0 && value.isFinite) {
      throw TrainingError(.invalidOption, "a \(name) of \(value) is not a number from 0 upwards")
    }
    if case .adam(let adam) = self, adam.epsilon == 0 {
      throw TrainingError(.invalidOption, "an epsilon of 0 divides by 0 where gradients are 0")
    }
  }
}
