/// Small changes of training images that keep their class: a pure function of (seed, epoch, sample).
///
///     let augmentation = Augmentation(
///       horizontalFlip: true, rotation: 10, zoom: 0.1,
///       colorJitter: ColorJitter(brightness: 0.4, saturation: 0.4), randomErasing: RandomErasing(),
///       mixup: 0.2)
///
/// An image is mirrored, shifted, zoomed, turned and moved in one step; then its colours change, it is
/// normalised, a part of it is erased, and it is mixed with another of its batch. What is drawn for one
/// of these does not depend on which others are there. As JSON, what is left out is off.
public struct Augmentation: Hashable, Sendable {
  /// Whether every second image is mirrored, left to right.
  public var horizontalFlip: Bool
  /// An image moves by up to so many pixels in each direction, at most 65 536; black comes in at the edges.
  public var shift: Int
  /// An image turns about its centre by up to so many degrees either way, at most 180.
  public var rotation: Double
  /// An image moves by up to this part of its height and width, at most 1, by fractions of pixels too.
  public var translation: Double
  /// An image grows or shrinks by up to a factor 1 + zoom, one as likely as the other; in 0...9.
  public var zoom: Double
  /// Changes of brightness, contrast and colour.
  public var colorJitter: ColorJitter?
  /// A rectangle that is made unrecognisable.
  public var randomErasing: RandomErasing?
  /// The α of mixup, in 10⁻⁶...10⁶; 0 leaves it out.
  ///
  /// An image and its label are mixed with those of the next image of the batch, λ ~ Beta(α, α) (Zhang
  /// et al. 2018). The accuracy of training counts its own label.
  public var mixup: Double

  /// Makes a choice of changes.
  ///
  /// Numbers outside their range are refused by whoever takes the choice, with `TrainingError`.
  public init(
    horizontalFlip: Bool = false, shift: Int = 0, rotation: Double = 0, translation: Double = 0,
    zoom: Double = 0, colorJitter: ColorJitter? = nil, randomErasing: RandomErasing? = nil,
    mixup: Double = 0
  ) {
    self.horizontalFlip = horizontalFlip
    self.shift = shift
    self.rotation = rotation
    self.translation = translation
    self.zoom = zoom
    self.colorJitter = colorJitter
    self.randomErasing = randomErasing
    self.mixup = mixup
  }

  /// Mirroring and shifts by up to 2 pixels.
  public static var light: Augmentation { Augmentation(horizontalFlip: true, shift: 2) }

  /// Refuses numbers that no training can use.
  ///
  /// - Throws: `TrainingError`.
  package func check() throws {
    guard (0...1 << 16).contains(shift) else {
      throw TrainingError(.invalidOption, "images cannot move by up to \(shift) pixels")
    }
    try Self.check(rotation, "a rotation of up to", in: 0...180)
    try Self.check(translation, "a translation by up to the part", in: 0...1)
    try Self.check(zoom, "a zoom of", in: 0...9)
    // Below, λ's two Gamma numbers are both 0.
    if mixup != 0 { try Self.check(mixup, "mixup of α =", in: 1e-6...1e6) }
    try colorJitter?.check()
    try randomErasing?.check()
  }

  /// Refuses a number outside its range; NaN is in none.
  static func check(_ value: Double, _ what: String, in range: ClosedRange<Double>) throws {
    guard range.contains(value) else {
      throw TrainingError(
        .invalidOption,
        "\(what) \(value) is outside \(range.lowerBound) to \(range.upperBound)")
    }
  }
}

extension Augmentation: Codable {
  /// Reads a choice of changes; what is missing is off.
  ///
  /// - Throws: `DecodingError`, or `TrainingError` where a number is outside its range.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      horizontalFlip: values.decodeIfPresent(Bool.self, forKey: .horizontalFlip) ?? false,
      shift: values.decodeIfPresent(Int.self, forKey: .shift) ?? 0,
      rotation: values.decodeIfPresent(Double.self, forKey: .rotation) ?? 0,
      translation: values.decodeIfPresent(Double.self, forKey: .translation) ?? 0,
      zoom: values.decodeIfPresent(Double.self, forKey: .zoom) ?? 0,
      colorJitter: values.decodeIfPresent(ColorJitter.self, forKey: .colorJitter),
      randomErasing: values.decodeIfPresent(RandomErasing.self, forKey: .randomErasing),
      mixup: values.decodeIfPresent(Double.self, forKey: .mixup) ?? 0)
    try check()
  }
}
