/// What an image file says about itself before its pixels.
struct ImageHeader: Sendable {
  /// Extents as stored, before the orientation is applied.
  var height: Int
  var width: Int
  /// Channels of the decoded image, 1 or 3.
  var channels: Int
  /// The fewest bytes that so many pixels can be packed into.
  var leastByteCount: Int
  /// Whether a JPEG file has cyan, magenta, yellow and black.
  var isCMYK = false
  var orientation: Orientation
}
