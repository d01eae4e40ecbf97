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
}
