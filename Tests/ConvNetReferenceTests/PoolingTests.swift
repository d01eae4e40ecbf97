import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct PoolingTests {
  private let x = ReferenceTensor([1, 2, 3, 4, 9, 6, 7, 8, 5], shape: [1, 3, 3, 1])

  @Test func takesTheLargest() throws {
    let window = Window(kernel: [2, 2], padding: .valid)
    #expect(try evaluateInReference(.maxPool(window), x)[0].values == [9, 9, 9, 9])
    // ⌈3/2⌉ = 2 windows a side, the odd position of padding at the end.
    let same = Window(kernel: [2, 2], stride: [2, 2], padding: .same)
    #expect(try evaluateInReference(.maxPool(same), x)[0].values == [9, 6, 8, 5])
  }

  @Test func neverTakesPadding() throws {
    let negative = ReferenceTensor(x.values.map { -$0 }, shape: x.shape)
    let window = Window(kernel: [3, 3], stride: [3, 3], padding: .explicit(2))
    #expect(try evaluateInReference(.maxPool(window), negative)[0].values == [-1, -2, -4, -5])
  }

  @Test func takesNaN() throws {
    let window = Window(kernel: [1, 3], padding: .valid)
    for values in [[.nan, 1, 2], [1, .nan, 2], [1, 2, .nan]] as [[Double]] {
      let x = ReferenceTensor(values, shape: [1, 1, 3, 1])
      #expect(try evaluateInReference(.maxPool(window), x)[0].values[0].isNaN)
    }
  }

  @Test func givesTheGradientToTheFirstMaximum() throws {
    let dy = ReferenceTensor([1, 10], shape: [1, 1, 2, 1])
    let window = Window(kernel: [2, 2], padding: .valid)
    func dx(_ values: [Double]) throws -> [Double] {
      try evaluateInReference(
        .maxPoolGradient(window), dy, ReferenceTensor(values, shape: [1, 2, 3, 1]))[0].values
    }
    // Ties in row-major order of the window; windows overlap in the middle column.
    #expect(try dx([5, 5, 5, 5, 5, 5]) == [1, 10, 0, 0, 0, 0])
    #expect(try dx([1, 2, 1, 1, 2, 1]) == [0, 11, 0, 0, 0, 0])
    #expect(try dx([1, 7, 1, 7, 1, 8]) == [0, 1, 0, 0, 0, 10])
    // A NaN is the maximum, the first of two too.
    #expect(try dx([9, 1, 2, 1, .nan, .nan]) == [0, 0, 0, 0, 11, 0])
  }

  @Test func averagesOverTheImageOrTheKernel() throws {
    let window = Window(kernel: [2, 2], stride: [2, 2], padding: .same)
    let excluded = try evaluateInReference(.averagePool(AveragePool(window: window)), x)[0]
    #expect(excluded.values == [4, 4.5, 7.5, 5])
    let included = try evaluateInReference(
      .averagePool(AveragePool(window: window, countsPadding: true)), x)[0]
    #expect(included.values == [4, 2.25, 3.75, 1.25])
  }

  @Test func keepsChannelsApart() throws {
    let x = ReferenceTensor([1, 40, 2, 30, 3, 20, 4, 10], shape: [1, 2, 2, 2])
    let window = Window(kernel: [2, 2], padding: .valid)
    #expect(try evaluateInReference(.maxPool(window), x)[0].values == [4, 40])
    #expect(
      try evaluateInReference(.averagePool(AveragePool(window: window)), x)[0].values == [2.5, 25])
  }

  @Test func roundsUp() throws {
    let x = ReferenceTensor([1, 2, 6], shape: [1, 3, 1])
    func window(_ kernel: Int, _ stride: Int, _ before: Int, _ after: Int) -> Window {
      Window(
        kernel: [kernel], stride: [stride], padding: .explicit(before: [before], after: [after]),
        roundsUp: true)
    }
    func mean(_ window: Window, countsPadding: Bool) throws -> [Double] {
      let pool = AveragePool(window: window, countsPadding: countsPadding)
      return try evaluateInReference(.averagePool(pool), x)[0].values
    }
    #expect(try evaluateInReference(.maxPool(window(2, 2, 0, 0)), x)[0].values == [2, 6])
    // What lies beyond the declared padding counts nowhere, the padding where it is asked to.
    #expect(try mean(window(2, 2, 0, 0), countsPadding: true) == [1.5, 6])
    #expect(try mean(window(3, 2, 0, 1), countsPadding: false) == [3, 6])
    #expect(try mean(window(3, 2, 0, 1), countsPadding: true) == [3, 3])
    // A third window would begin in the padding at the end.
    #expect(try mean(window(2, 2, 1, 1), countsPadding: true) == [0.5, 4])
    // A window larger than the input.
    #expect(try evaluateInReference(.maxPool(window(5, 3, 0, 0)), x)[0].values == [6])
  }

  static let windows: [Window] = [
    Window(kernel: [3, 2], stride: [2, 4], padding: .explicit(1), roundsUp: true),
    Window(kernel: [2, 3], stride: [3, 2], dilation: [2, 2], padding: .valid, roundsUp: true),
    Window(kernel: [2, 2], stride: [2, 2], padding: .valid),
    Window(kernel: [3, 3], stride: [2, 2], padding: .same),
    Window(kernel: [3, 2], stride: [1, 2], padding: .sameLower),
    Window(kernel: [2, 3], dilation: [2, 1], padding: .valid),
    Window(kernel: [3, 3], padding: .explicit(top: 1, bottom: 0, left: 2, right: 1)),
    Window(kernel: [1, 1], stride: [3, 3], padding: .valid),
  ]

  @Test(arguments: windows) func hasAGradient(_ window: Window) throws {
    let x = TestData.distinct([2, 5, 6, 2], seed: 1)
    try checkGradient(of: .maxPool(window), [x])
    for countsPadding in [true, false] {
      let pool = AveragePool(window: window, countsPadding: countsPadding)
      try checkGradient(of: .averagePool(pool), [x])
      let y = try evaluateInReference(.averagePool(pool), x)[0]
      try checkGradient(of: .averagePoolGradient(pool), [y, x])
    }
  }

  @Test func differentiatesMaxPoolingOnce() throws {
    let window = Window(kernel: [2, 2], padding: .valid)
    let dy = TestData.doubles([1, 2, 2, 1], seed: 1)
    let error = #expect(throws: GraphError.self) {
      try checkGradient(of: .maxPoolGradient(window), [dy, x])
    }
    #expect(error?.code == .noGradient)
  }
}
