import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct MatrixMultiplyTests {
  @Test func multipliesInAllFourReadings() throws {
    // [1 2 3; 4 5 6]·[1 2; 3 4; 5 6] = [22 28; 49 64].
    let a = ReferenceTensor([1, 2, 3, 4, 5, 6], shape: [2, 3])
    let at = ReferenceTensor([1, 4, 2, 5, 3, 6], shape: [3, 2])
    let b = ReferenceTensor([1, 2, 3, 4, 5, 6], shape: [3, 2])
    let bt = ReferenceTensor([1, 3, 5, 2, 4, 6], shape: [2, 3])
    for left in [false, true] {
      for right in [false, true] {
        let operation = Operation.matrixMultiply(
          MatrixMultiply(transposesLeft: left, transposesRight: right))
        let c = try evaluateInReference(operation, left ? at : a, right ? bt : b)[0]
        #expect(c.shape == [2, 2])
        #expect(c.values == [22, 28, 49, 64], "transposes \(left) and \(right)")
      }
    }
  }

  @Test func addsTheBiasToEveryRow() throws {
    let c = try evaluateInReference(
      .matrixMultiply(MatrixMultiply()), ReferenceTensor([1, 2], shape: [2, 1]),
      ReferenceTensor([3, 4], shape: [1, 2]), ReferenceTensor([10, 20], shape: [2]))[0]
    #expect(c.values == [13, 24, 16, 28])
  }

  @Test func multipliesMatrixByMatrix() throws {
    // Two matrices of the left, one of the right, then the other way round.
    let a = ReferenceTensor([1, 2, 3, 4], shape: [2, 1, 2])
    let b = ReferenceTensor([10, 1], shape: [2, 1])
    let c = try evaluateInReference(.matrixMultiply(MatrixMultiply()), a, b)[0]
    #expect(c.shape == [2, 1, 1])
    #expect(c.values == [12, 34])
    let d = try evaluateInReference(
      .matrixMultiply(MatrixMultiply(transposesLeft: true, transposesRight: true)), b, a)[0]
    #expect(d.shape == [2, 1, 1])
    #expect(d.values == [12, 34])
  }

  static let batches: [(a: Shape, b: Shape)] = [
    ([2, 3, 4], [4, 2]), ([3, 4], [2, 4, 2]), ([2, 1, 3, 4], [3, 4, 2]),
    ([2, 2, 3, 4], [1, 4, 2]),
  ]

  @Test(arguments: batches, [(false, false), (true, false), (false, true), (true, true)])
  func hasAGradientInBatches(_ shapes: (a: Shape, b: Shape), _ transposes: (Bool, Bool)) throws {
    func stored(_ shape: Shape, _ isTransposed: Bool) -> Shape {
      let last = shape.dimensions.suffix(2)
      return Shape(shape.dimensions.dropLast(2) + (isTransposed ? last.reversed() : Array(last)))
    }
    try checkGradient(
      of: .matrixMultiply(
        MatrixMultiply(transposesLeft: transposes.0, transposesRight: transposes.1)),
      [
        TestData.doubles(stored(shapes.a, transposes.0), seed: 1),
        TestData.doubles(stored(shapes.b, transposes.1), seed: 2),
        TestData.doubles([2], seed: 3),
      ])
  }

  @Test(arguments: [false, true], [false, true])
  func hasAGradient(_ left: Bool, _ right: Bool) throws {
    let operation = Operation.matrixMultiply(
      MatrixMultiply(transposesLeft: left, transposesRight: right))
    try checkGradient(
      of: operation,
      [
        TestData.doubles(left ? [4, 3] : [3, 4], seed: 1),
        TestData.doubles(right ? [5, 4] : [4, 5], seed: 2), TestData.doubles([5], seed: 3),
      ])
  }
}
