/// A part of an image, in pixels from its upper left corner; borders may lie between pixels.
public struct ImageBox: Hashable, Sendable {
  /// The upper border.
  public var top: Double
  /// The left border.
  public var left: Double
  /// From the upper border to the lower.
  public var height: Double
  /// From the left border to the right.
  public var width: Double

  /// Makes a box.
  public init(top: Double, left: Double, height: Double, width: Double) {
    self.top = top
    self.left = left
    self.height = height
    self.width = width
  }

  /// Whether it has an area and lies in an image of so many pixels, but for rounding.
  func lies(inHeight rows: Int, width columns: Int) -> Bool {
    let slack = 1e-6
    return height > 0 && width > 0 && top >= 0 && left >= 0
      && top + height <= Double(rows) + slack && left + width <= Double(columns) + slack
  }

  /// The same part of the image at another resolution.
  func scaled(vertically y: Double, horizontally x: Double) -> ImageBox {
    ImageBox(top: top * y, left: left * x, height: height * y, width: width * x)
  }
}

/// What of an image is looked at, and whether in a mirror.
public struct ImageView: Hashable, Sendable {
  /// The part.
  public var box: ImageBox
  /// Whether it is mirrored, left to right.
  public var isMirrored: Bool

  /// Makes a view.
  public init(_ box: ImageBox, isMirrored: Bool = false) {
    self.box = box
    self.isMirrored = isMirrored
  }

  /// The whole of an image of so many pixels.
  public static func whole(height: Int, width: Int) -> ImageView {
    ImageView(ImageBox(top: 0, left: 0, height: Double(height), width: Double(width)))
  }

  /// What images are evaluated by: the middle of the image that is resized until its shorter side has
  /// size / fraction pixels.
  ///
  /// With the fraction 224/256 this is the usual resizing to 256 and cropping to 224, or in
  /// proportion, rounded where torchvision's Resize and CenterCrop round: seen through this view, an
  /// image of `height` × `width` gives the same pixels as both one after the other.
  ///
  /// - Parameters:
  ///   - size: height and width of what the network sees.
  ///   - fraction: in (0, 1].
  ///   - height: rows of the image.
  ///   - width: pixels of a row.
  public static func centre(size: Int, fraction: Double = 0.875, height: Int, width: Int)
    -> ImageView
  {
    guard size > 0, fraction > 0, fraction <= 1 else {
      fatalError("There is no middle of \(size) pixels that is \(fraction) of a side.")
    }
    let (rows, columns) = PixelImage.extents(
      shortSide: max(Int((Double(size) / fraction).rounded()), size), height: height, width: width)
    func margin(_ count: Int) -> Double {
      (Double(count - size) / 2).rounded(.toNearestOrEven)
    }
    let pixels = ImageBox(
      top: margin(rows), left: margin(columns), height: Double(size), width: Double(size))
    return ImageView(
      pixels.scaled(
        vertically: Double(height) / Double(rows), horizontally: Double(width) / Double(columns)))
  }
}
