import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import FoundationEssentials
import Testing

/// Everything at once.
private let everything = Augmentation(
  horizontalFlip: true, shift: 1, rotation: 20, translation: 0.1, zoom: 0.2,
  colorJitter: ColorJitter(brightness: 0.3, contrast: 0.2, saturation: 0.4, hue: 0.1),
  randomErasing: RandomErasing(fill: .noise), mixup: 0.4)

/// What augmented batches are made of.
func assembled(
  _ data: TrainingData, _ augmentation: Augmentation, _ samples: [Int], epoch: EpochKey?,
  normalization: Normalization? = nil, lanes: Int = 1
) throws -> [Float] {
  let assembler = try BatchAssembler(
    data: data, normalization: normalization, augmentation: augmentation)
  var output = [Float](repeating: .nan, count: samples.count * data.imageShape.count)
  let lanes = try Lanes(count: lanes)
  try output.withUnsafeMutableBufferPointer {
    try assembler.assemble(samples[...], into: $0, in: epoch, lanes: lanes)
  }
  return output
}

/// Random images of bytes.
func pictures(_ count: Int, _ size: Int, channels: Int, seed: UInt64) throws -> TrainingData {
  let shape: Shape = [count, size, size, channels]
  let images = TestData.integers(shape, in: 0...255, seed: seed).converted(to: .uint8)
  return try TrainingData(
    images: images, labels: (0..<count).map { Int64($0 % 2) }, classCount: 2)
}

@Suite struct AugmentationTests {
  /// What flips and shifts draw was fixed by the first release: published results depend on it.
  @Test func flipsAndShiftsStayWhatTheyWere() {
    let random = Augmentation.random(EpochKey(seed: 1, epoch: 2))
    let changes = (0..<6).map { Augmentation.light.change(sample: $0, random: random) }
    #expect(changes.map(\.mirrors) == [false, true, false, true, false, false])
    #expect(changes.map(\.dy) == [1, 1, 0, 0, -1, -1])
    #expect(changes.map(\.dx) == [-2, -2, 0, -1, 1, -2])
  }

  @Test func noChangeMovesTheDrawsOfAnother() throws {
    let epoch = EpochKey(seed: 3, epoch: 4)
    for sample in 0..<20 {
      func map(_ augmentation: Augmentation) throws -> AffineMap {
        try #require(augmentation.map(sample: sample, in: epoch, height: 9, width: 9))
      }
      var other = Augmentation(rotation: 20, zoom: 0.2)
      let plain = try map(other)
      other.mixup = 1
      other.colorJitter = ColorJitter(hue: 0.5)
      #expect(try map(other) == plain)
      other.translation = 0.2
      let moved = try map(other)
      #expect(moved.perRow == plain.perRow && moved.perColumn == plain.perColumn)
      // A turn alone has the angle that it has with a zoom: the same direction, another length.
      let turned = try map(Augmentation(rotation: 20)).perRow
      let factor = (plain.perRow * plain.perRow).sum().squareRoot()
      let difference = turned * factor - plain.perRow
      #expect(max(abs(difference.x), abs(difference.y)) < 8 * Double.ulpOfOne)
    }
  }

  /// A map without fractions gives what the fast way gives, to the bit.
  @Test func wholePixelsAgreeWithTheFastWay() throws {
    let (height, width, channels) = (5, 4, 2)
    let image = (0..<height * width * channels).map { Float($0 + 1) }
    let light = Augmentation(horizontalFlip: true, shift: 2)
    let data = try TrainingData(
      images: Tensor(image, shape: [1, height, width, channels]), labels: [0], classCount: 1)
    for number in 0..<60 {
      let epoch = EpochKey(seed: 5, epoch: number)
      let change = light.change(sample: 0, random: Augmentation.random(epoch))
      let map = AffineMap(
        change, degrees: 0, factor: 1, dy: 0, dx: 0, height: height, width: width)
      let expected = try assembled(data, light, [0], epoch: epoch)
      #expect(resampled(image, map, height, width, channels) == expected, "\(change)")
    }
  }

  func resampled(
    _ image: [Float], _ map: AffineMap, _ height: Int, _ width: Int, _ channels: Int
  ) -> [Float] {
    var output = [Float](repeating: .nan, count: image.count)
    output.withUnsafeMutableBufferPointer { output in
      image.withUnsafeBufferPointer { image in
        guard let from = image.baseAddress, let to = output.baseAddress else { return }
        map.resample(from, height: height, width: width, channels: channels, to: to) { $0 }
      }
    }
    return output
  }

  /// Turns, moves and zooms of a 3×3 image by hand.
  ///
  /// cos 90° is not 0 but 6e-17, and a position is a float: one step of 2⁻²² of a position of 2 to 4
  /// times the largest difference of 8.
  @Test func geometryByHand() {
    let image: [Float] = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    func changed(
      degrees: Double = 0, factor: Double = 1, dy: Double = 0, dx: Double = 0
    ) -> [Double] {
      let map = AffineMap(
        .init(), degrees: degrees, factor: factor, dy: dy, dx: dx, height: 3, width: 3)
      return resampled(image, map, 3, 3, 1).map { Double($0) }
    }
    let tolerance = 16 * 0x1p-22
    // Counter-clockwise: the right column comes to the top.
    expectClose(changed(degrees: 90), [3, 6, 9, 2, 5, 8, 1, 4, 7], tolerance: tolerance)
    expectClose(changed(degrees: 180), [9, 8, 7, 6, 5, 4, 3, 2, 1], tolerance: tolerance)
    // Down by one and a half rows: halves of two rows, of black and a row.
    #expect(changed(dy: 1.5) == [0, 0, 0, 0.5, 1, 1.5, 2.5, 3.5, 4.5])
    #expect(changed(dx: -1) == [2, 3, 0, 5, 6, 0, 8, 9, 0])
    // Twice as large: the corner shows what was half way to the middle.
    #expect(changed(factor: 2) == [3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7])
    #expect(changed(factor: 0.5) == [0, 0, 0, 0, 5, 0, 0, 0, 0])
  }

  /// The order of a turn and a mirror: the mirrored picture is turned.
  @Test func mirrorsComeFirst() {
    let image: [Float] = [1, 2, 3, 4]
    let map = AffineMap(
      .init(mirrors: true, dy: 0, dx: 0), degrees: 90, factor: 1, dy: 0, dx: 0, height: 2, width: 2)
    // 1 2 / 3 4 mirrored is 2 1 / 4 3, and that turned counter-clockwise 1 3 / 2 4.
    let found = resampled(image, map, 2, 2, 1).map { Double($0) }
    expectClose(found, [1, 3, 2, 4], tolerance: 16 * 0x1p-22)
  }

  @Test func drawsFillTheirRanges() throws {
    let augmentation = Augmentation(rotation: 30, translation: 0.25, zoom: 1)
    let epoch = EpochKey(seed: 8, epoch: 0)
    let maps = try (0..<500).map {
      try #require(augmentation.map(sample: $0, in: epoch, height: 9, width: 9))
    }
    let lengths = maps.map { ($0.perRow * $0.perRow).sum().squareRoot() }
    // The zoom's factor is from 1/2 to 2, and so is the length of a step in the source.
    #expect(lengths.allSatisfy { (0.5...2).contains($0) })
    #expect(lengths.filter { $0 < 1 }.count > 200 && lengths.filter { $0 > 1 }.count > 200)
    #expect((lengths.max() ?? 0) > 1.9 && (lengths.min() ?? 1) < 0.53)
    let sines = zip(maps, lengths).map { $0.perColumn.x / $1 }
    #expect(sines.allSatisfy { abs($0) <= 0.5 } && (sines.max() ?? 0) > 0.48)
  }

  @Test func lanesAndRepeatsDoNotMatter() throws {
    let data = try pictures(37, 32, channels: 3, seed: 9)
    let epoch = EpochKey(seed: 1, epoch: 2)
    let order = Array((0..<37).reversed())
    let found = try [1, 2, 2].map {
      try assembled(data, everything, order, epoch: epoch, lanes: $0)
    }
    #expect(found[0] == found[1] && found[1] == found[2])
    #expect(found[0].allSatisfy { $0.isFinite })
    // Without an epoch images stay as they are.
    #expect(
      try assembled(data, everything, [1], epoch: nil)
        == assembled(data, .init(), [1], epoch: epoch))
  }

  @Test func optionsAreJSON() throws {
    let (encoder, decoder) = (JSONEncoder(), JSONDecoder())
    encoder.outputFormatting = [.sortedKeys]
    for augmentation in [everything, .light, Augmentation()] {
      let data = try encoder.encode(augmentation)
      #expect(try decoder.decode(Augmentation.self, from: data) == augmentation)
    }
    let text = """
      {"rotation":5,"colorJitter":{"hue":0.1},"randomErasing":{"fill":127,"area":[0.1,0.2]}}
      """
    #expect(
      try decoder.decode(Augmentation.self, from: Data(text.utf8))
        == Augmentation(
          rotation: 5, colorJitter: ColorJitter(hue: 0.1),
          randomErasing: RandomErasing(area: 0.1...0.2, fill: .constant(127))))
    let encoded = String(decoding: try encoder.encode(everything), as: UTF8.self)
    #expect(encoded.contains(#""fill":"noise""#) && encoded.contains(#""mixup":0.4"#), "\(encoded)")
    for wrong in [
      #"{"rotation":200}"#, #"{"shift":-1}"#, #"{"mixup":-0.5}"#, #"{"zoom":-1}"#,
      #"{"colorJitter":{"hue":0.6}}"#, #"{"randomErasing":{"probability":2}}"#,
      #"{"randomErasing":{"fill":"red"}}"#, #"{"randomErasing":{"ratio":[0,1]}}"#,
    ] {
      #expect(throws: TrainingError.self, "\(wrong)") {
        try decoder.decode(Augmentation.self, from: Data(wrong.utf8))
      }
    }
  }

  @Test func mistakesAreSentences() throws {
    let data = try pictures(2, 4, channels: 3, seed: 1)
    for augmentation in [
      Augmentation(rotation: .nan), Augmentation(translation: 1.5), Augmentation(zoom: .infinity),
      Augmentation(shift: -1), Augmentation(colorJitter: ColorJitter(brightness: -0.1)),
      Augmentation(randomErasing: RandomErasing(area: -1...0.5)),
      Augmentation(randomErasing: RandomErasing(fill: .constant(.nan))), Augmentation(mixup: .nan),
    ] {
      #expect(throws: TrainingError.self, "\(augmentation)") {
        try BatchAssembler(data: data, normalization: nil, augmentation: augmentation)
      }
    }
    let error = #expect(throws: TrainingError.self) { try Augmentation(zoom: -1).check() }
    #expect(error?.description == "a zoom of -1.0 is outside 0.0 to 9.0")
  }
}
