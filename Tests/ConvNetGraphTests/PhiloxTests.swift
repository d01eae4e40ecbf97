import ConvNetGraph
import Testing

@Suite struct PhiloxTests {
  /// Known answers of the authors' Random123, `kat_vectors`, philox4x32-10.
  @Test func givesKnownAnswers() {
    #expect(
      Philox(seed: 0, stream: 0).block(0)
        == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    #expect(
      Philox(seed: .max, stream: .max).block(.max)
        == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    // Counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0 (the digits of π).
    #expect(
      Philox(seed: 0x299f_31d0_a409_3822, stream: 0x0370_7344_1319_8a2e)
        .block(0x85a3_08d3_243f_6a88)
        == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func takesWordsOfBlocks() {
    let random = Philox(seed: 5, stream: 6)
    for position in 0..<9 as Range<UInt64> {
      #expect(random.word(position) == random.block(position / 4)[Int(position % 4)])
    }
  }

  @Test func isUniform() {
    let random = Philox(seed: 1, stream: 2)
    let values = (0..<4096).map { random.uniform(UInt64($0)) }
    #expect(values.allSatisfy { (0..<1).contains($0) })
    // Six standard deviations of the mean of 4096 numbers: 6/√(12·4096) = 0.027.
    #expect(abs(values.reduce(0, +) / 4096 - 0.5) < 0.028)
    #expect(Set(values).count == 4096)
  }

  @Test(arguments: [0, 1, 2, 100]) func permutes(_ count: Int) {
    let order = Philox(seed: 3, stream: 4).permutation(count)
    #expect(order.sorted() == Array(0..<count))
    #expect(count < 100 || order != Array(0..<count))
  }
}
