/// An operation and elementwise steps that are applied to its first result while it is in cache, or to its
/// first operand when it is loaded.
///
/// Fusion never invents mathematics: the members are operations that exist on their own, the reference
/// interprets them one by one, and nothing differentiates a fused node (gradients are taken before).
/// Operands: those of the anchor, then the γ and β of the prologue's normalisation that it has, then one for
/// each step that combines.
package struct Fused: Hashable, Sendable, Codable {
  /// One elementwise step.
  package enum Step: Hashable, Sendable, Codable {
    /// y ← f(y).
    case map(UnaryFunction)
    /// y ← f(y, operand), the operand of the same shape as y or a row `[C]` broadcast over it.
    case combine(BinaryFunction)

    /// The step as an operation of its own.
    package var operation: Operation {
      switch self {
      case .map(let function): .map(function)
      case .combine(let function): .combine(function)
      }
    }
  }

  /// The derivative of an activation of a normalisation, for an anchor that is a gradient of the latter.
  ///
  /// The anchor's first operand is dz; what it gets is g = f′(n)·dz, where n = Normalize(x, statistics, γ,
  /// β) of the anchor's own x and statistics.
  package struct Prologue: Hashable, Sendable, Codable {
    package var normalize: Normalize
    /// f.
    package var function: UnaryFunction

    package init(normalize: Normalize, function: UnaryFunction) {
      self.normalize = normalize
      self.function = function
    }

    /// How many operands behind the anchor's are γ and β.
    package var inputCount: Int { (normalize.hasScale ? 1 : 0) + (normalize.hasShift ? 1 : 0) }

    /// The operands of the normalisation among those of the fused node.
    package func normalizeInputs<Operand>(
      _ operands: [Operand], anchorInputCount: Int
    ) -> [Operand] {
      Array(operands[1..<(2 + normalize.statisticsCount)])
        + operands[anchorInputCount..<(anchorInputCount + inputCount)]
    }

    func check(_ inputs: [TensorType], anchor: Operation, anchorInputCount: Int) throws {
      let gradient: NormalizeGradient
      switch anchor {
      case .normalizeGradientSums(let a), .normalizeGradientInput(let a): gradient = a
      default:
        throw GraphError(.malformedGraph, "only a normalisation's gradient has a prologue")
      }
      guard gradient.source == normalize.source, inputs.count >= anchorInputCount + inputCount
      else {
        throw GraphError(.malformedGraph, "a fused node lacks operands of its prologue")
      }
      let operands = normalizeInputs(inputs, anchorInputCount: anchorInputCount)
      try Operation.expect(
        inputs[0], toBe: normalize.outputType(operands), as: "the gradient of a fused activation")
    }
  }

  package var prologue: Prologue?
  package var anchor: Operation
  /// How many of the operands are the anchor's.
  package var anchorInputCount: Int
  package var epilogue: [Step]

  package init(
    prologue: Prologue? = nil, anchor: Operation, anchorInputCount: Int, epilogue: [Step]
  ) {
    self.prologue = prologue
    self.anchor = anchor
    self.anchorInputCount = anchorInputCount
    self.epilogue = epilogue
  }

  func outputTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    guard (0...inputs.count).contains(anchorInputCount) else {
      throw GraphError(.malformedGraph, "a fused node lacks operands of its anchor")
    }
    if case .fused = anchor {
      throw GraphError(.malformedGraph, "a fused node cannot be the anchor of another")
    }
    var results = try anchor.outputTypes(Array(inputs.prefix(anchorInputCount)))
    try prologue?.check(inputs, anchor: anchor, anchorInputCount: anchorInputCount)
    var operands = inputs.dropFirst(anchorInputCount + (prologue?.inputCount ?? 0))
    for step in epilogue {
      var taken = [results[0]]
      if case .combine = step {
        guard let operand = operands.popFirst() else {
          throw GraphError(.malformedGraph, "a fused node lacks an operand of its epilogue")
        }
        taken.append(operand)
      }
      let type = try step.operation.outputTypes(taken)[0]
      try Operation.expect(type, toBe: results[0], as: "the result of a fused step")
      results[0] = type
    }
    guard operands.isEmpty else {
      throw GraphError(.malformedGraph, "a fused node has operands that no step uses")
    }
    return results
  }
}
