import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

/// Whole numbers keep every sum below 2²⁴, so the engine must agree to the last bit.
@Suite struct ConvolutionTests {
  struct Geometry: CustomTestStringConvertible {
    var input: Shape
    var kernel: [Int]
    var stride = [1, 1]
    var dilation = [1, 1]
    var padding = Padding.same
    var groups = 1
    var filters: Int
    var bias = true

    var testDescription: String {
      "\(input) kernel \(kernel) stride \(stride) dilation \(dilation) \(padding) "
        + "groups \(groups) filters \(filters)"
    }

    var operation: Convolution {
      Convolution(
        window: Window(kernel: kernel, stride: stride, dilation: dilation, padding: padding),
        groups: groups)
    }

    /// Winograd's transforms of whole multiples of 576 = 24² are whole, so its sums are exact, too.
    private var isWinograd: Bool {
      kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1] && groups == 1
    }

    func operands(seed: UInt64) -> [Tensor] {
      let filter = Shape(kernel + [input[3] / groups, filters])
      let x = TestData.integers(input, in: isWinograd ? -1...1 : -3...3, seed: seed)
      let w = TestData.integers(
        filter, in: isWinograd ? -1...1 : -2...2, scale: isWinograd ? 576 : 1, seed: seed + 1)
      let b = TestData.integers([filters], in: -5...5, seed: seed + 2)
      return bias ? [x, w, b] : [x, w]
    }
  }

  static let geometries: [Geometry] = [
    Geometry(input: [2, 5, 7, 3], kernel: [3, 3], filters: 4),
    Geometry(input: [1, 8, 6, 16], kernel: [3, 3], filters: 17, bias: false),
    Geometry(input: [3, 4, 4, 5], kernel: [1, 1], filters: 7),
    Geometry(input: [2, 6, 5, 4], kernel: [1, 1], stride: [2, 2], filters: 6),
    Geometry(input: [2, 9, 8, 3], kernel: [3, 3], stride: [2, 2], filters: 5),
    Geometry(input: [1, 9, 11, 2], kernel: [5, 3], stride: [3, 2], padding: .valid, filters: 3),
    Geometry(input: [2, 8, 7, 3], kernel: [3, 3], dilation: [2, 2], filters: 4),
    Geometry(
      input: [1, 11, 10, 2], kernel: [3, 2], stride: [2, 3], dilation: [2, 3], padding: .sameLower,
      filters: 5),
    Geometry(
      input: [1, 6, 7, 2], kernel: [3, 3],
      padding: .explicit(top: 2, bottom: 0, left: 1, right: 3), filters: 3),
    Geometry(input: [2, 5, 5, 6], kernel: [3, 3], groups: 3, filters: 9),
    Geometry(input: [2, 7, 6, 4], kernel: [3, 3], stride: [2, 2], groups: 2, filters: 4),
    Geometry(input: [2, 6, 7, 5], kernel: [3, 3], groups: 5, filters: 5),
    Geometry(input: [2, 7, 7, 33], kernel: [3, 3], stride: [2, 2], groups: 33, filters: 33),
    Geometry(input: [1, 5, 6, 3], kernel: [3, 3], groups: 3, filters: 6),
    // Depthwise in pieces of channels and of rows.
    Geometry(input: [2, 9, 8, 70], kernel: [3, 3], groups: 70, filters: 70),
    Geometry(
      input: [1, 45, 38, 20], kernel: [3, 3], stride: [1, 1], groups: 20, filters: 20, bias: false),
    // Thin: rows that are no multiple of a block, more filters than two vectors.
    Geometry(input: [3, 4, 21, 3], kernel: [3, 3], filters: 35),
    // A kernel smaller than its stride leaves pixels that nothing reads.
    Geometry(input: [1, 8, 9, 2], kernel: [2, 2], stride: [3, 3], padding: .valid, filters: 3),
    // More rows than one call of sgemm, more filters than one panel, a deep product.
    Geometry(input: [1, 12, 13, 35], kernel: [3, 3], filters: 66),
    Geometry(input: [7, 5, 5, 70], kernel: [1, 1], filters: 130),
    // Rows of the result 4 KiB apart.
    Geometry(input: [1, 3, 2, 3], kernel: [1, 1], filters: 1024),
    // Winograd: many tiles, tiles of every shape, images of one row, outputs larger than the input.
    Geometry(input: [5, 23, 18, 16], kernel: [3, 3], filters: 20),
    Geometry(input: [3, 2, 2, 17], kernel: [3, 3], filters: 64),
    Geometry(input: [2, 7, 2, 18], kernel: [3, 3], filters: 16),
    Geometry(input: [2, 1, 6, 16], kernel: [3, 3], filters: 16, bias: false),
    Geometry(
      input: [1, 3, 4, 19], kernel: [3, 3],
      padding: .explicit(top: 3, bottom: 1, left: 0, right: 2), filters: 65),
    Geometry(input: [4, 5, 3, 17], kernel: [3, 3], padding: .valid, filters: 18),
    Geometry(
      input: [2, 4, 9, 16], kernel: [3, 3],
      padding: .explicit(top: 2, bottom: 2, left: 2, right: 2), filters: 16, bias: false),
    // Taps that never fall inside: maps of one pixel, of one row, and of less than a dilation.
    Geometry(input: [3, 1, 1, 18], kernel: [3, 3], filters: 17),
    Geometry(input: [2, 1, 1, 4], kernel: [5, 3], groups: 2, filters: 6),
    Geometry(
      input: [2, 2, 2, 6], kernel: [3, 3], stride: [2, 2],
      padding: .explicit(top: 1, bottom: 1, left: 1, right: 1), filters: 5),
    Geometry(input: [1, 3, 2, 5], kernel: [3, 5], dilation: [4, 2], filters: 7, bias: false),
    // Direct: lines of all lengths at several strides, bands of rows, single columns at the edges, taps far
    // apart, several panels, few columns, images of one row.
    Geometry(input: [2, 13, 17, 5], kernel: [3, 3], stride: [2, 2], filters: 20),
    Geometry(input: [3, 28, 28, 16], kernel: [3, 3], stride: [2, 2], filters: 33, bias: false),
    Geometry(input: [1, 61, 47, 6], kernel: [3, 3], stride: [2, 2], filters: 130),
    Geometry(input: [1, 33, 34, 3], kernel: [5, 5], stride: [1, 2], filters: 17),
    Geometry(input: [2, 19, 21, 5], kernel: [5, 5], filters: 40),
    Geometry(
      input: [1, 24, 31, 2], kernel: [3, 3], stride: [2, 3], dilation: [2, 2], filters: 8),
    Geometry(input: [1, 17, 40, 7], kernel: [7, 7], stride: [2, 2], filters: 50),
    Geometry(input: [4, 14, 16, 9], kernel: [1, 1], stride: [2, 2], filters: 70),
    Geometry(
      input: [2, 9, 14, 4], kernel: [4, 2], stride: [2, 2],
      padding: .explicit(top: 3, bottom: 2, left: 0, right: 5), filters: 66),
    Geometry(input: [2, 1, 45, 6], kernel: [1, 9], stride: [1, 2], filters: 12),
    Geometry(input: [1, 1, 700, 5], kernel: [1, 5], dilation: [1, 3], filters: 9),
    Geometry(input: [1, 17, 9, 300], kernel: [3, 3], stride: [2, 1], filters: 6, bias: false),
    Geometry(
      input: [1, 3, 9, 5], kernel: [3, 3],
      padding: .explicit(top: 0, bottom: 0, left: 400, right: 70), filters: 5),
    // The filter's gradient from many tiles: chunks of them in spans; blocks for many units.
    Geometry(input: [5, 54, 61, 2], kernel: [3, 3], filters: 5, bias: false),
    Geometry(input: [1, 1, 970, 1], kernel: [3, 3], filters: 257, bias: false),
  ]

  @Test(arguments: geometries) func agreesWithTheReference(_ geometry: Geometry) throws {
    let strategies: [String?] = [
      nil, "pointwise", "depthwise", "thin", "winograd", "direct", "im2col",
    ]
    for parameters in [[], [1, 2]] as [Set<Int>] {
      try checkOperation(
        .convolution(geometry.operation), geometry.operands(seed: 1),
        parameters: geometry.bias ? parameters : parameters.subtracting([2]),
        options: strategies.map { PlanOptions(convolution: $0) })
    }
  }

  @Test func refusesAnUnknownStrategy() throws {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 1)) {
      $0.convolution(2, kernel: 3)
    }
    #expect(throws: PlanError.self) {
      try Plan(
        graph, inputShapes: ["input": [1, 4, 4, 1]], options: PlanOptions(convolution: "magic"))
    }
  }
}
