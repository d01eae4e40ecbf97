import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct ImageResampleTests {
    /// Taps and weights of `outputs`, some negative and some beyond what a byte holds.
    struct Taps {
      var spans: [Int] = []
      var weights: [Int32] = []
      let maximum = 6

      init(inputs: Int, outputs: Int, _ noise: inout Noise) {
        for _ in 0..<outputs {
          let count = 1 + Int(noise.next() % UInt64(min(inputs, maximum)))
          spans += [Int(noise.next() % UInt64(inputs - count + 1)), count]
          for i in 0..<maximum {
            weights.append(i < count ? Int32(Int(noise.next() % (3 << 19)) - 1 << 19) : 0)
          }
        }
      }

      /// Output o of levels that are `step` apart, exactly.
      func level(_ o: Int, _ x: [UInt8], from: Int, step: Int) -> UInt8 {
        var sum = 1 << 21
        for i in 0..<spans[2 * o + 1] {
          sum += Int(weights[o * maximum + i]) * Int(x[from + (spans[2 * o] + i) * step])
        }
        return UInt8(min(max(sum >> 22, 0), 255))
      }
    }

    static func bytes(_ count: Int, _ noise: inout Noise) -> [UInt8] {
      (0..<count).map { _ in UInt8(truncatingIfNeeded: noise.next() >> 13) }
    }

    @Test(arguments: Variant.all, [1, 3])
    func columns(variant: Variant, channels: Int) {
      for (rows, inputs, outputs) in [
        (1, 1, 1), (4, 5, 9), (5, 17, 3), (7, 9, 33), (9, 40, 21), (0, 3, 3),
      ] {
        variant.select()
        defer { Variant.deselect() }
        var noise = Noise(UInt64(70 + rows))
        let taps = Taps(inputs: inputs, outputs: outputs, &noise)
        let (xRow, yRow) = (inputs * channels, outputs * channels)
        let x = Self.bytes(rows * xRow, &noise)
        let source = Buffer(x, canary: 201)
        let output = Buffer([UInt8](repeating: 7, count: rows * yRow), canary: 99)
        cnl_resample_columns(
          output.pointer, yRow, source.pointer, xRow, inputs, taps.spans, taps.weights,
          taps.maximum, rows, outputs, channels)
        let expected = (0..<(rows * yRow)).map { i in
          let (row, o, c) = (i / yRow, i % yRow / channels, i % channels)
          return taps.level(o, x, from: row * xRow + c, step: channels)
        }
        #expect(output.isIntact && output.values == expected, "\(rows) × \(inputs) to \(outputs)")
      }
    }

    @Test(arguments: Variant.all, sizes)
    func rows(variant: Variant, count: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(80)
      let taps = Taps(inputs: 7, outputs: 5, &noise)
      let x = Self.bytes(7 * count, &noise)
      let source = Buffer(x, canary: 201)
      for o in 0..<5 {
        let output = Buffer([UInt8](repeating: 7, count: count), canary: 99)
        cnl_resample_rows(
          output.pointer, source.pointer + taps.spans[2 * o] * count, count,
          Array(taps.weights[(o * taps.maximum)...]), taps.spans[2 * o + 1], count)
        let expected = (0..<count).map { taps.level(o, x, from: $0, step: count) }
        #expect(output.isIntact && output.values == expected, "row \(o) of \(count)")
      }
    }
  }
}
