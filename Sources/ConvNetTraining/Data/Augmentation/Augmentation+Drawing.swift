package import ConvNetGraph
import Glibc

// Every change has a purpose of its own in the generator, so that none moves the draws of another.
extension Augmentation {
  /// The generator of mirroring and shifts.
  package static func random(_ epoch: EpochKey) -> Philox { epoch.random("augmentation") }

  /// What moves whole pixels: pixel (y, x) comes from (y + dy, x + dx) of the perhaps mirrored image.
  package struct Change: Hashable, Sendable {
    package var mirrors = false
    package var dy = 0
    package var dx = 0

    /// Makes a change; by default none.
    package init(mirrors: Bool = false, dy: Int = 0, dx: Int = 0) {
      (self.mirrors, self.dy, self.dx) = (mirrors, dy, dx)
    }
  }

  /// The whole-pixel change of one sample.
  package func change(sample: Int, random: Philox) -> Change {
    let words = random.block(UInt64(sample))
    let range = UInt64(2 * shift + 1)
    func offset(_ word: UInt32) -> Int { Int((UInt64(word) * range) >> 32) - shift }
    return Change(
      mirrors: horizontalFlip && words[0] >> 31 == 1, dy: offset(words[1]), dx: offset(words[2]))
  }

  /// Where the pixels of a sample come from, all geometric changes together; nil where only whole
  /// pixels move.
  package func map(sample: Int, in epoch: EpochKey, height: Int, width: Int) -> AffineMap? {
    guard rotation != 0 || translation != 0 || zoom != 0 else { return nil }
    func draw(_ purpose: String) -> (Double, Double) {
      let words = epoch.random(purpose).block(UInt64(sample))
      return (words[0].symmetric, words[1].symmetric)
    }
    let move = draw("translation")
    return AffineMap(
      change(sample: sample, random: Self.random(epoch)),
      degrees: rotation == 0 ? 0 : rotation * draw("rotation").0,
      factor: zoom == 0 ? 1 : exp(log(1 + zoom) * draw("zoom").0),
      dy: translation * move.0 * Double(height), dx: translation * move.1 * Double(width),
      height: height, width: width)
  }
}

extension UInt32 {
  /// The word as a number in (0, 1).
  var unit: Double { (Double(self) + 0.5) * 0x1p-32 }

  /// The word as a number in (−1, 1).
  var symmetric: Double { 2 * unit - 1 }
}
