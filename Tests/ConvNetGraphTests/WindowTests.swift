import ConvNetGraph
import Foundation
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

  /// Output extents rounded up: the last window begins inside the input or the padding before it.
  @Test(
    arguments: [
      // input, kernel, stride, before, after → output
      (3, 2, 2, 0, 0, 2), (4, 3, 2, 1, 1, 3), (3, 2, 2, 1, 1, 2), (5, 2, 3, 0, 1, 2),
      (6, 2, 2, 0, 0, 3), (2, 3, 2, 0, 0, 1), (32, 3, 2, 0, 0, 16),
    ])
  func roundsUp(
    _ input: Int, _ kernel: Int, _ stride: Int, _ before: Int, _ after: Int, _ expected: Int
  ) throws {
    let window = Window(
      kernel: [kernel], stride: [stride], padding: .explicit(before: [before], after: [after]),
      roundsUp: true)
    #expect(try window.axis(0, input: input).output == expected)
    let convolution = Operation.convolution(Convolution(window: window))
    #expect(throws: GraphError.self) {
      try convolution.outputTypes([TensorType([1, 32, 1]), TensorType([.fixed(kernel), 1, 1])])
    }
  }

  @Test func countsTaps() throws {
    let window = Window(
      kernel: [4], stride: [3], dilation: [2], padding: .explicit(before: [3], after: [2]),
      roundsUp: true)
    // Positions −3 −1 1 3, 0 2 4 6 and 3 5 7 9 of an input of 6, with 2 more behind it.
    let axis = try window.axis(0, input: 6)
    #expect(axis.output == 3)
    #expect((0..<3).map { axis.taps(at: $0, countingPadding: false) } == [2, 3, 2])
    #expect((0..<3).map { axis.taps(at: $0, countingPadding: true) } == [4, 4, 3])
  }

  @Test func readsWhatKnewNoRounding() throws {
    let window = Window(kernel: [3], stride: [2], padding: .same, roundsUp: true)
    #expect(
      try JSONDecoder().decode(Window.self, from: JSONEncoder().encode(window)) == window)
    let old = #"{"kernel":[3],"stride":[2],"dilation":[1],"padding":{"same":{}}}"#
    let read = try JSONDecoder().decode(Window.self, from: Data(old.utf8))
    #expect(read == Window(kernel: [3], stride: [2], padding: .same))
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
