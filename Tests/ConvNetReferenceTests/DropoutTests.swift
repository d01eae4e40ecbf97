import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct DropoutTests {
  private func key(_ seed: Int64, _ step: Int64) -> ReferenceTensor {
    ReferenceTensor(Tensor([seed, step]))
  }

  @Test func dropsByTheWordsOfItsStream() throws {
    let dropout = Dropout(rate: 0.25, stream: 3)
    let x = TestData.doubles([5, 7], in: 1...2, seed: 1)
    let y = try evaluateInReference(.dropout(dropout), x, key(42, 6))[0]
    let words = Philox(seed: 42, stream: 6 * 65_536 + 3)
    for index in x.values.indices {
      let isKept = words.word(UInt64(index)) >= 1 << 30
      #expect(y.values[index] == (isKept ? x.values[index] * Double(Float(1 / 0.75)) : 0))
    }
  }

  @Test func dropsAboutAsManyAsAskedAndOthersEachStep() throws {
    let x = ReferenceTensor([Double](repeating: 1, count: 4000), shape: [4000])
    let first = try evaluateInReference(.dropout(Dropout(rate: 0.3, stream: 0)), x, key(1, 0))[0]
    let second = try evaluateInReference(.dropout(Dropout(rate: 0.3, stream: 0)), x, key(1, 1))[0]
    // Six standard deviations of a binomial distribution: 6·√(4000·0.3·0.7) = 174.
    #expect(abs(first.values.count { $0 == 0 } - 1200) < 174)
    #expect(first.values != second.values)
  }

  @Test func takesKeysOfSixtyFourBits() throws {
    let x = ReferenceTensor([Double](repeating: 1, count: 64), shape: [64])
    let dropout = Operation.dropout(Dropout(rate: 0.5, stream: 0))
    let a = try evaluateInReference(dropout, x, key(.max, 0))[0].values
    let b = try evaluateInReference(dropout, x, key(.max - 1, 0))[0].values
    #expect(a != b)
  }

  @Test func hasAGradient() throws {
    try checkGradient(
      of: .dropout(Dropout(rate: 0.4, stream: 1)), [TestData.doubles([3, 5], seed: 1), key(9, 2)])
  }
}
