import CConvNetLoops
import Testing

extension LoopTests {
  /// Gradients behind an activation whose input is recomputed have the bits of those whose input is read.
  @Suite struct GateTests {
    struct Activation: Sendable {
      var function: cnl_unary
      var low: Float
      var high: Float
      /// The upper corner of f′; ReLU has none.
      var corner: Float
    }

    static let activations = [
      Activation(function: CNL_RELU, low: 0, high: .infinity, corner: .nan),
      Activation(function: CNL_RELU6, low: 0, high: 6, corner: 6),
      Activation(function: CNL_CLIP, low: -0.5, high: 0.75, corner: 0.75),
    ]

    /// Random numbers, and x that lands on both corners, on none because it is NaN, and infinitely far off.
    private func data(_ rows: Int, _ channels: Int, _ noise: inout Noise) -> [Float] {
      var x = noise.floats(rows * channels, scale: 8)
      for (i, value) in [Float.nan, .infinity, -.infinity].enumerated() where x.count > 40 {
        x[7 + 11 * i] = value
      }
      return x
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func recomputes(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(21)
      for rows in [0, 1, 5, 33, 70] {
        for activation in Self.activations {
          let n = rows * channels
          var values = data(rows, channels, &noise)
          var (m, a, b) = (
            noise.floats(channels), noise.floats(channels, scale: 2), noise.floats(channels)
          )
          // Channels of one value, whose a is 0 and whose n = b lies on a corner.
          a[0] = 0
          b[0] = activation.low
          if channels > 1 { (a[1], b[1]) = (0, activation.high.isFinite ? activation.high : 1) }
          m[channels - 1] = 0.25
          if rows > 0 { values[(rows - 1) * channels + channels - 1] = 0.25 }
          check(
            activation, rows, channels, values, noise.floats(n), m, a, b, noise.floats(channels))
        }
      }
    }

    private func check(
      _ f: Activation, _ rows: Int, _ channels: Int, _ values: [Float], _ gradients: [Float],
      _ mean: [Float], _ scale: [Float], _ shift: [Float], _ offset: [Float]
    ) {
      let n = rows * channels
      let label = "\(rows)×\(channels), function \(f.function.rawValue)"
      let (x, dz) = (Buffer(values, aligned: true), Buffer(gradients, aligned: true))
      let (m, a, b, k) = (Buffer(mean), Buffer(scale), Buffer(shift), Buffer(offset))
      let (z, g) = (Buffer(count: n), Buffer(count: n))
      cnl_normalize(
        z.pointer, x.pointer, m.pointer, a.pointer, b.pointer, f.low, f.high, rows, channels, 0)
      cnl_map_derivative(
        Int32(f.function.rawValue), f.low, f.high, g.pointer, dz.pointer, z.pointer, n)
      let sums = (0..<4).map { _ in Buffer(count: channels) }
      cnl_gradient_sums_block(
        sums[0].pointer, sums[1].pointer, g.pointer, x.pointer, channels, m.pointer, rows, channels)
      cnl_gated_gradient_sums_block(
        sums[2].pointer, sums[3].pointer, dz.pointer, x.pointer, channels, m.pointer, a.pointer,
        b.pointer, f.low, f.corner, rows, channels)
      expectSame(sums[2], sums[0], "sums \(label)")
      expectSame(sums[3], sums[1], "products \(label)")
      for stream in [Int32(0), 1] {
        let dx = (0..<2).map { _ in Buffer(count: n, aligned: true) }
        cnl_normalize_gradient(
          dx[0].pointer, g.pointer, x.pointer, m.pointer, b.pointer, a.pointer, k.pointer, rows,
          channels, stream)
        cnl_gated_normalize_gradient(
          dx[1].pointer, dz.pointer, x.pointer, m.pointer, b.pointer, a.pointer, k.pointer,
          a.pointer, b.pointer, f.low, f.corner, rows, channels, stream)
        expectSame(dx[1], dx[0], "dx \(label)")
      }
    }

    /// The same bits, but for those of a NaN.
    private func expectSame(
      _ got: Buffer<Float>, _ want: Buffer<Float>, _ label: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) {
      let same = zip(got.values, want.values).allSatisfy {
        $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN)
      }
      #expect(same && got.isIntact, "\(label)", sourceLocation: sourceLocation)
    }
  }
}
