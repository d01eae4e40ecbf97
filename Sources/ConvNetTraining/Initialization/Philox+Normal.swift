package import ConvNetGraph
import Glibc

extension Philox {
  /// The sequence of a purpose: its stream is the 64-bit FNV-1a hash of the name, so that one purpose
  /// does not change with what others exist.
  package init(seed: UInt64, purpose: String) {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in purpose.utf8 {
      hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
    }
    self.init(seed: seed, stream: hash)
  }

  /// The first `count` standard normal deviates (Box & Muller 1958), two from each pair of uniform ones.
  ///
  /// √(−2 ln(1 − u))·(cos 2πv, sin 2πv) with u in [0, 1), so that the logarithm is finite.
  package func normals(_ count: Int) -> [Double] {
    [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
      for i in stride(from: 0, to: count, by: 2) {
        let (u, v) = (uniform(UInt64(i)), uniform(UInt64(i + 1)))
        let radius = (-2 * log1p(-u)).squareRoot()
        buffer[i] = radius * cos(2 * .pi * v)
        if i + 1 < count { buffer[i + 1] = radius * sin(2 * .pi * v) }
      }
      initialized = count
    }
  }

  /// The first `count` numbers, uniform in [−bound, bound).
  package func uniforms(_ count: Int, bound: Double) -> [Double] {
    (0..<count).map { (2 * uniform(UInt64($0)) - 1) * bound }
  }
}
