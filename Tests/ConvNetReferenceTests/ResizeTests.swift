import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ResizeTests {
  private func resized(
    _ values: [Double], _ extent: Resize.Extent, _ interpolation: Resize.Interpolation,
    _ coordinates: Resize.Coordinates = .halfPixel, antialiases: Bool = false
  ) throws -> [Double] {
    try evaluateInReference(
      .resize(
        Resize(
          axis: 1, extent: extent, interpolation: interpolation, coordinates: coordinates,
          antialiases: antialiases)),
      ReferenceTensor(values, shape: [1, values.count, 1]))[0].values
  }

  @Test func weighsNeighbours() throws {
    #expect(try resized([1, 3], .scale(2), .linear) == [1, 1.5, 2.5, 3])
    #expect(try resized([1, 3], .size(3), .linear, .alignCorners) == [1, 2, 3])
    #expect(try resized([1, 2, 3, 4], .scale(0.5), .linear) == [1.5, 3.5])
    // Positions 0, 2/2.4·… of a length of 2.4 that is cut to 2 (ONNX's own example, 22/7).
    let cut = try resized([1, 2, 3, 4], .scale(0.6), .linear, .alignCorners)
    expectClose(cut, [1, 22.0 / 7], tolerance: 1e-14)
    // Weights of 1, 3, 3 and 1 eighths; the element at the edge stands for what lies outside.
    #expect(
      try resized([1, 2, 3, 4], .scale(0.5), .linear, antialiases: true) == [1.625, 3.375])
  }

  @Test func takesTheNearest() throws {
    let roundings: [(Resize.Rounding, [Double])] = [
      (.preferFloor, [1, 1, 2, 2, 3, 3]), (.preferCeiling, [1, 1, 2, 2, 3, 3]),
      (.floor, [1, 1, 1, 2, 2, 3]), (.ceiling, [1, 2, 2, 3, 3, 3]),
    ]
    for (rounding, expected) in roundings {
      #expect(try resized([1, 2, 3], .scale(2), .nearest(rounding)) == expected, "\(rounding)")
    }
    // Points 0, ½, 1 and 1½.
    #expect(
      try resized([1, 2], .scale(2), .nearest(.preferFloor), .asymmetric) == [1, 1, 2, 2])
    #expect(
      try resized([1, 2], .scale(2), .nearest(.preferCeiling), .asymmetric) == [1, 2, 2, 2])
  }

  @Test func cropsAndStandsOutside() throws {
    // Points −1, ½ and 2 of an axis from 0 to 2.
    let crop = Resize.Coordinates.crop(start: -0.5, end: 1, outside: 9)
    #expect(try resized([1, 2, 3], .size(3), .linear, crop) == [9, 1.5, 3])
  }

  static let resizes: [Resize] = [
    Resize(axis: 1, extent: .size(7), interpolation: .linear, coordinates: .halfPixel),
    Resize(
      axis: -1, extent: .scale(0.5), interpolation: .linear, coordinates: .halfPixel,
      antialiases: true),
    Resize(
      axis: 0, extent: .scale(1.7), interpolation: .cubic(-0.5), coordinates: .alignCorners,
      excludesOutside: true),
    Resize(
      axis: 2, extent: .size(5), interpolation: .nearest(.ceiling), coordinates: .asymmetric),
    Resize(
      axis: 1, extent: .size(5), interpolation: .linear,
      coordinates: .crop(start: 0.2, end: 1.3, outside: 4)),
  ]

  @Test(arguments: resizes) func hasAGradient(_ resize: Resize) throws {
    let x = TestData.doubles([2, 4, 3, 4], seed: 1)
    try checkGradient(of: .resize(resize), [x])
    let y = try evaluateInReference(.resize(resize), x)[0]
    try checkGradient(of: .resizeGradient(resize), [y, x])
  }

  @Test func refusesWhatHasNoElements() {
    func types(_ resize: Resize, _ dimensions: [Dimension] = ["N", 4]) throws {
      _ = try Operation.resize(resize).outputTypes([TensorType(dimensions)])
    }
    let linear = Resize.Interpolation.linear
    for resize in [
      Resize(axis: 2, extent: .size(1), interpolation: linear, coordinates: .halfPixel),
      Resize(axis: 1, extent: .size(-1), interpolation: linear, coordinates: .halfPixel),
      Resize(axis: 1, extent: .scale(.nan), interpolation: linear, coordinates: .halfPixel),
      Resize(axis: 1, extent: .scale(0x1p40), interpolation: linear, coordinates: .halfPixel),
      Resize(
        axis: 1, extent: .size(2), interpolation: linear,
        coordinates: .crop(start: .nan, end: 1, outside: 0)),
      Resize(
        axis: 1, extent: .size(2), interpolation: .nearest(.floor), coordinates: .halfPixel,
        antialiases: true),
    ] {
      #expect(throws: GraphError.self) { try types(resize) }
    }
    let resize = Resize(axis: 1, extent: .size(2), interpolation: linear, coordinates: .halfPixel)
    #expect(throws: GraphError.self) { try types(resize, ["N", 0]) }
    #expect(throws: Never.self) { try types(resize, ["N", "L"]) }
  }
}
