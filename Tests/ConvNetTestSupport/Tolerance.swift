/// How far a float32 result may lie from the exact one.
package enum Tolerance {
  /// The bound for sums of `terms` products a·b in float32: 8·ε·K·max|a|·max|b|, with ε = 2⁻²³.
  ///
  /// Derivation, with u = ε/2: a computed sum is Σ of exact terms plus one rounding error δ·s at every
  /// step, |δ| ≤ u, s the partial sum. K steps with independent errors of mean 0 add up to at most
  /// λ·u·√(Σ s²) (Higham & Mary 2019, theorem 2.4), and partial sums of k terms of mixed sign stay
  /// below λ·√k·max|a|·max|b|, both but for a probability of 2·exp(−λ²/2). Together λ²·u·K·max|a|·max|b|;
  /// λ = 4 gives the 16·u = 8·ε. Up to K = 16 it also covers the worst case, K²·u·max|a|·max|b|.
  /// Blocked sums and fused multiply-adds have fewer errors, never more. Data of one sign is not covered.
  package static func bound(terms: Int, maxA: Double, maxB: Double) -> Double {
    8 * Double(Float.ulpOfOne) * Double(terms) * maxA * maxB
  }

  /// The bound for a function computed to so many units in the last place of results up to `magnitude`.
  package static func ulps(_ count: Double, magnitude: Double) -> Double {
    count * Double(Float.ulpOfOne) * magnitude
  }
}
