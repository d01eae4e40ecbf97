import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct RandomTests {
    /// Philox4x32-10 as the paper writes it.
    private static func philox(_ counter: [UInt32], key: [UInt32]) -> [UInt32] {
      var x = counter
      var k = key
      for _ in 0..<10 {
        let a = UInt64(x[0]) * 0xD251_1F53
        let b = UInt64(x[2]) * 0xCD9E_8D57
        x = [
          UInt32(b >> 32) ^ x[1] ^ k[0], UInt32(truncatingIfNeeded: b),
          UInt32(a >> 32) ^ x[3] ^ k[1], UInt32(truncatingIfNeeded: a),
        ]
        k = [k[0] &+ 0x9E37_79B9, k[1] &+ 0xBB67_AE85]
      }
      return x
    }

    private static func word(_ element: UInt64, seed: UInt64, stream: UInt64) -> UInt32 {
      func halves(_ v: UInt64) -> [UInt32] { [UInt32(truncatingIfNeeded: v), UInt32(v >> 32)] }
      return philox(halves(element / 4) + halves(stream), key: halves(seed))[Int(element % 4)]
    }

    /// Known answers published with Random123 (kat_vectors).
    @Test func theReferenceAnswersAsPublished() {
      let ones = UInt32.max
      #expect(
        Self.philox([0, 0, 0, 0], key: [0, 0])
          == [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8])
      #expect(
        Self.philox([ones, ones, ones, ones], key: [ones, ones])
          == [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD])
      #expect(
        Self.philox(
          [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], key: [0xA409_3822, 0x299F_31D0])
          == [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1])
    }

    /// From any first element, across the carry of the counter and at its end.
    @Test(arguments: Variant.all)
    func words(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      let starts: [UInt64] = [0, 1, 2, 3, 4, 1001, (1 << 34) - 20, UInt64.max - 200]
      for first in starts {
        for n in LoopTests.sizes {
          let (seed, stream): (UInt64, UInt64) = (0x299F_31D0_A409_3822, 0x0370_7344_1319_8A2E)
          let buffer = Buffer([UInt32](repeating: 1, count: n), canary: 77)
          cnl_philox(buffer.pointer, seed, stream, first, n)
          let want = (0..<n).map { Self.word(first + UInt64($0), seed: seed, stream: stream) }
          #expect(buffer.isIntact && buffer.values == want, "\(n) from \(first)")
        }
      }
    }

    @Test(arguments: Variant.all)
    func dropout(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(60)
      for first: UInt64 in [0, 2, 64, 77] {
        for n in LoopTests.sizes {
          let x = noise.integers(n)
          let want = (0..<n).map { i in
            let kept = Self.word(first + UInt64(i), seed: 5, stream: 9) >= 1 << 30
            return kept ? Double(x[i]) * 1.5 : 0
          }
          let y = Buffer(x)
          cnl_dropout(y.pointer, y.pointer, 5, 9, first, 1 << 30, 1.5, n)
          check(y, want, "dropout of \(n) from \(first)")
        }
      }
    }
  }
}
