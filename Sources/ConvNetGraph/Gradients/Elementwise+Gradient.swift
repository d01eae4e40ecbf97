extension BinaryFunction {
  /// The chain rule for f(a, b); an operand that was stretched gets the sum over its copies.
  func differentiate(_ step: inout GradientStep) throws {
    switch self {
    case .add:
      step.contributeBroadcast(to: 0) { $0.gradient() }
      step.contributeBroadcast(to: 1) { $0.gradient() }
    case .subtract:
      step.contributeBroadcast(to: 0) { $0.gradient() }
      step.contributeBroadcast(to: 1) { $0.affine($0.gradient(), scale: -1) }
    case .multiply:
      step.contributeBroadcast(to: 0) { $0.multiply($0.gradient(), $0.input(1)) }
      step.contributeBroadcast(to: 1) { $0.multiply($0.gradient(), $0.input(0)) }
    case .divide:
      // ∂(a/b)/∂b = −a/b² = −y/b.
      step.contributeBroadcast(to: 0) { $0.add(.combine(.divide), $0.gradient(), $0.input(1)) }
      step.contributeBroadcast(to: 1) {
        let product = $0.multiply($0.gradient(), $0.output())
        return $0.affine($0.add(.combine(.divide), product, $0.input(1)), scale: -1)
      }
    case .maximum: differentiateExtreme(&step, secondWinsWhere: (1, isGreaterThan: 0))
    case .minimum: differentiateExtreme(&step, secondWinsWhere: (0, isGreaterThan: 1))
    case .power: differentiatePower(&step)
    case .equal, .greater: break  // Constant wherever they are differentiable.
    case .derivative(let function): try differentiateDerivative(of: function, &step)
    }
  }

  /// Where operands are equal, the gradient goes to the first.
  private func differentiateExtreme(
    _ step: inout GradientStep, secondWinsWhere operands: (Int, isGreaterThan: Int)
  ) {
    func second(_ step: GradientStep) -> Graph.ValueID {
      let wins = step.add(
        .combine(.greater), step.input(operands.0), step.input(operands.isGreaterThan))
      return step.multiply(step.gradient(), wins)
    }
    step.contributeBroadcast(to: 0) { $0.add(.combine(.subtract), $0.gradient(), second($0)) }
    step.contributeBroadcast(to: 1) { second($0) }
  }

  /// ∂aᵇ/∂a = b·aᵇ⁻¹, 0 where b = 0; ∂aᵇ/∂b = aᵇ·ln a, 0 where a ≤ 0.
  private func differentiatePower(_ step: inout GradientStep) {
    let (a, b) = (step.input(0), step.input(1))
    step.contributeBroadcast(to: 0) {
      // An exponent of 0 instead of −1 where b = 0, so that b·0⁻¹ never becomes 0·∞.
      let isZero = $0.add(.combine(.equal), b, $0.add(.fill(0), b))
      let exponent = $0.add(.combine(.add), $0.affine(b, scale: 1, offset: -1), isZero)
      let slope = $0.multiply(b, $0.add(.combine(.power), a, exponent))
      return $0.multiply($0.gradient(), slope)
    }
    step.contributeBroadcast(to: 1) {
      // ln 1 = 0 takes the place of the logarithm of what is not positive.
      let isPositive = $0.add(.combine(.greater), a, $0.add(.fill(0), a))
      let positive = $0.add(
        .combine(.add), $0.multiply(a, isPositive), $0.affine(isPositive, scale: -1, offset: 1))
      let slope = $0.multiply($0.output(), $0.add(.map(.log), positive))
      return $0.multiply($0.gradient(), slope)
    }
  }

  /// a·f′(b) is linear in a; with respect to b it needs f″, where that is simple.
  private func differentiateDerivative(
    of function: UnaryFunction, _ step: inout GradientStep
  ) throws {
    step.contributeBroadcast(to: 0) {
      $0.add(.combine(.derivative(function)), $0.gradient(), $0.input(1))
    }
    // f″ = ratio·f′, so that the gradient is derivative(f)(g·a·ratio(b), b).
    let ratio: (GradientStep, Graph.ValueID) -> Graph.ValueID
    switch function {
    case .relu, .relu6, .leakyRelu, .clip, .affine, .absolute, .hardSigmoid: return
    case .floor, .ceiling, .round, .sign: return
    case .exp: ratio = { $0.add(.fill(1), $1) }
    case .sigmoid: ratio = { $0.affine($0.add(.map(.sigmoid), $1), scale: -2, offset: 1) }
    case .tanh: ratio = { $0.affine($0.add(.map(.tanh), $1), scale: -2) }
    case .log: ratio = { $0.affine($0.add(.map(.reciprocal), $1), scale: -1) }
    case .reciprocal: ratio = { $0.affine($0.add(.map(.reciprocal), $1), scale: -2) }
    case .squareRoot: ratio = { $0.affine($0.add(.map(.reciprocal), $1), scale: -0.5) }
    case .erf: ratio = { $0.affine($1, scale: -2) }
    case .square:
      // f″ = 2 even where f′ = 0.
      step.contributeBroadcast(to: 1) {
        $0.affine($0.multiply($0.gradient(), $0.input(0)), scale: 2)
      }
      return
    case .softplus, .silu, .hardSwish, .elu, .gelu, .geluTanh:
      guard step.wants[1] else { return }
      throw step.noGradient("\(function.name) is differentiated once, not twice")
    }
    step.contributeBroadcast(to: 1) {
      let product = $0.multiply($0.gradient(), $0.input(0))
      let weighted = $0.multiply(product, ratio($0, $0.input(1)))
      return $0.add(.combine(.derivative(function)), weighted, $0.input(1))
    }
  }
}

extension GradientStep {
  /// Contributes a gradient of the result's shape to an operand that may have been stretched to it.
  mutating func contributeBroadcast(
    to operand: Int, _ gradient: (GradientStep) -> Graph.ValueID
  ) {
    contribute(to: operand) { step in
      let full = gradient(step)
      let like = step.input(operand)
      let (from, to) = (step.type(full).dimensions, step.type(like).dimensions)
      guard from != to else { return full }
      // Axes are aligned at the last one; missing and stretched ones are summed over.
      let missing = from.count - to.count
      let axes = from.indices.filter { $0 < missing || from[$0] != to[$0 - missing] }
      let sum = step.add(.reduce(Reduce(.sum, axes: axes)), full)
      return step.type(sum) == step.type(like) ? sum : step.add(.reshapeLike, sum, like)
    }
  }
}
