package import ConvNetGraph
package import ConvNetReference

extension Tolerance {
  /// What the reference computes of a whole network, and how far float32 may lie from it, by output.
  ///
  /// A float32 sum of K products is the exact sum of products of operands that are off by a relative γ(K) in
  /// the worst case (Higham 2002, section 3.1) and by λ·√K·u but for a probability of 2·exp(−λ²/2) (Higham
  /// & Mary 2019, theorem 2.4), u = 2⁻²⁴. Every layer has operands of its own: its filter, its γ and β. So
  /// the reference runs in Double with all float32 inputs, parameters and state changed at random by up to
  /// 4·√(K + 16)·u of themselves, 16 for the elementwise operations between two such layers. What an
  /// output's elements move by at most, in six runs, is what the network makes of such errors: its condition
  /// in this direction, as Kenney & Laub 1994 estimate it from a few samples. The bound is twice that,
  /// because six samples need not meet the worst, and the rounding of the output.
  ///
  /// - Parameters:
  ///   - reference: what to run.
  ///   - values: inputs, parameters and state by name.
  ///   - terms: K of the longest sum.
  ///   - seed: of the changes.
  package static func perturbing(
    _ reference: Reference, _ values: [String: Tensor], terms: Int, seed: UInt64
  ) throws -> [String: (expected: ReferenceTensor, tolerance: Double)] {
    let expected = try reference.runInDouble(values.mapValues(ReferenceTensor.init))
    let largest = 4 * Double(terms + 16).squareRoot() * Double(Float.ulpOfOne) / 2
    var moved: [String: Double] = [:]
    for sample in 0..<6 {
      var changed: [String: ReferenceTensor] = [:]
      for (index, (name, tensor)) in values.sorted(by: { $0.key < $1.key }).enumerated() {
        var value = ReferenceTensor(tensor)
        if tensor.elementType == .float32 {
          let stream = seed + UInt64(sample * values.count + index)
          let noise = TestData.doubles(value.shape, in: -largest...largest, seed: stream).values
          for i in noise.indices { value.values[i] *= 1 + noise[i] }
        }
        changed[name] = value
      }
      for (name, result) in try reference.runInDouble(changed) {
        let exact = expected[name]?.values ?? []
        let distance = zip(result.values, exact).reduce(0) { max($0, abs($1.0 - $1.1)) }
        moved[name] = max(moved[name] ?? 0, distance)
      }
    }
    return expected.reduce(into: [:]) { results, output in
      let magnitude = output.value.values.reduce(0) { max($0, abs($1)) }
      results[output.key] = (
        output.value, 2 * (moved[output.key] ?? 0) + ulps(0.5, magnitude: magnitude)
      )
    }
  }
}
