import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ShapingTests {
  private let x = ReferenceTensor([1, 2, 3, 4, 5, 6], shape: [2, 3])

  @Test func concatenatesAlongAnyAxis() throws {
    let other = ReferenceTensor([7, 8], shape: [2, 1])
    let columns = try evaluateInReference(.concatenate(Concatenate(axis: -1)), x, other, x)[0]
    #expect(columns.shape == [2, 7])
    #expect(columns.values == [1, 2, 3, 7, 1, 2, 3, 4, 5, 6, 8, 4, 5, 6])
    let row = ReferenceTensor([7, 8, 9], shape: [1, 3])
    let rows = try evaluateInReference(.concatenate(Concatenate(axis: 0)), x, row)[0]
    #expect(rows.values == [1, 2, 3, 4, 5, 6, 7, 8, 9])
  }

  @Test func slices() throws {
    let columns = Slice(axis: 1, start: 1, end: 3)
    #expect(try evaluateInReference(.slice(columns), x)[0].values == [2, 3, 5, 6])
    let row = Slice(axis: -2, start: 1, end: 2)
    #expect(try evaluateInReference(.slice(row), x)[0].values == [4, 5, 6])
    let nothing = Slice(axis: 0, start: 1, end: 1)
    #expect(try evaluateInReference(.slice(nothing), x)[0].shape == [0, 3])
    let dy = ReferenceTensor([1, 2, 3, 4], shape: [2, 2])
    #expect(
      try evaluateInReference(.sliceGradient(columns), dy, x)[0].values == [0, 1, 2, 0, 3, 4])
  }

  @Test func slicesBySteps() throws {
    let line = ReferenceTensor([0, 1, 2, 3, 4], shape: [5])
    func slice(_ start: Int, _ end: Int, _ step: Int) throws -> [Double] {
      try evaluateInReference(
        .slice(Slice(axis: 0, start: start, end: end, step: step)), line)[0].values
    }
    #expect(try slice(0, 5, 2) == [0, 2, 4])
    #expect(try slice(1, 4, 2) == [1, 3])
    #expect(try slice(4, -1, -1) == [4, 3, 2, 1, 0])
    #expect(try slice(3, 0, -2) == [3, 1])
    #expect(try slice(2, 5, .max) == [2])
    #expect(try slice(2, 2, -1) == [])
    let backwards = Slice(axis: -1, start: 2, end: -1, step: -2)
    #expect(try evaluateInReference(.slice(backwards), x)[0].values == [3, 1, 6, 4])
    let dy = ReferenceTensor([1, 2, 3, 4], shape: [2, 2])
    #expect(
      try evaluateInReference(.sliceGradient(backwards), dy, x)[0].values == [2, 0, 1, 4, 0, 3])
  }

  @Test func stretches() throws {
    let column = ReferenceTensor([1, 2], shape: [2, 1])
    let y = try evaluateInReference(.broadcast(Broadcast([2, 1, 3])), column)[0]
    #expect(y.shape == [2, 2, 3])
    #expect(y.values == [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2])
    try checkGradient(of: .broadcast(Broadcast([2, 1, 3])), [TestData.doubles([2, 1], seed: 1)])
  }

  @Test func isConstant() throws {
    let graph = try operationGraph(
      .constant(Constant(numbers: [1, -.infinity, .nan], shape: [3])), [])
    let y = try #require(
      Reference(unbound: graph).runInDouble(["w0": ReferenceTensor([1, 1, 1], shape: [3])])["y0"])
    #expect(y.values[0] == 1 && y.values[1] == -.infinity && y.values[2].isNaN)
    let indices = Constant(integers: [3, -1], shape: [2, 1])
    let integers = try Reference(unbound: operationGraph(.constant(indices), [])).runInDouble([:])
    #expect(integers["y0"]?.values == [3, -1])
    #expect(integers["y0"]?.elementType == .int64)
  }

  @Test func reshapes() throws {
    let reshape = Reshape([.rest, .copy(0)])
    let y = try evaluateInReference(.reshape(reshape), x)[0]
    #expect(y.shape == [3, 2])
    #expect(y.values == x.values)
    #expect(try evaluateInReference(.reshapeLike, y, x)[0].shape == [2, 3])
  }

  @Test func transposes() throws {
    let y = try evaluateInReference(.transpose(Transpose([1, 0])), x)[0]
    #expect(y.shape == [3, 2])
    #expect(y.values == [1, 4, 2, 5, 3, 6])
    // Axis 0 of the result is axis 2 of x, axis 1 is axis 0, axis 2 is axis 1.
    let cube = ReferenceTensor([0, 1, 2, 3, 4, 5, 6, 7], shape: [2, 2, 2])
    #expect(
      try evaluateInReference(.transpose(Transpose([2, 0, 1])), cube)[0].values
        == [0, 2, 4, 6, 1, 3, 5, 7])
  }

  @Test func casts() throws {
    let x = ReferenceTensor([-1.7, 300.2, .nan, 0], shape: [4])
    func cast(_ type: ElementType) throws -> [Double] {
      try evaluateInReference(.cast(type), x)[0].values
    }
    #expect(try cast(.uint8) == [0, 255, 0, 0])
    #expect(try cast(.int64) == [-1, 300, 0, 0])
    #expect(try cast(.bool) == [1, 1, 1, 0])
    #expect(try Array(cast(.float64)[..<2]) == [-1.7, 300.2])
  }

  @Test func fillsLikeItsOperand() throws {
    #expect(try evaluateInReference(.fill(2.5), x)[0].values == [2.5, 2.5, 2.5, 2.5, 2.5, 2.5])
  }

  @Test func haveGradients() throws {
    let a = TestData.doubles([2, 3, 2], seed: 1)
    let b = TestData.doubles([2, 1, 2], seed: 2)
    try checkGradient(of: .concatenate(Concatenate(axis: 1)), [a, b, a])
    try checkGradient(of: .slice(Slice(axis: 1, start: 1, end: 3)), [a])
    try checkGradient(of: .sliceGradient(Slice(axis: 1, start: 1, end: 2)), [b, a])
    let backwards = Slice(axis: 1, start: 2, end: -1, step: -2)
    try checkGradient(of: .slice(backwards), [a])
    try checkGradient(of: .sliceGradient(backwards), [TestData.doubles([2, 2, 2], seed: 4), a])
    try checkGradient(of: .reshape(Reshape([.copy(0), .rest])), [a])
    try checkGradient(of: .reshapeLike, [a, TestData.doubles([4, 3], seed: 3)])
    try checkGradient(of: .transpose(Transpose([2, 0, 1])), [a])
    try checkGradient(of: .fill(3), [a], wanted: [0])
  }

  @Test func castHasAGradient() throws {
    let graph = try Graph(inputs: [("x", TensorType([3]))]) { values in
      let square = values[0].map(.square)
      let back = square.apply(.cast(.float64)).apply(.cast(.float32))
      return ["loss": back.reduced(.sum, axes: [0])]
    }
    try finiteDifferenceCheck(
      graph, ["x": TestData.doubles([3], seed: 1)], withRespectTo: ["x"])
  }
}
