import ConvNetGraph
import ConvNetTestSupport
import ConvNetTraining
import Testing

@Suite struct ColorJitterTests {
  func product(_ matrix: [Double], _ pixel: [Double]) -> [Double] {
    (0..<3).map { row in (0..<3).reduce(0) { $0 + matrix[3 * row + $1] * pixel[$1] } }
  }

  @Test func matricesByHand() {
    let pixel = [10.0, 20, 40]
    let tolerance = 64 * Double.ulpOfOne * 40
    expectClose(product(ColorChange().matrix, pixel), pixel, tolerance: tolerance)
    expectClose(
      product(ColorChange(brightness: 1.5).matrix, pixel), [15, 30, 60], tolerance: tolerance)
    let grey = 0.299 * 10 + 0.587 * 20 + 0.114 * 40
    expectClose(
      product(ColorChange(saturation: 0).matrix, pixel), [grey, grey, grey], tolerance: tolerance)
    expectClose(
      product(ColorChange(saturation: 0.5).matrix, pixel), pixel.map { ($0 + grey) / 2 },
      tolerance: tolerance)
    // A third of a turn makes red green, green blue and blue red.
    expectClose(
      product(ColorChange(turn: 1.0 / 3).matrix, pixel), [40, 10, 20], tolerance: tolerance)
    // Whatever it is, grey stays grey.
    expectClose(
      product(ColorChange(saturation: 1.7, turn: 0.2).matrix, [9, 9, 9]), [9, 9, 9],
      tolerance: tolerance)
  }

  /// Whole images of bytes and floats, cut off or not, against the definition in Double, step by step.
  @Test(arguments: [1, 2, 3]) func imagesByDefinition(channels: Int) throws {
    let jitter = ColorJitter(brightness: 0.6, contrast: 0.7, saturation: 0.8, hue: 0.3)
    let bytes = try pictures(3, 6, channels: channels, seed: 12)
    let floats = try TrainingData(
      images: bytes.images.converted(to: .float32), labels: bytes.labels, classCount: 2)
    let normalization = try Normalization(
      scale: 1 / 255.0, mean: [Double](repeating: 0.25, count: channels),
      standardDeviation: [Double](repeating: 0.5, count: channels))
    var cutOff = 0
    for (data, isCut) in [(bytes, true), (floats, false)] {
      for sample in 0..<3 {
        let epoch = EpochKey(seed: 13, epoch: sample)
        let found = try assembled(
          data, Augmentation(colorJitter: jitter), [sample], epoch: epoch,
          normalization: normalization)
        let pixels = Array(data.images.samples(sample..<sample + 1).doubles)
        let raw = definition(
          pixels, channels: channels, jitter.change(sample: sample, in: epoch))
        cutOff += raw.filter { $0 < 0 || $0 > 255 }.count
        let expected = raw.map {
          ((isCut ? min(max($0, 0), 255) : $0) / 255 - 0.25) / 0.5
        }
        // A dozen roundings of numbers that stay below 255·(1.6·1.7·2·1.8 + 2) in parts of 127.5.
        expectClose(
          found.map { Double($0) }, expected, tolerance: 12 * Double(Float.ulpOfOne) * 24,
          "sample \(sample)")
      }
    }
    #expect(cutOff > 10)
  }

  /// Brightness, contrast, saturation and hue, one after the other.
  func definition(_ pixels: [Double], channels: Int, _ change: ColorChange) -> [Double] {
    func grey(_ pixel: ArraySlice<Double>) -> Double {
      let weights = channels == 3 ? [0.299, 0.587, 0.114] : pixel.map { _ in 1 / Double(channels) }
      return zip(weights, pixel).reduce(0) { $0 + $1.0 * $1.1 }
    }
    var y = pixels.map { $0 * change.brightness }
    let places = stride(from: 0, to: y.count, by: channels)
    let mean =
      places.reduce(0) { $0 + grey(y[$1..<$1 + channels]) } / Double(y.count / channels)
    y = y.map { mean + change.contrast * ($0 - mean) }
    guard channels == 3 else { return y }
    for place in places {
      let own = grey(y[place..<place + 3])
      let saturated = y[place..<place + 3].map { own + change.saturation * ($0 - own) }
      let turned = product(ColorChange(turn: change.turn).matrix, saturated)
      y.replaceSubrange(place..<place + 3, with: turned)
    }
    return y
  }

  @Test func drawsFillTheirRanges() {
    let jitter = ColorJitter(brightness: 0.4, contrast: 0.3, saturation: 0.2, hue: 0.1)
    let epoch = EpochKey(seed: 2, epoch: 7)
    let changes = (0..<500).map { jitter.change(sample: $0, in: epoch) }
    let ranges: [(values: [Double], middle: Double, width: Double)] = [
      (changes.map(\.brightness), 1, 0.4), (changes.map(\.contrast), 1, 0.3),
      (changes.map(\.saturation), 1, 0.2), (changes.map(\.turn), 0, 0.1),
    ]
    for (values, middle, width) in ranges {
      #expect(values.allSatisfy { abs($0 - middle) < width })
      #expect((values.max() ?? 0) > middle + 0.95 * width)
      #expect((values.min() ?? 2) < middle - 0.95 * width)
    }
  }
}
