import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct ThinTests {
    /// Forward and the filter's gradient from one walk over the taps; whole numbers, so exactly.
    @Test(arguments: Variant.all, [1, 2, 3, 4])
    func forwardAndFilterGradient(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(40)
      for window in WindowCases.all where window.dilationWidth == 1 {
        var w = window.with(channels: channels)
        let pixels = w.outputHeight * w.outputWidth
        for filters in [1, 15, 16, 17, 32, 40, 64] {
          let (x, dy) = (noise.integers(w.inputCount), noise.integers(pixels * filters))
          let (k, bias) = (noise.integers(w.taps * channels * filters), noise.integers(filters))
          var y = (0..<(pixels * filters)).map { Double(bias[$0 % filters]) }
          var dw = [Double](repeating: 1, count: k.count)
          w.forEachTap { o, tap, p in
            for c in 0..<channels {
              for f in 0..<filters {
                let t = (tap * channels + c) * filters + f
                y[o * filters + f] += Double(x[p * channels + c] * k[t])
                dw[t] += Double(dy[o * filters + f] * x[p * channels + c])
              }
            }
          }
          let (xs, dys, ks) = (Buffer(x), Buffer(dy), Buffer(k))
          let output = Buffer(count: y.count)
          let filter = Buffer([Double](repeating: 1, count: k.count), canary: 99)
          let scratch = Buffer(count: cnl_thin_scratch(&w))
          let split = w.outputHeight / 3
          for (first, last) in [(0, split), (split, w.outputHeight)] {
            cnl_thin_convolution(
              output.pointer, xs.pointer, ks.pointer, Buffer(bias).pointer, -20, 20, &w, filters,
              scratch.pointer, first, last)
            cnl_thin_filter_gradient(
              filter.pointer, dys.pointer, xs.pointer, &w, filters, scratch.pointer, first, last)
          }
          check(output, y.map { min(max($0, -20), 20) }, "thin \(w.label) \(filters) filters")
          #expect(filter.isIntact && filter.values == dw, "thin dw \(w.label) \(filters) filters")
        }
      }
    }
  }
}
