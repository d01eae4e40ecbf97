import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct CompareTests {
  @Test(
    arguments: [
      (.equal, [0, 1, 0, 0]), (.less, [1, 0, 0, 0]), (.lessOrEqual, [1, 1, 0, 0]),
      (.greater, [0, 0, 1, 0]), (.greaterOrEqual, [0, 1, 1, 0]),
    ] as [(Comparison, [Double])])
  func comparesNumbers(_ comparison: Comparison, _ y: [Double]) throws {
    let a = ReferenceTensor([1, 2, 3, .nan], shape: [4])
    let result = try evaluateInReference(
      .compare(comparison), a, ReferenceTensor([2], shape: [1]))[0]
    #expect(result.values == y)
    #expect(result.elementType == .bool)
  }

  @Test(
    arguments: [(.and, [0, 0, 0, 1]), (.or, [0, 1, 1, 1]), (.exclusiveOr, [0, 1, 1, 0])]
      as [(Comparison, [Double])])
  func joinsTruthValues(_ comparison: Comparison, _ y: [Double]) throws {
    let a = ReferenceTensor([0, 1], shape: [2, 1], elementType: .bool)
    let b = ReferenceTensor([0, 1], shape: [2], elementType: .bool)
    #expect(try evaluateInReference(.compare(comparison), a, b)[0].values == y)
  }

  @Test func selects() throws {
    let condition = ReferenceTensor([1, 0], shape: [2, 1], elementType: .bool)
    let a = ReferenceTensor([1, 2, 3], shape: [3])
    let b = ReferenceTensor([-1], shape: [])
    let y = try evaluateInReference(.select, condition, a, b)[0]
    #expect(y.shape == [2, 3])
    #expect(y.values == [1, 2, 3, -1, -1, -1])
    try checkGradient(of: .select, [condition, a, b])
    let all = TestData.doubles([2, 3], seed: 1)
    try checkGradient(of: .select, [condition, all, TestData.doubles([2, 1], seed: 2)])
  }
}
