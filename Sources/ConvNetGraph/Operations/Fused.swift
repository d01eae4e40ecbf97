/// An operation and elementwise steps that are applied to its first result while it is in cache.
///
/// Fusion never invents mathematics: the members are operations that exist on their own, the reference
/// interprets them one by one, and nothing differentiates a fused node (gradients are taken before).
/// Operands: those of the anchor, then one for each step that combines.
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

  package var anchor: Operation
  /// How many of the operands are the anchor's.
  package var anchorInputCount: Int
  package var epilogue: [Step]

  package init(anchor: Operation, anchorInputCount: Int, epilogue: [Step]) {
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
    var operands = inputs.dropFirst(anchorInputCount)
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
