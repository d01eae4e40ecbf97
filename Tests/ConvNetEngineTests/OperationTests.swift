import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

/// Every operation but convolution and batch norm, which have suites of their own.
@Suite struct OperationTests {
  static let functions: [UnaryFunction] = [
    .relu, .relu6, .leakyRelu(slope: 0.125), .clip(low: -1, high: 2.5),
    .affine(scale: -2, offset: 0.5), .sigmoid, .tanh, .exp, .log, .squareRoot, .reciprocal,
    .absolute, .square, .softplus, .silu, .hardSwish, .hardSigmoid(slope: 0.25, offset: 0.5),
    .elu(alpha: 0.75), .gelu, .geluTanh, .erf, .floor, .ceiling, .round, .sign,
  ]

  /// Values in 1/4…7: f and f′ stay below 1100 (exp); the loops promise 3 units in the last place of f,
  /// and f′ is made of a few such values, times w up to 3.
  @Test(arguments: functions) func mapAgrees(_ function: UnaryFunction) throws {
    for count in [1, 15, 64, 130] {
      var x = TestData.uniform([count], in: 0.25...6.9, seed: UInt64(count))
      if ![.log, .squareRoot].contains(function) {
        x = Tensor(x.floats.enumerated().map { $0 % 2 == 0 ? $1 : -$1 })
      }
      let largest: Double = function == .exp ? 1000 : 50
      try checkOperation(
        .map(function), [x], tolerance: { _ in Tolerance.ulps(16, magnitude: 3 * largest) })
    }
  }

  @Test func mapPropagatesNaN() throws {
    for function in Self.functions {
      let x = Tensor([.nan, 1, .nan, 2] as [Float])
      let graph = try operationGraph(.map(function), [TensorType([4])])
      let y = try runEngine(
        graph, ["x0": x, "w0": Tensor([1, 1, 1, 1] as [Float])], lanes: TestLanes.all[0])["y0"]
      let values = try #require(y).floats
      #expect(
        values[0].isNaN && !values[1].isNaN && values[2].isNaN && !values[3].isNaN, "\(function)")
    }
  }

  static let broadcasts: [(Shape, Shape)] = [
    ([2, 3, 5], [2, 3, 5]), ([2, 3, 5], [5]), ([5], [4, 5]), ([2, 1, 5], [2, 3, 1]), ([], [3, 4]),
    ([2, 3, 4, 5], [2, 1, 4, 1]), ([70, 33], [70, 1]), ([1, 1], [6, 7]),
    ([3, 1, 2, 1], [1, 4, 1, 5]),
  ]

  @Test(arguments: broadcasts) func combineAgrees(_ shapes: (Shape, Shape)) throws {
    let a = TestData.integers(shapes.0, in: -6...6, seed: 1)
    let b = TestData.integers(shapes.1, in: 1...5, seed: 2)
    for function in [BinaryFunction.add, .subtract, .multiply, .maximum, .minimum] {
      try checkOperation(.combine(function), [a, b])
    }
    // One division, one product of three factors up to 6·3 over 1…25, summed over the stretched axes.
    let terms = max(a.count, b.count) * 12 / max(1, min(a.count, b.count))
    try checkOperation(
      .combine(.divide), [a, b],
      tolerance: { _ in Tolerance.bound(terms: terms + 16, maxA: 6, maxB: 3) })
    for function in [BinaryFunction.equal, .greater] {
      try checkOperation(.combine(function), [a, b], differentiates: false)
    }
  }

  @Test func powerAgrees() throws {
    let a = TestData.uniform([37], in: 0.5...2, seed: 3)
    let b = TestData.uniform([37], in: -2...2, seed: 4)
    try checkOperation(
      .combine(.power), [a, b], tolerance: { _ in Tolerance.ulps(32, magnitude: 3 * 8) })
  }

  @Test func statisticsCombineInDouble() throws {
    let a = Tensor([1, 2, 3] as [Double])
    let b = Tensor([4.0])
    for function in [BinaryFunction.add, .subtract, .multiply, .divide, .maximum, .minimum] {
      try checkOperation(.combine(function), [a, b], differentiates: false)
    }
  }

  static let reductions: [(Shape, [Int])] = [
    ([3, 4, 5], [2]), ([3, 4, 5], [0]), ([3, 4, 5], [1, 2]), ([3, 4, 5], [0, 2]),
    ([2, 3, 4, 5], [-3, -2]),
    ([300, 17], [0]), ([17, 300], [1]), ([2, 7, 9, 33], [1, 2]), ([5], [0]), ([4, 3], []),
    ([2, 3, 4, 5], [0, 3]),
  ]

  @Test(arguments: reductions, [false, true])
  func reduceAgrees(_ form: (shape: Shape, axes: [Int]), keepsAxes: Bool) throws {
    let x = TestData.integers(form.shape, in: -9...9, seed: 5)
    try checkOperation(.reduce(Reduce(.sum, axes: form.axes, keepsAxes: keepsAxes)), [x])
    // A mean is an exact sum, one division and one rounding; its gradient one product.
    try checkOperation(
      .reduce(Reduce(.mean, axes: form.axes, keepsAxes: keepsAxes)), [x],
      tolerance: { _ in Tolerance.ulps(2, magnitude: 9) })
    // Ties share the gradient: a quotient of whole numbers.
    for reduction in [Reduction.maximum, .minimum] {
      try checkOperation(
        .reduce(Reduce(reduction, axes: form.axes, keepsAxes: keepsAxes)), [x],
        tolerance: { _ in Tolerance.ulps(2, magnitude: 3) })
    }
  }

  static let windows: [(Shape, Window)] = [
    ([2, 6, 7, 3], Window(kernel: [2, 2], stride: [2, 2], padding: .valid)),
    ([1, 7, 5, 17], Window(kernel: [3, 3], stride: [2, 2], padding: .explicit(1))),
    ([2, 5, 6, 16], Window(kernel: [3, 2], stride: [1, 2], padding: .same)),
    (
      [1, 9, 9, 4], Window(kernel: [2, 3], stride: [2, 1], dilation: [2, 2], padding: .sameLower)
    ),
    ([3, 4, 4, 33], Window(kernel: [4, 4], padding: .valid)),
    (
      [2, 8, 6, 5], Window(kernel: [3, 2], stride: [2, 4], padding: .explicit(1), roundsUp: true)
    ),
    (
      [1, 7, 9, 18],
      Window(kernel: [3, 3], stride: [3, 2], dilation: [1, 2], padding: .valid, roundsUp: true)
    ),
    // Sequences and volumes.
    ([3, 11, 17], Window(kernel: [3], stride: [2], padding: .same)),
    ([1, 7, 1], Window(kernel: [2], stride: [3], padding: .valid, roundsUp: true)),
    ([2, 4, 5, 3, 3], Window(kernel: [2, 3, 2], stride: [2, 1, 2], padding: .same)),
    (
      [1, 5, 4, 5, 4],
      Window(
        kernel: [3, 2, 2], stride: [1, 2, 3], dilation: [2, 1, 2],
        padding: .explicit(before: [2, 1, 0], after: [1, 0, 2]), roundsUp: true)
    ),
  ]

  @Test(arguments: windows) func poolingAgrees(_ form: (shape: Shape, window: Window)) throws {
    let x = TestData.integers(form.shape, in: -20...20, seed: 6)
    try checkOperation(.maxPool(form.window), [x])
    for countsPadding in [false, true] {
      try checkOperation(
        .averagePool(AveragePool(window: form.window, countsPadding: countsPadding)), [x],
        tolerance: { _ in Tolerance.bound(terms: 16, maxA: 20, maxB: 1) })
    }
  }

  @Test func volumesTakeTheFirstMaximumAndNaN() throws {
    // Ties in planes, rows and columns; one window of two has a NaN.
    var values = TestData.integers([1, 4, 4, 4, 2], in: 0...1, seed: 16).floats
    values[37] = .nan
    let x = Tensor(values, shape: [1, 4, 4, 4, 2])
    try checkOperation(.maxPool(Window(kernel: [2, 2, 2], padding: .valid)), [x])
    try checkOperation(
      .maxPool(Window(kernel: [3, 3, 3], stride: [2, 2, 2], padding: .same)), [x])
  }

  @Test func matrixProductsAgree() throws {
    for (m, k, n) in [(1, 1, 1), (3, 5, 7), (65, 33, 70), (2, 200, 10), (17, 310, 129)] {
      for (left, right) in [(false, false), (true, false), (false, true), (true, true)] {
        let a = TestData.integers(left ? [k, m] : [m, k], in: -3...3, seed: 7)
        let b = TestData.integers(right ? [n, k] : [k, n], in: -3...3, seed: 8)
        let bias = TestData.integers([n], in: -5...5, seed: 9)
        let operation = Operation.matrixMultiply(
          MatrixMultiply(transposesLeft: left, transposesRight: right))
        try checkOperation(operation, [a, b, bias])
        try checkOperation(operation, [a, b], parameters: [1])
      }
    }
  }

  static let batches: [(a: Shape, b: Shape)] = [
    ([2, 3, 4], [4, 5]), ([2, 3, 65, 33], [33, 70]), ([3, 4], [2, 4, 5]),
    ([3, 1, 7, 9], [2, 9, 66]), ([2, 97, 30], [1, 30, 17]), ([2, 2, 3, 4], [2, 1, 4, 3]),
    ([0, 3, 4], [4, 5]),
  ]

  @Test(arguments: batches, [(false, false), (true, false), (false, true), (true, true)])
  func productsOfManyMatricesAgree(
    _ shapes: (a: Shape, b: Shape), _ transposes: (left: Bool, right: Bool)
  ) throws {
    func stored(_ shape: Shape, _ isTransposed: Bool) -> Shape {
      let last = shape.dimensions.suffix(2)
      return Shape(shape.dimensions.dropLast(2) + (isTransposed ? last.reversed() : Array(last)))
    }
    let a = TestData.integers(stored(shapes.a, transposes.left), in: -3...3, seed: 17)
    let b = TestData.integers(stored(shapes.b, transposes.right), in: -3...3, seed: 18)
    let bias = TestData.integers([shapes.b[shapes.b.rank - 1]], in: -5...5, seed: 19)
    let operation = Operation.matrixMultiply(
      MatrixMultiply(transposesLeft: transposes.left, transposesRight: transposes.right))
    try checkOperation(operation, [a, b, bias])
    try checkOperation(operation, [a, b], parameters: [1])
  }

  @Test func shapingAgrees() throws {
    let x = TestData.integers([2, 3, 4, 5], seed: 10)
    for permutation in [
      [0, 3, 1, 2], [3, 2, 1, 0], [0, 2, 3, 1], [1, 0, 2, 3], [0, 1, 3, 2], [0, 1, 2, 3],
    ] {
      try checkOperation(.transpose(Transpose(permutation)), [x])
    }
    try checkOperation(.reshape(Reshape([.copy(0), .rest])), [x])
    try checkOperation(.reshape(Reshape([.fixed(6), .rest, .fixed(2)])), [x])
    for axis in [0, 1, -1] {
      try checkOperation(.slice(Slice(axis: axis, start: 1, end: 2)), [x])
      try checkOperation(.concatenate(Concatenate(axis: axis)), [x, x, x])
    }
    let labels = TestData.labels([4, 3], in: 0...9, seed: 11)
    try checkOperation(.transpose(Transpose([1, 0])), [labels], differentiates: false)
    try checkOperation(.concatenate(Concatenate(axis: 1)), [labels, labels], differentiates: false)
    for type in ElementType.allCases {
      try checkOperation(.cast(type), [labels], differentiates: false)
      try checkOperation(
        .cast(type), [TestData.integers([33], in: 0...1, seed: 12)], differentiates: false)
    }
    try checkOperation(.fill(2.5), [x], differentiates: false)
  }

  @Test func softmaxAgrees() throws {
    for (rows, columns) in [(1, 1), (5, 10), (3, 17), (33, 100)] {
      let x = TestData.uniform([rows, columns], in: -8...8, seed: 13)
      let labels = TestData.labels([rows], in: 0...(columns - 1), seed: 14)
      // Shifted arguments up to 16 have an error of 16·u before exp, sums of K terms K·u after it.
      let bound = Tolerance.bound(terms: columns + 16, maxA: 16, maxB: 3)
      try checkOperation(.softmax, [x], tolerance: { _ in bound })
      for smoothing in [0, 0.1] {
        try checkOperation(
          .softmaxCrossEntropy(SoftmaxCrossEntropy(labelSmoothing: smoothing)), [x, labels],
          tolerance: { _ in bound })
      }
    }
  }

  @Test func softmaxTakesAnyRankAndExtremes() throws {
    var values = TestData.uniform([2, 3, 4, 21], in: -8...8, seed: 20).floats
    // Rows of very large and very small numbers, and of −∞ beside a number.
    for column in 0..<21 {
      values[column] *= 1e37
      values[21 + column] = column == 5 ? -3 : -.infinity
      values[42 + column] += 1e4
    }
    let x = Tensor(values, shape: [2, 3, 4, 21])
    // 1e4 + x is off by 2⁻¹¹ as data; shifted arguments are exact then.
    let bound = Tolerance.bound(terms: 21 + 16, maxA: 16, maxB: 3)
    try checkOperation(.softmax, [x], tolerance: { _ in bound })
    try checkOperation(.softmax, [TestData.uniform([5], seed: 21)], tolerance: { _ in bound })
  }

  @Test func dropoutAgrees() throws {
    let key = Tensor([42, 7] as [Int64])
    for rate in [0, 0.25, 0.5] {
      let x = TestData.uniform([70_001], seed: 15)
      try checkOperation(
        .dropout(Dropout(rate: rate, stream: 3)), [x, key],
        tolerance: { _ in Tolerance.ulps(2, magnitude: 6) })
    }
  }
}
