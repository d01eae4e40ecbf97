import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct PadTests {
  static let modes: [Pad.Mode] = [.constant(9), .reflect, .edge, .wrap]

  @Test(
    arguments: zip(
      modes, [[9, 9, 1, 2, 3, 9], [3, 2, 1, 2, 3, 2], [1, 1, 1, 2, 3, 3], [2, 3, 1, 2, 3, 1]]))
  func padsALine(_ mode: Pad.Mode, _ y: [Double]) throws {
    let x = ReferenceTensor([1, 2, 3], shape: [3])
    let pad = Pad(before: [2], after: [1], mode: mode)
    #expect(try evaluateInReference(.pad(pad), x)[0].values == y)
  }

  @Test func padsEveryAxis() throws {
    let x = ReferenceTensor([1, 2, 3, 4], shape: [2, 2])
    let zeros = try evaluateInReference(.pad(Pad(before: [1, 0], after: [0, 1])), x)[0]
    #expect(zeros.values == [0, 0, 0, 1, 2, 0, 3, 4, 0])
    let mirrored = Pad(before: [0, 1], after: [1, 0], mode: .reflect)
    #expect(
      try evaluateInReference(.pad(mirrored), x)[0].values == [2, 1, 2, 4, 3, 4, 2, 1, 2])
    let bytes = ReferenceTensor([7], shape: [1], elementType: .uint8)
    let cut = Pad(before: [1], after: [0], mode: .constant(300.5))
    #expect(try evaluateInReference(.pad(cut), bytes)[0].values == [255, 7])
  }

  @Test(arguments: modes) func hasGradients(_ mode: Pad.Mode) throws {
    let pad = Pad(before: [1, 0, 2], after: [0, 1, 1], mode: mode)
    let x = TestData.doubles([3, 2, 3], seed: 1)
    try checkGradient(of: .pad(pad), [x])
    try checkGradient(of: .padGradient(pad), [TestData.doubles([4, 3, 6], seed: 2), x])
  }
}
