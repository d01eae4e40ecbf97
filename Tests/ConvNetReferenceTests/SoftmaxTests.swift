import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Glibc
import Testing

@Suite struct SoftmaxTests {
  @Test func normalisesExponentials() throws {
    // e^{log 1}, e^{log 3}, and the same 1000 further up, where exponentials would overflow.
    let x = ReferenceTensor([0, log(3), 1000, 1000 + log(3)], shape: [2, 2])
    let y = try evaluateInReference(.softmax, x)[0].values
    expectClose(y, [0.25, 0.75, 0.25, 0.75], tolerance: 1e-13)
  }

  @Test func takesTheLogarithmOfTheRightClass() throws {
    let x = ReferenceTensor([0, log(3), 0, log(3)], shape: [2, 2])
    let labels = ReferenceTensor([1, 0], shape: [2], elementType: .int64)
    func loss(_ smoothing: Double) throws -> [Double] {
      let operation = Operation.softmaxCrossEntropy(SoftmaxCrossEntropy(labelSmoothing: smoothing))
      return try evaluateInReference(operation, x, labels)[0].values
    }
    expectClose(try loss(0), [log(4.0 / 3), log(4)], tolerance: 1e-15)
    // q = 0.9, 0.1 for s = 0.2 and two classes.
    let mixed = 0.9 * log(4.0 / 3) + 0.1 * log(4)
    expectClose(try loss(0.2), [mixed, 0.1 * log(4.0 / 3) + 0.9 * log(4)], tolerance: 1e-15)
    let dx = try evaluateInReference(
      .softmaxCrossEntropyGradient(SoftmaxCrossEntropy()),
      ReferenceTensor([1, 10], shape: [2]), x, labels)[0].values
    expectClose(dx, [0.25, -0.25, -7.5, 7.5], tolerance: 1e-14)
  }

  @Test(arguments: [-1.0, 2.0]) func hasNoLossForALabelThatIsNoClass(_ label: Double) throws {
    let x = ReferenceTensor([0, 1], shape: [1, 2])
    let labels = ReferenceTensor([label], shape: [1], elementType: .int64)
    let loss = try evaluateInReference(
      .softmaxCrossEntropy(SoftmaxCrossEntropy()), x, labels)[0].values
    #expect(loss[0].isNaN)
  }

  @Test func toleratesAClassThatCannotBe() throws {
    let x = ReferenceTensor([0, -.infinity], shape: [1, 2])
    let labels = ReferenceTensor([0], shape: [1], elementType: .int64)
    #expect(
      try evaluateInReference(.softmaxCrossEntropy(SoftmaxCrossEntropy()), x, labels)[0].values
        == [0])
  }

  @Test(arguments: [0, 0.1]) func hasAGradient(_ smoothing: Double) throws {
    let x = TestData.doubles([3, 4], in: -2...2, seed: 1)
    let labels = ReferenceTensor(TestData.labels([3], in: 0...3, seed: 2))
    try checkGradient(of: .softmax, [x])
    let attributes = SoftmaxCrossEntropy(labelSmoothing: smoothing)
    try checkGradient(of: .softmaxCrossEntropy(attributes), [x, labels])
    let dLoss = TestData.doubles([3], seed: 3)
    try checkGradient(of: .softmaxCrossEntropyGradient(attributes), [dLoss, x, labels])
  }
}
