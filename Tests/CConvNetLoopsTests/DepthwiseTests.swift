import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct DepthwiseTests {
    /// Forward and both gradients from one walk over the taps; whole numbers, so exactly.
    @Test(arguments: Variant.all, WindowCases.channels)
    func forwardAndGradients(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(30)
      for window in WindowCases.all {
        var w = window.with(channels: channels)
        let (x, dy) = (noise.integers(w.inputCount), noise.integers(w.outputCount))
        let (k, bias) = (noise.integers(w.taps * channels), noise.integers(channels))
        var y = (0..<w.outputCount).map { Double(bias[$0 % channels]) }
        var dx = [Double](repeating: 0, count: w.inputCount)
        var dw = [Double](repeating: 1, count: w.taps * channels)
        w.forEachTap { o, tap, p in
          for c in 0..<channels {
            let (i, j, t) = (o * channels + c, p * channels + c, tap * channels + c)
            y[i] += Double(x[j] * k[t])
            dx[j] += Double(dy[i] * k[t])
            dw[t] += Double(dy[i] * x[j])
          }
        }
        let (xs, dys, ks) = (Buffer(x), Buffer(dy), Buffer(k))
        // In two parts, as two lanes would.
        let (split, inputSplit) = (w.outputHeight / 3, w.height / 3)
        let output = Buffer(count: w.outputCount)
        let gradient = Buffer(count: w.inputCount)
        let filter = Buffer([Double](repeating: 1, count: w.taps * channels), canary: 99)
        for (first, last) in [(0, split), (split, w.outputHeight)] {
          for (low, high) in [(0, channels / 2), (channels / 2, channels)] {
            cnl_depthwise(
              output.pointer, xs.pointer, ks.pointer, Buffer(bias).pointer, -20, 20, &w, first,
              last, low, high)
          }
          cnl_depthwise_filter_gradient(filter.pointer, dys.pointer, xs.pointer, &w, first, last)
        }
        for (first, last) in [(0, inputSplit), (inputSplit, w.height)] {
          cnl_depthwise_input_gradient(
            gradient.pointer, dys.pointer, ks.pointer, &w, first, last)
        }
        check(output, y.map { min(max($0, -20), 20) }, "depthwise \(w.label)")
        check(gradient, dx, "depthwise dx \(w.label)")
        #expect(filter.isIntact && filter.values == dw, "depthwise dw \(w.label)")
      }
    }

    @Test(arguments: Variant.all)
    func nanReachesExactlyItsWindow(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var w = WindowCases.all[1].with(channels: 17)
      var x = [Float](repeating: 1, count: w.inputCount)
      x[(3 * w.width + 4) * 17 + 16] = .nan
      let y = Buffer(count: w.outputCount)
      let k = Buffer([Float](repeating: 1, count: 9 * 17))
      let bias = Buffer([Float](repeating: 0, count: 17))
      cnl_depthwise(
        y.pointer, Buffer(x).pointer, k.pointer, bias.pointer, 0, 6, &w, 0, w.outputHeight, 0, 17)
      let touched = y.values.indices.filter { y.pointer[$0].isNaN }
      #expect(touched.count == 9 && touched.allSatisfy { $0 % 17 == 16 })
    }
  }
}
