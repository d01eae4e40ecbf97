/// The counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011): random words as a pure function of (seed, stream, position).
///
/// Nothing is consumed, so data order, augmentation, dropout and initial values repeat from a seed
/// whatever the number of lanes and wherever a run was resumed.
public struct Philox: Sendable, Hashable {
  /// The key.
  public var seed: UInt64
  /// Which of the key's sequences.
  public var stream: UInt64

  /// Names a sequence.
  public init(seed: UInt64, stream: UInt64) {
    self.seed = seed
    self.stream = stream
  }

  /// The four words of one block: counter (block, stream), key seed.
  public func block(_ index: UInt64) -> SIMD4<UInt32> {
    var (x0, x1) = (UInt32(truncatingIfNeeded: index), UInt32(truncatingIfNeeded: index >> 32))
    var (x2, x3) = (UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: stream >> 32))
    var (k0, k1) = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    for _ in 0..<10 {
      let p0 = x0.multipliedFullWidth(by: 0xD251_1F53)
      let p1 = x2.multipliedFullWidth(by: 0xCD9E_8D57)
      (x0, x1, x2, x3) = (p1.high ^ x1 ^ k0, p1.low, p0.high ^ x3 ^ k1, p0.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return SIMD4(x0, x1, x2, x3)
  }

  /// The word at a position: word i mod 4 of block i / 4.
  public func word(_ position: UInt64) -> UInt32 {
    block(position / 4)[Int(position % 4)]
  }

  /// A number in [0, 1) with 53 random bits, from words 2i and 2i + 1.
  public func uniform(_ position: UInt64) -> Double {
    let words = block(position / 2)
    let (a, b) = position % 2 == 0 ? (words[0], words[1]) : (words[2], words[3])
    return Double(UInt64(a >> 5) << 26 | UInt64(b >> 6)) * 0x1p-53
  }

  /// An order of 0..<count, every one as likely as another (Fisher and Yates; the bias of the modulus
  /// is below count · 2⁻⁶⁴).
  public func permutation(_ count: Int) -> [Int] {
    var order = Array(0..<count)
    for last in stride(from: count - 1, to: 0, by: -1) {
      let words = block(UInt64(last))
      let random = UInt64(words[0]) << 32 | UInt64(words[1])
      order.swapAt(last, Int(random % UInt64(last + 1)))
    }
    return order
  }
}
