import ConvNetGraph
import Testing

@Suite struct WindowTests {
  /// Output, padding before and after, for one spatial dimension.
  @Test(
    arguments: [
      // input, kernel, stride, dilation, padding → output, before, after
      (28, 3, 1, 1, .same, [28, 1, 1]), (28, 2, 2, 1, .valid, [14, 0, 0]),
      (5, 3, 2, 1, .same, [3, 1, 1]), (6, 3, 2, 1, .same, [3, 0, 1]),
      (6, 3, 2, 1, .sameLower, [3, 1, 0]), (7, 3, 1, 2, .same, [7, 2, 2]),
      (7, 1, 2, 1, .same, [4, 0, 0]), (5, 2, 1, 1, .same, [5, 0, 1]),
      (5, 2, 1, 1, .sameLower, [5, 1, 0]), (9, 3, 4, 1, .valid, [2, 0, 0]),
      (3, 3, 1, 1, .explicit(before: [0], after: [2]), [3, 0, 2]),
      (1, 1, 1, 1, .valid, [1, 0, 0]), (4, 7, 7, 1, .same, [1, 1, 2]),
    ] as [(Int, Int, Int, Int, Padding, [Int])])
  func resolvesAnAxis(
    _ input: Int, _ kernel: Int, _ stride: Int, _ dilation: Int, _ padding: Padding,
    _ expected: [Int]
  ) throws {
    let window = Window(
      kernel: [kernel], stride: [stride], dilation: [dilation], padding: padding)
    try window.check()
    let axis = try window.axis(0, input: input)
    #expect([axis.output, axis.before, axis.after] == expected)
  }

  @Test(arguments: [
    Window(kernel: [0], padding: .valid), Window(kernel: [], padding: .valid),
    Window(kernel: [3], stride: [0], padding: .valid),
    Window(kernel: [3], dilation: [-1], padding: .valid),
    Window(kernel: [3, 3], stride: [1], padding: .valid),
    Window(kernel: [.max], padding: .same),
    Window(kernel: [3], padding: .explicit(before: [1], after: [-1])),
    Window(kernel: [3], padding: .explicit(before: [1, 1], after: [1, 1])),
  ])
  func refusesImpossibleGeometry(_ window: Window) {
    #expect(throws: GraphError.self) { try window.check() }
  }

  @Test func refusesAnInputSmallerThanTheWindow() {
    let window = Window(kernel: [3], padding: .explicit(before: [1], after: [0]))
    #expect(throws: GraphError.self) { try window.axis(0, input: 1) }
    #expect(throws: GraphError.self) { try window.axis(0, input: 0) }
  }

  @Test func keepsPoolingWindowsOnTheImage() throws {
    let image = TensorType([1, 3, 3, 1])
    func pooled(_ window: Window) throws -> TensorType {
      try Operation.maxPool(window).outputTypes([image])[0]
    }
    #expect(throws: GraphError.self) {
      try pooled(Window(kernel: [2, 2], padding: .explicit(2)))
    }
    #expect(throws: GraphError.self) {
      try pooled(Window(kernel: [2, 2], dilation: [4, 4], padding: .same))
    }
    #expect(
      try pooled(Window(kernel: [2, 2], dilation: [3, 3], padding: .same)).shape == [1, 3, 3, 1])
  }
}
