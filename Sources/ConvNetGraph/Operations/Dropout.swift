/// Inverted dropout: an element is 0 with probability `rate`, otherwise divided by 1 − rate.
///
/// After Srivastava et al. 2014.
///
/// Operands: x and a key, int64 `[2]` = (seed, step). Which elements fall is a pure function of (seed,
/// step, `stream`, flat index), by the counter-based generator `Philox`: the backward pass applies the
/// same operation to the gradient, and nothing is stored.
package struct Dropout: Hashable, Sendable, Codable {
  package var rate: Double
  /// A number of the layer's own, below 65 536.
  package var stream: Int

  package init(rate: Double, stream: Int) {
    self.rate = rate
    self.stream = stream
  }

  /// A random word at least this large keeps the element.
  package var threshold: UInt32 { UInt32((rate * 4_294_967_296).rounded(.down)) }
  /// What a kept element is multiplied by.
  package var scale: Float { Float(1 / (1 - rate)) }

  /// The generator's stream for a step.
  package func stream(step: Int64) -> UInt64 {
    UInt64(bitPattern: step) &* 65_536 &+ UInt64(truncatingIfNeeded: stream)
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    guard operands[0].elementType == .float32 else {
      throw GraphError(.invalidElementType, "drops elements of float32, not of \(operands[0])")
    }
    try Operation.expect(operands[1], toBe: TensorType(.int64, [2] as Shape), as: "a random key")
    guard rate >= 0, rate < 1, (0..<65_536).contains(stream) else {
      throw GraphError(.invalidAttribute, "a dropout rate of \(rate) is not in 0..<1")
    }
    return operands[0]
  }
}
