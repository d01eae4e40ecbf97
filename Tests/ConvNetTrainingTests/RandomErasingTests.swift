import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct RandomErasingTests {
  let epoch = EpochKey(seed: 4, epoch: 1)

  @Test func boxesAreWithinTheirBounds() {
    let erasing = RandomErasing(probability: 0.7, area: 0.1...0.3, ratio: 0.5...2)
    let (height, width) = (40, 30)
    let boxes = (0..<1000).compactMap {
      erasing.box(sample: $0, in: epoch, height: height, width: width)
    }
    // Four standard deviations of 1000 draws of probability 0.7: 4·√(0.21·1000) = 58.
    #expect(abs(boxes.count - 700) < 58, "\(boxes.count)")
    for box in boxes {
      #expect(box.rows.lowerBound >= 0 && box.rows.upperBound <= height)
      #expect(box.columns.lowerBound >= 0 && box.columns.upperBound <= width)
      // Rounding moves each side by half a pixel.
      let (h, w) = (Double(box.rows.count), Double(box.columns.count))
      #expect((h + 0.5) * (w + 0.5) >= 120 && (h - 0.5) * (w - 0.5) <= 360, "\(box)")
      #expect((h + 0.5) / (w - 0.5) >= 0.5 && (h - 0.5) / (w + 0.5) <= 2, "\(box)")
    }
    #expect(Set(boxes.map(\.rows.lowerBound)).count > 20)
    let tall = boxes.filter { $0.rows.count > $0.columns.count }.count
    #expect((0.35...0.65).contains(Double(tall) / Double(boxes.count)), "\(tall)")
    #expect(
      RandomErasing(probability: 0).box(sample: 1, in: epoch, height: 9, width: 9) == nil)
    // Nothing as long as this fits into a row.
    let long = RandomErasing(probability: 1, area: 0.5...1, ratio: 100...100)
    #expect(long.box(sample: 1, in: epoch, height: 9, width: 9) == nil)
    let whole = RandomErasing(probability: 1, area: 1...1, ratio: 1...1)
    #expect(
      whole.box(sample: 1, in: epoch, height: 9, width: 9) == .init(rows: 0..<9, columns: 0..<9))
  }

  /// Inside the box the fill, outside what was there, after normalisation.
  @Test(arguments: [RandomErasing.Fill.mean, .constant(51), .noise])
  func boxesAreFilled(fill: RandomErasing.Fill) throws {
    let (size, channels) = (16, 3)
    let data = try pictures(12, size, channels: channels, seed: 3)
    let normalization = try Normalization(
      scale: 1 / 255.0, mean: [0.1, 0.2, 0.4], standardDeviation: [0.5, 0.25, 0.125])
    let erasing = RandomErasing(probability: 0.8, fill: fill)
    let samples = Array(0..<12)
    func batch(_ augmentation: Augmentation) throws -> [Float] {
      try assembled(data, augmentation, samples, epoch: epoch, normalization: normalization)
    }
    let found = try batch(Augmentation(horizontalFlip: true, randomErasing: erasing))
    let plain = try batch(Augmentation(horizontalFlip: true))
    let constants = normalization.coefficients
    var noise: [Float] = []
    for sample in samples {
      let box = erasing.box(sample: sample, in: epoch, height: size, width: size)
      for index in 0..<size * size * channels {
        let (h, w, c) = (index / channels / size, index / channels % size, index % channels)
        let (value, place) = (found[sample * size * size * channels + index], "\(sample) \(index)")
        guard let box, box.rows.contains(h), box.columns.contains(w) else {
          #expect(value == plain[sample * size * size * channels + index], "\(place)")
          continue
        }
        switch fill {
        case .mean: #expect(value == 0, "\(place)")
        case .constant(let constant):
          #expect(
            value == constants.factors[c] * Float(constant) + constants.offsets[c], "\(place)")
        case .noise: noise.append(value)
        }
      }
    }
    guard fill == .noise else { return }
    // Uniform numbers of variance 1: the mean of n has the deviation 1/√n, that of squares √0.8/√n.
    let (count, limit) = (Float(noise.count), Float(3).squareRoot())
    #expect(noise.count > 500 && noise.allSatisfy { abs($0) <= limit })
    #expect(abs(noise.reduce(0, +) / count) < 5 / count.squareRoot())
    #expect(abs(noise.reduce(0) { $0 + $1 * $1 } / count - 1) < 5 / count.squareRoot())
    #expect(Set(noise).count == noise.count)
  }
}
