import ConvNetGraph
import Glibc

/// A rectangle of an image, at a random place, of a random size and shape, is overwritten.
///
/// This is random erasing (Zhong et al. 2017, algorithm 1) but for two things: the ratio is drawn evenly on
/// a logarithmic scale, and where none of ten rectangles fits, the image stays as it is. It comes after
/// normalisation.
public struct RandomErasing: Hashable, Sendable {
  /// What a rectangle is overwritten with.
  public enum Fill: Hashable, Sendable {
    /// 0 after normalisation: the mean of the data.
    case mean
    /// A value of the stored pixels, such as 0 to 255, in all channels.
    case constant(Double)
    /// Numbers of mean 0 and variance 1 after normalisation, uniform in ±√3.
    case noise
  }

  /// How often an image loses a rectangle, in 0...1.
  public var probability: Double
  /// The smallest and largest part of the area that is lost, within 0...1.
  public var area: ClosedRange<Double>
  /// The smallest and largest ratio of its height to its width, within 10⁻³...10³.
  public var ratio: ClosedRange<Double>
  /// What it is overwritten with.
  public var fill: Fill

  /// Makes a choice; the default probability, area and ratio are the paper's, which fills with random
  /// values.
  ///
  /// Numbers outside their range are refused by whoever takes the choice, with `TrainingError`.
  public init(
    probability: Double = 0.5, area: ClosedRange<Double> = 0.02...0.4,
    ratio: ClosedRange<Double> = 0.3...(1 / 0.3), fill: Fill = .mean
  ) {
    self.probability = probability
    self.area = area
    self.ratio = ratio
    self.fill = fill
  }

  func check() throws {
    try Augmentation.check(probability, "erasing with the probability", in: 0...1)
    try Augmentation.check(area.lowerBound, "erasing an area from", in: 0...1)
    try Augmentation.check(area.upperBound, "erasing an area up to", in: 0...1)
    try Augmentation.check(ratio.lowerBound, "erasing a ratio from", in: 1e-3...1e3)
    try Augmentation.check(ratio.upperBound, "erasing a ratio up to", in: 1e-3...1e3)
    if case .constant(let value) = fill, !value.isFinite {
      throw TrainingError(.invalidOption, "images cannot be erased with \(value)")
    }
  }

  /// A rectangle of whole pixels.
  package struct Box: Hashable, Sendable {
    package var rows: Range<Int>
    package var columns: Range<Int>

    /// Makes a rectangle.
    package init(rows: Range<Int>, columns: Range<Int>) {
      (self.rows, self.columns) = (rows, columns)
    }
  }

  /// How often a rectangle is drawn until one fits into the image.
  private static let tries: UInt64 = 10

  /// What a sample loses; nil where it loses nothing, or nothing that was drawn fitted.
  package func box(sample: Int, in epoch: EpochKey, height: Int, width: Int) -> Box? {
    let random = epoch.random("erasing")
    let first = UInt64(sample) * (Self.tries + 1)
    guard random.block(first)[0].unit < probability else { return nil }
    for attempt in 1...Self.tries {
      let words = random.block(first + attempt)
      func between(_ range: ClosedRange<Double>, _ word: UInt32) -> Double {
        range.lowerBound + (range.upperBound - range.lowerBound) * word.unit
      }
      let pixels = between(area, words[0]) * Double(height * width)
      let shape = exp(between(log(ratio.lowerBound)...log(ratio.upperBound), words[1]))
      let h = (pixels * shape).squareRoot().rounded()
      let w = (pixels / shape).squareRoot().rounded()
      guard h <= Double(height), w <= Double(width) else { continue }
      let (rows, columns) = (Int(h), Int(w))
      let top = Int(words[2].unit * Double(height - rows + 1))
      let left = Int(words[3].unit * Double(width - columns + 1))
      return Box(rows: top..<top + rows, columns: left..<left + columns)
    }
    return nil
  }

  /// Overwrites a rectangle of a normalised image `[height, width, channels]`.
  func erase(
    _ box: Box, of image: UnsafeMutablePointer<Float>, width: Int, channels: Int, sample: Int,
    in epoch: EpochKey, factors: UnsafeBufferPointer<Float>, offsets: UnsafeBufferPointer<Float>
  ) {
    let noise = epoch.random("erasing noise")
    let rowSize = box.columns.count * channels
    for (index, h) in box.rows.enumerated() {
      let row = image + (h * width + box.columns.lowerBound) * channels
      switch fill {
      case .mean: row.update(repeating: 0, count: rowSize)
      case .constant(let value):
        for i in 0..<rowSize {
          row[i] = factors[i % channels] * Float(value) + offsets[i % channels]
        }
      case .noise:
        // Blocks of a row begin anew: 2³² of them a sample, more than an image has elements.
        let blocks = (rowSize + 3) / 4
        for block in 0..<blocks {
          let words = noise.block(UInt64(sample) << 32 | UInt64(index * blocks + block))
          for i in 4 * block..<min(4 * block + 4, rowSize) {
            row[i] = Float(3.0.squareRoot() * words[i % 4].symmetric)
          }
        }
      }
    }
  }
}

extension RandomErasing: Codable {
  private enum CodingKeys: String, CodingKey { case probability, area, ratio, fill }

  /// Reads a choice; what is missing has the default of `init(probability:area:ratio:fill:)`.
  ///
  /// - Throws: `DecodingError`, or `TrainingError` where a number is outside its range.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let standard = RandomErasing()
    typealias Bounds = ClosedRange<Double>
    self.init(
      probability: try values.decodeIfPresent(Double.self, forKey: .probability)
        ?? standard.probability,
      area: try values.decodeIfPresent(Bounds.self, forKey: .area) ?? standard.area,
      ratio: try values.decodeIfPresent(Bounds.self, forKey: .ratio) ?? standard.ratio,
      fill: try values.decodeIfPresent(Fill.self, forKey: .fill) ?? standard.fill)
    try check()
  }
}

extension RandomErasing.Fill: Codable {
  /// Reads “mean”, “noise” or a number.
  ///
  /// - Throws: `DecodingError` where there is neither a number nor a word, `TrainingError` where it is
  ///   another word.
  public init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if let number = try? value.decode(Double.self) {
      self = .constant(number)
      return
    }
    switch try value.decode(String.self) {
    case "mean": self = .mean
    case "noise": self = .noise
    case let name:
      throw TrainingError(
        .invalidOption, "images are erased with “mean”, “noise” or a number, not with “\(name)”")
    }
  }

  /// Writes “mean”, “noise” or a number.
  ///
  /// - Throws: `EncodingError` as the encoder throws it.
  public func encode(to encoder: any Encoder) throws {
    var value = encoder.singleValueContainer()
    switch self {
    case .mean: try value.encode("mean")
    case .noise: try value.encode("noise")
    case .constant(let number): try value.encode(number)
    }
  }
}
