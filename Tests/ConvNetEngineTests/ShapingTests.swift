import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Operations that move elements, of every type.
@Suite struct ShapingTests {
  /// Checks an operation on whole numbers of every type, with its gradient in float32.
  private func checkEveryType(
    _ operation: Operation, _ shape: Shape, _ others: Tensor...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for type in ElementType.allCases {
      let x = TestData.integers(shape, in: 0...9, seed: 1).converted(to: type)
      try checkOperation(
        operation, [x] + others, differentiates: type == .float32, sourceLocation: sourceLocation)
    }
  }

  /// Every order of the axes of small tensors, and of one that straddles vectors.
  @Test func transposesAgree() throws {
    var orders: [[Int]] = [[]]
    for axis in 0..<4 {
      orders = orders.flatMap { order in
        (0...order.count).map { Array(order[..<$0]) + [axis] + Array(order[$0...]) }
      }
    }
    for order in orders { try checkEveryType(.transpose(Transpose(order)), [2, 3, 4, 5]) }
    for order in [[0, 2, 3, 1], [0, 3, 1, 2], [3, 1, 0, 2], [0, 1, 3, 2], [2, 3, 0, 1]] {
      try checkEveryType(.transpose(Transpose(order)), [2, 17, 3, 19])
    }
  }

  /// Matrices of more than one tile either way.
  @Test func largeTransposesAgree() throws {
    for shape in [[1, 70, 700], [1, 700, 70], [2, 3, 12_000], [1, 40_000, 1]] as [Shape] {
      let x = TestData.integers(shape, seed: 2)
      try checkOperation(.transpose(Transpose([0, 2, 1])), [x])
      try checkOperation(
        .transpose(Transpose([2, 0, 1])), [x.converted(to: .uint8)], differentiates: false)
    }
  }

  @Test func slicesBySteps() throws {
    let slices = [
      Slice(axis: 0, start: 0, end: 5, step: 2), Slice(axis: 0, start: 4, end: -1, step: -1),
      Slice(axis: 1, start: 1, end: 6, step: 3), Slice(axis: 1, start: 5, end: 0, step: -2),
      Slice(axis: -1, start: 6, end: -1, step: -3), Slice(axis: -1, start: 1, end: 7, step: 2),
      Slice(axis: -1, start: 2, end: 3, step: .max), Slice(axis: 2, start: 3, end: 3, step: -1),
      Slice(axis: 1, start: 2, end: 5),
    ]
    for slice in slices { try checkEveryType(.slice(slice), [5, 6, 7]) }
  }

  @Test func broadcastsAgree() throws {
    let cases: [(Shape, [Int])] = [
      ([3, 1], [2, 3, 4]), ([], [3, 2]), ([5], [4, 5]), ([2, 1, 3], [1, 7, 1]), ([1, 3], [1, 3]),
      ([3, 4], [2, 1, 1]), ([2, 1, 1, 3], [2, 5, 6, 3]), ([3, 1, 1], [70, 3, 33, 7]),
    ]
    for (shape, extents) in cases { try checkEveryType(.broadcast(Broadcast(extents)), shape) }
  }

  @Test(arguments: [Pad.Mode.constant(2.5), .reflect, .edge, .wrap])
  func padsAgree(_ mode: Pad.Mode) throws {
    let pads = [
      Pad(before: [0, 0, 0], after: [0, 0, 0], mode: mode),
      Pad(before: [0, 2, 1], after: [0, 1, 3], mode: mode),
      Pad(before: [1, 0, 0], after: [2, 0, 0], mode: mode),
      Pad(before: [2, 2, 0], after: [0, 1, 0], mode: mode),
      Pad(before: [0, 0, 4], after: [0, 0, 0], mode: mode),
    ]
    for pad in pads {
      try checkEveryType(.pad(pad), [3, 4, 5])
      let padded = Shape((0..<3).map { [3, 4, 5][$0] + pad.before[$0] + pad.after[$0] })
      try checkOperation(
        .padGradient(pad), [TestData.integers(padded, seed: 3), Tensor(zeros: [3, 4, 5])])
    }
  }

  @Test func gathersAgree() throws {
    let shapes: [Shape] = [[], [1], [7], [2, 3]]
    for (axis, shape) in shapes.enumerated().map({ (($0 + 2) % 4 - 1, $1) }) {
      let indices = TestData.labels(shape, in: -3...2, seed: UInt64(axis + 5))
      try checkEveryType(.gather(Gather(axis: axis)), [3, 5, 4], indices)
      try checkEveryType(.gather(Gather(axis: axis)), [3, 5, 4], indices.converted(to: .int32))
    }
    // What is outside is NaN or 0 and gets no gradient.
    let indices = Tensor([5, -6, 0, 4, 1 << 50, -(1 << 50)] as [Int64])
    for type in ElementType.allCases {
      let x = TestData.integers([5, 2], in: 1...9, seed: 4).converted(to: type)
      try checkOperation(.gather(Gather(axis: 0)), [x, indices], differentiates: false)
    }
    let dy = TestData.integers([6, 1100], seed: 6)
    try checkOperation(
      .gatherGradient(Gather(axis: 0)), [dy, indices, Tensor(zeros: [5, 1100])],
      differentiates: false)
  }
}
