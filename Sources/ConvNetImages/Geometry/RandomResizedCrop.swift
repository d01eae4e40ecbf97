public import ConvNetGraph
import ConvNetTraining
import Glibc

/// A part of random area and proportions, resized to what the network sees: the augmentation that
/// image classifiers are trained with (Szegedy et al., "Going deeper with convolutions", 2015, section
/// 6), as torchvision draws it.
///
/// Ten times an area, uniform in `areas`, and a ratio of width to height, whose logarithm is uniform, are
/// drawn until such a box fits; then its place is. If none fits, it is the largest box in the middle
/// whose proportions are allowed.
public struct RandomResizedCrop: Hashable, Sendable, Codable {
  /// Areas, as parts of the image's, above 0 and at most 1.
  public var areas: ClosedRange<Double>
  /// Ratios of width to height, above 0 and finite.
  public var ratios: ClosedRange<Double>
  /// Whether every second box is mirrored, left to right.
  public var isMirrored: Bool

  /// Blocks of random words that belong to one sample.
  static let blocksPerSample: UInt64 = 16
  private static let tries = 10

  /// Makes a choice; the defaults are those of the paper.
  ///
  /// Numbers outside their range are refused by whoever takes the choice, with `TrainingError`.
  public init(
    areas: ClosedRange<Double> = 0.08...1, ratios: ClosedRange<Double> = 0.75...(4.0 / 3),
    isMirrored: Bool = true
  ) {
    self.areas = areas
    self.ratios = ratios
    self.isMirrored = isMirrored
  }

  /// Refuses numbers that mean nothing.
  ///
  /// - Throws: `TrainingError`.
  package func check() throws {
    guard areas.lowerBound > 0, areas.upperBound <= 1 else {
      throw TrainingError(.invalidOption, "crops have areas above 0 and up to 1, not \(areas)")
    }
    guard ratios.lowerBound > 0, ratios.upperBound.isFinite else {
      throw TrainingError(.invalidOption, "crops have ratios above 0, not \(ratios)")
    }
  }

  /// The box of one sample, whole pixels of an image of so many.
  ///
  /// - Parameters:
  ///   - height: rows of the image.
  ///   - width: pixels of a row.
  ///   - sample: the sample's number, to which 16 blocks of the sequence belong.
  ///   - random: a sequence, such as an epoch's; a pure function of this and the sample.
  public func view(height: Int, width: Int, sample: Int, random: Philox) -> ImageView {
    let first = UInt64(sample) * Self.blocksPerSample
    let mirrors = isMirrored && random.block(first + UInt64(Self.tries))[0] >> 31 == 1
    let logarithms = (log(ratios.lowerBound), log(ratios.upperBound))
    for attempt in 0..<Self.tries {
      let words = random.block(first + UInt64(attempt))
      let area =
        Double(height) * Double(width) * Self.number(words[0], areas.lowerBound, areas.upperBound)
      let ratio = exp(Self.number(words[1], logarithms.0, logarithms.1))
      let columns = (area * ratio).squareRoot().rounded(.toNearestOrEven)
      let rows = (area / ratio).squareRoot().rounded(.toNearestOrEven)
      guard columns >= 1, columns <= Double(width), rows >= 1, rows <= Double(height) else {
        continue
      }
      func place(_ word: UInt32, _ room: Double) -> Double {
        Double((UInt64(word) * (UInt64(room) + 1)) >> 32)
      }
      let box = ImageBox(
        top: place(words[2], Double(height) - rows), left: place(words[3], Double(width) - columns),
        height: rows, width: columns)
      return ImageView(box, isMirrored: mirrors)
    }
    return ImageView(middle(height: height, width: width), isMirrored: mirrors)
  }

  /// A number from `low` to `high`, of 32 random bits.
  private static func number(_ word: UInt32, _ low: Double, _ high: Double) -> Double {
    low + (high - low) * (Double(word) * 0x1p-32)
  }

  /// The largest box in the middle with a ratio that is allowed.
  private func middle(height: Int, width: Int) -> ImageBox {
    var (rows, columns) = (Double(height), Double(width))
    if columns / rows < ratios.lowerBound {
      rows = (columns / ratios.lowerBound).rounded(.toNearestOrEven)
    } else if columns / rows > ratios.upperBound {
      columns = (rows * ratios.upperBound).rounded(.toNearestOrEven)
    }
    (rows, columns) = (max(rows, 1), max(columns, 1))
    return ImageBox(
      top: ((Double(height) - rows) / 2).rounded(.down),
      left: ((Double(width) - columns) / 2).rounded(.down), height: rows, width: columns)
  }
}
