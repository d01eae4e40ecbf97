import ConvNetGraph
import Testing

@Suite struct ShapeTests {
  @Test func countsAndStrides() {
    let shape: Shape = [2, 3, 4]
    #expect(shape.count == 24)
    #expect(shape.strides == [12, 4, 1])
    #expect(shape.rank == 3)
    #expect(([] as Shape).count == 1)
    #expect(([5, 0, 2] as Shape).count == 0)
    #expect("\(shape)" == "[2, 3, 4]")
  }

  @Test(arguments: [
    [-1], [3, -2], [1 << 40, 1 << 40], [.max, .max], [0, .max, .max], [1 << 57], [.min],
    [Int](repeating: 1, count: 65),
  ])
  func refusesHostileExtents(_ dimensions: [Int]) {
    let error = #expect(throws: GraphError.self) { try Shape(checking: dimensions) }
    #expect(error?.code == .invalidShape)
  }

  @Test func stopsAtAWrongLiteral() async {
    await #expect(processExitsWith: .failure) { _ = Shape([2, -1]) }
  }

  @Test func dimensionsSpellOutTheirArithmetic() throws {
    let type = TensorType(["N", 3, 4])
    #expect("\(type)" == "float32 [N, 3, 4]")
    #expect(type.shape == nil)
    #expect(TensorType([2, 3]).shape == [2, 3])
    let flat = try Operation.reshape(Reshape([.rest, .fixed(2)])).outputTypes([type])[0]
    #expect(flat == TensorType(["N·6", 2]))
    let joined = try Operation.concatenate(Concatenate(axis: 0)).outputTypes([type, type])[0]
    #expect(joined == TensorType(["N+N", 3, 4]))
  }
}
