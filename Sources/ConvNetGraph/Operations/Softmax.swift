/// The loss −Σ q·log softmax(x) of each row, with q = (1 − s)·onehot(label) + s/K.
///
/// Operands: logits `[N, K]` and labels, int64 `[N]`. The smoothing s follows Szegedy et al. 2016,
/// section 7.
package struct SoftmaxCrossEntropy: Hashable, Sendable, Codable {
  package var labelSmoothing: Double

  package init(labelSmoothing: Double = 0) { self.labelSmoothing = labelSmoothing }

  func lossType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    let (logits, labels) = (operands[0], operands[1])
    guard logits.elementType == .float32, logits.rank == 2 else {
      throw GraphError(.invalidShape, "takes logits float32 [N, K], not \(logits)")
    }
    try Operation.expect(labels, toBe: TensorType(.int64, [logits.dimensions[0]]), as: "the labels")
    guard (0..<1).contains(labelSmoothing) else {
      throw GraphError(.invalidAttribute, "a label smoothing of \(labelSmoothing) is not in 0..<1")
    }
    return TensorType([logits.dimensions[0]])
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 3)
    let loss = try lossType(Array(operands[1...]))
    try Operation.expect(operands[0], toBe: loss, as: "the loss's gradient")
    return operands[1]
  }
}

extension Operation {
  func softmaxType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.float(inputs, count: 1)[0]
    guard x.rank >= 1 else {
      throw GraphError(.invalidShape, "softmax needs an axis, and a scalar has none")
    }
    return x
  }
}
