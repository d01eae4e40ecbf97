import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct GatherTests {
  private let x = ReferenceTensor([1, 2, 3, 4, 5, 6], shape: [2, 3])

  private func indices(_ values: [Double], _ shape: Shape) -> ReferenceTensor {
    ReferenceTensor(values, shape: shape, elementType: .int64)
  }

  @Test func gathersAlongAnyAxis() throws {
    let rows = try evaluateInReference(.gather(Gather(axis: 0)), x, indices([1, 1, -2], [3]))[0]
    #expect(rows.values == [4, 5, 6, 4, 5, 6, 1, 2, 3])
    let columns = try evaluateInReference(
      .gather(Gather(axis: -1)), x, indices([2, 0], [1, 2]))[0]
    #expect(columns.shape == [2, 1, 2])
    #expect(columns.values == [3, 1, 6, 4])
    let element = try evaluateInReference(.gather(Gather(axis: 1)), x, indices([1], []))[0]
    #expect(element.shape == [2])
    #expect(element.values == [2, 5])
  }

  @Test func marksWhatIsOutside() throws {
    let outside = indices([3, -4, 0], [3])
    let y = try evaluateInReference(.gather(Gather(axis: 1)), x, outside)[0].values
    #expect(y[0].isNaN && y[1].isNaN && y[2] == 1)
    let integers = indices([1, 2, 3], [3])
    #expect(
      try evaluateInReference(.gather(Gather(axis: 0)), integers, outside)[0].values == [0, 0, 1])
  }

  @Test func addsTheGradientsOfCopies() throws {
    let dy = ReferenceTensor([1, 2, 4, 8, 16, 32], shape: [3, 2])
    let like = ReferenceTensor([0, 0, 0, 0], shape: [2, 2])
    let dx = try evaluateInReference(
      .gatherGradient(Gather(axis: 0)), dy, indices([1, -1, 5], [3]), like)[0]
    #expect(dx.values == [0, 0, 5, 10])
  }

  @Test func hasGradients() throws {
    let x = TestData.doubles([2, 3, 2], seed: 1)
    let some = indices([2, 0, 2, -1], [2, 2])
    try checkGradient(of: .gather(Gather(axis: 1)), [x, some])
    let dy = TestData.doubles([2, 2, 2, 2], seed: 2)
    try checkGradient(of: .gatherGradient(Gather(axis: 1)), [dy, some, x])
  }
}
