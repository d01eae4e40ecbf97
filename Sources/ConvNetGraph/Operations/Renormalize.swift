/// The factors of batch renormalisation (Ioffe 2017, algorithm 1), per channel:
/// r = clip(σ_B/σ, 1/r_max, r_max) and d = clip((μ_B − μ)/σ, −d_max, d_max), with σ_B = √(M2/m + ε) and
/// σ = √(running variance + ε).
///
/// Operands: count, mean, M2; running mean and variance; the limits (r_max, d_max). Results r and d,
/// float32 `[C]`, which are constants to the gradient.
package struct Renormalize: Hashable, Sendable, Codable {
  package var epsilon: Double

  package init(epsilon: Double) { self.epsilon = epsilon }

  func outputTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    let operands = try Operation.take(inputs, count: 6)
    let channels = TensorType(operands[1].dimensions)
    let expected = [
      TensorType(.float64, [Dimension]()), TensorType(.float64, channels.dimensions),
      TensorType(.float64, channels.dimensions), channels, channels, TensorType([2]),
    ]
    for (operand, type) in zip(operands, expected) {
      try Operation.expect(operand, toBe: type, as: "an operand of renormalisation")
    }
    return [channels, channels]
  }

  /// r and d of one channel.
  ///
  /// A limit below its neutral value (1 for r, 0 for d) counts as neutral.
  package func factors(
    mean: Double, variance: Double, runningMean: Double, runningVariance: Double,
    scaleLimit: Double, shiftLimit: Double
  ) -> (scale: Double, shift: Double) {
    let sigma = (runningVariance + epsilon).squareRoot()
    let (scaleLimit, shiftLimit) = (max(scaleLimit, 1), max(shiftLimit, 0))
    let r = (variance + epsilon).squareRoot() / sigma
    let d = (mean - runningMean) / sigma
    // min and max keep NaN, which a clamped comparison would turn into a limit.
    guard r.isFinite, d.isFinite else { return (r, d) }
    return (min(max(r, 1 / scaleLimit), scaleLimit), min(max(d, -shiftLimit), shiftLimit))
  }
}
