import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct OptimizerTests {
    /// Gradients as they are, or cut off at ±2 and halved.
    static let clips: [(scale: Float, limit: Float)] = [(1, .infinity), (0.5, 2)]

    func clipped(_ g: Float, _ clip: (scale: Float, limit: Float)) -> Double {
      Double(clip.scale) * min(max(Double(g), -Double(clip.limit)), Double(clip.limit))
    }

    /// Powers of two throughout, so every step is exact.
    @Test(arguments: Variant.all, LoopTests.sizes)
    func sgd(variant: Variant, n: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(70)
      for (nesterov, clip) in [false, true].flatMap({ n in Self.clips.map { (n, $0) } }) {
        let (w, v, g) = (noise.integers(n), noise.integers(n), noise.integers(n))
        var (wantW, wantV) = ([Double](), [Double]())
        for i in 0..<n {
          let gradient = clipped(g[i], clip) + 0.25 * Double(w[i])
          let velocity = 0.5 * Double(v[i]) + gradient
          wantV.append(velocity)
          wantW.append(Double(w[i]) - 0.125 * (nesterov ? gradient + 0.5 * velocity : velocity))
        }
        let (weights, velocity) = (Buffer(w), Buffer(v))
        cnl_sgd(
          weights.pointer, velocity.pointer, Buffer(g).pointer, 0.125, 0.5, 0.25, clip.scale,
          clip.limit, nesterov ? 1 : 0, n)
        check(weights, wantW, "sgd weights \(n), nesterov \(nesterov), \(clip)")
        check(velocity, wantV, "sgd velocity \(n), nesterov \(nesterov), \(clip)")
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func adam(variant: Variant, n: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(71)
      let (rate, epsilon, c1, c2) = (Float(0.125), Float(0x1p-20), Float(0.1), Float(0.001))
      let decays = [(Float(0), Float(0)), (0.25, 0), (0, 0.5)]
      for (clip, (coupled, decoupled)) in Self.clips.flatMap({ c in decays.map { (c, $0) } }) {
        let (w, m, g) = (noise.integers(n), noise.integers(n), noise.integers(n))
        let v = noise.integers(n).map { abs($0) }
        var want = (0..<3).map { _ in [Double]() }
        for i in 0..<n {
          let gradient = clipped(g[i], clip) + Double(coupled) * Double(w[i])
          let first = 0.5 * Double(m[i]) + 0.5 * gradient
          let second = 0.75 * Double(v[i]) + 0.25 * gradient * gradient
          let direction =
            first / Double(c1) / ((second / Double(c2)).squareRoot() + Double(epsilon))
          want[0].append(
            Double(w[i]) - Double(rate) * (direction + Double(decoupled) * Double(w[i])))
          want[1].append(first)
          want[2].append(second)
        }
        let (weights, mean, square) = (Buffer(w), Buffer(m), Buffer(v))
        cnl_adam(
          weights.pointer, mean.pointer, square.pointer, Buffer(g).pointer, rate, 0.5, 0.75,
          epsilon, coupled, decoupled, c1, c2, clip.scale, clip.limit, n)
        check(mean, want[1], "adam mean \(n)")
        check(square, want[2], "adam square \(n)")
        // direction: 5 roundings of itself; then 3 of results no larger than |w| + |w − w′|.
        check(weights, want[0], "adam weights \(n)") { i, result in
          let (before, step) = (abs(Double(w[i])), abs(Double(w[i]) - result))
          return 0x1p-24 * (8 * (step + before))
        }
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func average(variant: Variant, n: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(72)
      let (y, x) = (noise.integers(n), noise.integers(n))
      let followed = Buffer(y)
      cnl_average(followed.pointer, Buffer(x).pointer, 0.25, n)
      check(followed, zip(y, x).map { Double($0) + 0.25 * Double($1 - $0) }, "average \(n)")
    }
  }
}
