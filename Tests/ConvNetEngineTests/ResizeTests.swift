import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ResizeTests {
  /// Weights of a few eighths keep sums exact.
  static let resizes: [Resize] = [
    Resize(axis: 1, extent: .scale(2), interpolation: .linear, coordinates: .halfPixel),
    Resize(axis: 2, extent: .scale(0.5), interpolation: .linear, coordinates: .halfPixel),
    Resize(
      axis: 1, extent: .scale(3), interpolation: .nearest(.preferFloor), coordinates: .asymmetric),
    Resize(
      axis: 2, extent: .size(4), interpolation: .nearest(.ceiling), coordinates: .alignCorners),
    Resize(axis: -1, extent: .scale(2), interpolation: .linear, coordinates: .halfPixel),
    Resize(
      axis: 0, extent: .scale(2), interpolation: .cubic(-0.5), coordinates: .asymmetric),
    Resize(
      axis: 1, extent: .scale(0.5), interpolation: .linear, coordinates: .halfPixel,
      antialiases: true),
    Resize(
      axis: 1, extent: .size(5), interpolation: .linear,
      coordinates: .crop(start: -0.5, end: 1.5, outside: 7)),
  ]

  @Test(arguments: resizes, [[2, 5, 6, 3], [1, 3, 4, 33], [2, 3, 70]] as [Shape])
  func agrees(_ resize: Resize, _ shape: Shape) throws {
    let x = TestData.integers(shape, in: -8...8, seed: 1)
    try checkOperation(.resize(resize), [x])
    // Thirds and sevenths: four taps, one rounding of each weight and each product.
    var size = resize
    size.extent = .size(7)
    try checkOperation(
      .resize(size), [x], tolerance: { _ in Tolerance.bound(terms: 28, maxA: 8, maxB: 3) })
  }

  @Test func copiesOtherElements() throws {
    let labels = TestData.labels([2, 3, 4], in: 0...9, seed: 2)
    let resize = Resize(
      axis: 1, extent: .size(5), interpolation: .nearest(.floor), coordinates: .halfPixel)
    try checkOperation(.resize(resize), [labels], differentiates: false)
    var linear = resize
    linear.interpolation = .linear
    #expect(throws: PlanError.self) {
      try checkOperation(.resize(linear), [labels], differentiates: false)
    }
  }

  /// Every matrix that `scripts/fixtures/resize.py` recorded of ONNX's reference.
  @Test func weighsAsONNX() throws {
    let folder = "\(#filePath)".split(separator: "/").dropLast(2).joined(separator: "/")
    let file = try SafetensorsFile.open("/\(folder)/Fixtures/Resize/onnx.safetensors")
    let matrices = try file.readAll()
    #expect(matrices.count == 256)
    for (name, matrix) in matrices.sorted(by: { $0.key < $1.key }) {
      let resize = try #require(Self.resize(named: name), "\(name)")
      let count = matrix.shape[0]
      let identity = ReferenceTensor(
        (0..<(count * count)).map { $0 / count == $0 % count ? 1 : 0 }, shape: [count, count])
      let result = try evaluateInReference(.resize(resize), identity)[0]
      #expect(result.shape == matrix.shape, "\(name)")
      expectClose(result.values, matrix.doubles, tolerance: 1e-12, name)
    }
  }

  private static func resize(named name: String) -> Resize? {
    let parts = name.split(separator: ",").map(String.init)
    let extent = parts[2].split(separator: " ")
    let interpolations: [String: Resize.Interpolation] = [
      "round_prefer_floor": .nearest(.preferFloor), "round_prefer_ceil": .nearest(.preferCeiling),
      "floor": .nearest(.floor), "ceil": .nearest(.ceiling), "linear": .linear,
      "cubic": .cubic(-0.75),
    ]
    let coordinates: [String: Resize.Coordinates] = [
      "half_pixel": .halfPixel, "pytorch_half_pixel": .pytorchHalfPixel,
      "half_pixel_symmetric": .halfPixelSymmetric, "align_corners": .alignCorners,
      "asymmetric": .asymmetric, "tf_crop_and_resize": .crop(start: 0.4, end: 0.8, outside: 10),
    ]
    // Scales are float32 numbers in ONNX.
    guard let interpolation = interpolations[parts[0]], let place = coordinates[parts[1]],
      let number = Float(extent[1])
    else { return nil }
    return Resize(
      axis: 1, extent: extent[0] == "size" ? .size(Int(number)) : .scale(Double(number)),
      interpolation: interpolation, coordinates: place, antialiases: parts[3] == "antialias 1",
      excludesOutside: parts[4] == "exclude 1")
  }
}
