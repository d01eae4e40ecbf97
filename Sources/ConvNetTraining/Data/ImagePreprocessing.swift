public import ConvNetGraph

/// What makes a network's input of an image of any size, before pixels are normalised: the short side
/// becomes `shortSide`, and the middle of `height` × `width` is cut out.
///
/// It belongs to the model, as metadata, so that images are predicted as they were evaluated in training.
public struct ImagePreprocessing: Hashable, Sendable {
  /// How pixels between pixels are found.
  public enum Filter: String, Hashable, Sendable, CaseIterable {
    /// Straight lines, the weights spread as far as an image is made smaller.
    case bilinear
    /// Cubic polynomials, a = −½, spread likewise.
    case bicubic
  }

  /// Rows of the input.
  public var height: Int
  /// Columns of the input.
  public var width: Int
  /// 1 (grey) or 3 (red, green, blue).
  public var channels: Int
  /// What the short side becomes before the middle is cut out; at least the larger of both extents.
  public var shortSide: Int
  /// How pixels between pixels are found.
  public var filter: Filter

  /// The share of an image's short side that evaluation cuts out, as is usual since AlexNet: 224 of 256.
  public static let usualShare = 224.0 / 256

  /// Makes a rule.
  ///
  /// - Parameters:
  ///   - height: rows of the input.
  ///   - width: columns of the input; as many unless given.
  ///   - channels: 1 or 3.
  ///   - shortSide: what the short side becomes; 256/224 of the larger extent unless given, and no more
  ///     than that extent where it is below 64.
  ///   - filter: how pixels between pixels are found.
  /// - Throws: `TrainingError` where a number is outside its range.
  public init(
    height: Int, width: Int? = nil, channels: Int = 3, shortSide: Int? = nil,
    filter: Filter = .bilinear
  ) throws {
    let width = width ?? height
    let (least, limit) = (max(height, width), 1 << 16)
    guard height >= 1, width >= 1, least <= limit, channels == 1 || channels == 3 else {
      throw TrainingError(
        .invalidOption,
        "images cannot be made \(height) × \(width) × \(channels): extents are 1 to \(limit), "
          + "channels 1 or 3")
    }
    let usual = least < 64 ? least : Int((Double(least) / Self.usualShare).rounded())
    let side = shortSide ?? usual
    guard side >= least, side <= 2 * limit else {
      throw TrainingError(
        .invalidOption, "no \(height) × \(width) pixels can be cut out of a short side of \(side)")
    }
    self.height = height
    self.width = width
    self.channels = channels
    self.shortSide = side
    self.filter = filter
  }

  /// The shape of an input, `[H, W, C]`.
  public var shape: Shape { [height, width, channels] }
}

extension Model {
  private static let imageKey = "preprocessing.image"
  private static let shortSideKey = "preprocessing.short_side"
  private static let filterKey = "preprocessing.filter"

  /// How images of any size are made an input of this model, kept in its metadata; nil where that is not
  /// known, or cannot be read.
  public var imagePreprocessing: ImagePreprocessing? {
    get {
      let shape = metadata[Self.imageKey]?.split(separator: " ").map { Int($0) } ?? []
      guard shape.count == 3, let height = shape[0], let width = shape[1], let channels = shape[2],
        let side = metadata[Self.shortSideKey].flatMap({ Int($0) }),
        let filter = metadata[Self.filterKey].flatMap(ImagePreprocessing.Filter.init(rawValue:))
      else { return nil }
      return try? ImagePreprocessing(
        height: height, width: width, channels: channels, shortSide: side, filter: filter)
    }
    set {
      metadata[Self.imageKey] = newValue.map { "\($0.height) \($0.width) \($0.channels)" }
      metadata[Self.shortSideKey] = newValue.map { "\($0.shortSide)" }
      metadata[Self.filterKey] = newValue?.filter.rawValue
    }
  }
}
