import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct ConvolutionTests {
    @Test(arguments: Variant.all, WindowCases.channels)
    func im2row(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(20)
      for window in WindowCases.all {
        var w = window.with(channels: channels)
        let x = noise.integers(w.inputCount, limit: 1000)
        let pixels = w.outputHeight * w.outputWidth
        for (firstChannel, width) in [(0, channels), (channels / 3, channels - channels / 2)] {
          for (first, count) in [(0, pixels), (pixels / 3, pixels / 2)] {
            var want = [Double](repeating: 0, count: count * w.taps * width)
            w.forEachTap { o, tap, p in
              guard first..<first + count ~= o else { return }
              for c in 0..<width {
                let value = x[p * channels + firstChannel + c]
                want[((o - first) * w.taps + tap) * width + c] = Double(value)
              }
            }
            let dst = Buffer(count: want.count)
            cnl_im2row(dst.pointer, Buffer(x).pointer, &w, firstChannel, width, first, count)
            check(dst, want, "im2row \(w.label), \(count) from \(first)")
          }
        }
      }
    }

    @Test(arguments: Variant.all)
    func pixelRows(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      for window in WindowCases.all {
        var w = window.with(channels: 3)
        let x = Buffer(count: w.inputCount)
        let zeros = Buffer(count: 3)
        let pixels = w.outputHeight * w.outputWidth
        for tap in 0..<w.taps {
          for (first, count) in [(0, pixels), (pixels / 5, pixels - pixels / 3 - pixels / 5)] {
            var rows = [UnsafePointer<Float>?](repeating: nil, count: count + 1)
            cnl_pixel_rows(&rows, x.pointer, zeros.pointer, &w, tap, first, count)
            let want: [UnsafePointer<Float>?] = (first..<(first + count)).map {
              let pixel = w.pixel($0 / w.outputWidth, $0 % w.outputWidth, tap)
              return UnsafePointer(pixel.map { x.pointer + $0 * 3 } ?? zeros.pointer)
            }
            #expect(rows == want + [nil], "\(w.label), tap \(tap), \(count) from \(first)")
          }
        }
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func transpose(variant: Variant, rows: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(22)
      for columns in LoopTests.sizes {
        let (srcRow, dstRow) = (columns + 3, rows + 1)
        let src = noise.integers(rows * srcRow, limit: 100_000)
        var want = [Double](repeating: 7_654_321, count: columns * dstRow)
        for r in 0..<rows {
          for c in 0..<columns { want[c * dstRow + r] = Double(src[r * srcRow + c]) }
        }
        let dst = Buffer(count: columns * dstRow)
        cnl_transpose(dst.pointer, dstRow, Buffer(src).pointer, srcRow, rows, columns)
        check(dst, want, "transpose \(rows)×\(columns)")
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func panels(variant: Variant, n: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(23)
      for k in [0, 1, 9, 16, 35] {
        let w = noise.integers(k * (n + 2), limit: 100_000)
        var transposed = [Float](repeating: 0, count: n * (k + 1))
        var want: [Double] = []
        for start in stride(from: 0, to: n, by: 64) {
          for i in 0..<k {
            for c in start..<min(start + 64, n) { want.append(Double(w[i * (n + 2) + c])) }
          }
        }
        for i in 0..<k {
          for c in 0..<n { transposed[c * (k + 1) + i] = w[i * (n + 2) + c] }
        }
        let dst = Buffer(count: k * n)
        cnl_pack_panels(dst.pointer, Buffer(w).pointer, n + 2, k, n)
        check(dst, want, "panels \(k)×\(n)")
        cnl_fill(dst.pointer, 0, k * n)
        cnl_pack_panels_transposed(dst.pointer, Buffer(transposed).pointer, k + 1, k, n)
        check(dst, want, "panels of the transpose \(k)×\(n)")
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func epilogues(variant: Variant, columns: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(24)
      for (rows, spread) in [(0, 0), (1, 0), (6, 0), (7, 5)] {
        let row = columns + spread
        let (y, r) = (noise.integers(rows * row), noise.integers(rows * (row + 1)))
        let bias = noise.integers(columns)
        var want = y.map(Double.init)
        var wantAdded = want
        for i in 0..<rows {
          for c in 0..<columns {
            want[i * row + c] = Double(min(max(y[i * row + c] + bias[c], 0), 6))
            let sum = y[i * row + c] + bias[c] + r[i * (row + 1) + c]
            wantAdded[i * row + c] = Double(max(sum, -3))
          }
        }
        let plain = Buffer(y)
        cnl_bias_clamp(plain.pointer, row, Buffer(bias).pointer, 0, 6, rows, columns)
        check(plain, want, "bias \(rows)×\(columns)")
        let added = Buffer(y)
        cnl_bias_add_clamp(
          added.pointer, row, Buffer(bias).pointer, Buffer(r).pointer, row + 1, -3, .infinity, rows,
          columns)
        check(added, wantAdded, "bias and residual \(rows)×\(columns)")
      }
    }
  }
}
