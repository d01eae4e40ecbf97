package import ConvNetGraph

/// Small changes of training images that keep their class: a pure function of (seed, epoch, sample).
public struct Augmentation: Hashable, Sendable, Codable {
  /// Whether every second image is mirrored, left to right.
  public var horizontalFlip: Bool
  /// An image moves by up to so many pixels in each direction; black comes in at the edges.
  public var shift: Int

  /// Makes a choice of changes.
  public init(horizontalFlip: Bool = false, shift: Int = 0) {
    self.horizontalFlip = horizontalFlip
    self.shift = shift
  }

  /// Mirroring and shifts by up to 2 pixels.
  public static var light: Augmentation { Augmentation(horizontalFlip: true, shift: 2) }

  /// What happens to one image: pixel (y, x) comes from (y + dy, x + dx) of the perhaps mirrored one.
  package struct Change: Hashable, Sendable {
    package var mirrors = false
    package var dy = 0
    package var dx = 0
  }

  /// The generator of an epoch.
  package static func random(_ epoch: EpochKey) -> Philox { epoch.random("augmentation") }

  /// The change of one sample.
  package func change(sample: Int, random: Philox) -> Change {
    let words = random.block(UInt64(sample))
    let range = UInt64(2 * shift + 1)
    func offset(_ word: UInt32) -> Int { Int((UInt64(word) * range) >> 32) - shift }
    return Change(
      mirrors: horizontalFlip && words[0] >> 31 == 1, dy: offset(words[1]), dx: offset(words[2]))
  }
}
