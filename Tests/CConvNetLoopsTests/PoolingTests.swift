import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct PoolingTests {
    /// Values from −2 … 2 tie often; every seventh image holds a NaN too.
    @Test(arguments: Variant.all, WindowCases.channels)
    func maximum(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(40)
      for window in WindowCases.all {
        var w = window.with(channels: channels)
        for spoilt in [false, true] {
          var x = noise.integers(w.inputCount, limit: 2)
          if spoilt { x[Int(noise.next() % UInt64(w.inputCount))] = .nan }
          let dy = noise.integers(w.outputCount)
          var winner = [Int?](repeating: nil, count: w.outputCount)
          w.forEachTap { o, _, p in
            for c in 0..<channels {
              let i = o * channels + c
              guard let best = winner[i] else {
                winner[i] = p
                continue
              }
              let (a, b) = (x[best * channels + c], x[p * channels + c])
              if !a.isNaN && (b > a || b.isNaN) { winner[i] = p }
            }
          }
          var y = [Double](repeating: -.infinity, count: w.outputCount)
          var dx = [Double](repeating: 0, count: w.inputCount)
          for (i, p) in winner.enumerated() {
            guard let p else { continue }
            y[i] = Double(x[p * channels + i % channels])
            dx[p * channels + i % channels] += Double(dy[i])
          }
          let xs = Buffer(x)
          let output = Buffer(count: w.outputCount)
          let split = w.outputHeight / 2
          // The second part sees no row of x above its first window.
          let top = min(max(split * w.strideHeight - w.padTop, 0), w.height)
          let below = xs.pointer + top * w.width * channels
          cnl_max_pool(output.pointer, xs.pointer, 0, &w, 0, split)
          cnl_max_pool(output.pointer, below, top, &w, split, w.outputHeight)
          check(output, y, "max pool \(w.label)")
          let gradient = Buffer(count: w.inputCount)
          let dys = Buffer(dy)
          cnl_max_pool_gradient(gradient.pointer, dys.pointer, xs.pointer, 0, &w, 0, split)
          cnl_max_pool_gradient(
            gradient.pointer, dys.pointer, below, top, &w, split, w.outputHeight)
          check(gradient, dx, "max pool gradient \(w.label)")
        }
      }
    }

    @Test(arguments: Variant.all, WindowCases.channels)
    func average(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(41)
      for window in WindowCases.all {
        var w = window.with(channels: channels)
        let (x, dy) = (noise.integers(w.inputCount), noise.integers(w.outputCount))
        var inside = [Double](repeating: 0, count: w.outputHeight * w.outputWidth)
        w.forEachTap { o, _, _ in inside[o] += 1 }
        for isMean in [false, true] {
          // Any two numbers for each pixel, or the taps inside, where a window may have none.
          let rows = (0..<w.outputHeight).map { row in
            isMean ? Float(max(w.rowsInside(row), 1)) : Float(row % 3 + 1)
          }
          let columns = (0..<w.outputWidth).map { column in
            isMean ? Float(max(w.columnsInside(column), 1)) : Float(column % 2 + 1)
          }
          let count = inside.indices.map {
            Double(rows[$0 / w.outputWidth] * columns[$0 % w.outputWidth])
          }
          if isMean { #expect(zip(inside, count).allSatisfy { $0 == 0 || $0 == $1 }) }
          var y = [Double](repeating: 0, count: w.outputCount)
          var dx = [Double](repeating: 0, count: w.inputCount)
          w.forEachTap { o, _, p in
            for c in 0..<channels {
              y[o * channels + c] += Double(x[p * channels + c])
              dx[p * channels + c] += Double(dy[o * channels + c]) / count[o]
            }
          }
          for i in y.indices { y[i] /= count[i / channels] }
          let output = Buffer(count: w.outputCount)
          let split = w.outputHeight / 2
          cnl_average_pool(output.pointer, Buffer(x).pointer, &w, rows, columns, 0, split)
          cnl_average_pool(
            output.pointer, Buffer(x).pointer, &w, rows, columns, split, w.outputHeight)
          // The sum is exact, the quotient rounds once.
          check(output, y, "average pool \(w.label)", bound: ulps(0.51))
          let gradient = Buffer(count: w.inputCount)
          cnl_average_pool_gradient(gradient.pointer, Buffer(dy).pointer, &w, rows, columns)
          // A rounding for each quotient and each addition of at most `taps` terms of at most 4.
          let bound = Double(2 * w.taps) * 4 * Double(w.taps) * 0x1p-24
          check(gradient, dx, "average pool gradient \(w.label)") { _, _ in bound }
        }
      }
    }
  }
}
