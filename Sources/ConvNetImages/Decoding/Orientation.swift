/// How a camera was held: what has to be done to the stored pixels, numbered as EXIF does (CIPA
/// DC-008, tag 274).
enum Orientation: Int, Sendable {
  case upright = 1
  case mirrored
  case halfTurn
  case upsideDown
  case transposed
  case quarterTurn
  case transverse
  case threeQuarterTurn

  /// Whether rows become columns.
  var swapsAxes: Bool { rawValue >= Self.transposed.rawValue }

  /// The pixel of a stored image of `height` × `width` that the upright one begins with, and the
  /// distances to those that its next row and its next column begin with.
  func walk(height: Int, width: Int) -> (start: Int, row: Int, column: Int) {
    let last = height * width - 1
    return switch self {
    case .upright: (0, width, 1)
    case .mirrored: (width - 1, width, -1)
    case .halfTurn: (last, -width, -1)
    case .upsideDown: (last - (width - 1), -width, 1)
    case .transposed: (0, 1, width)
    case .quarterTurn: (last - (width - 1), 1, -width)
    case .transverse: (last, -1, -width)
    case .threeQuarterTurn: (width - 1, -1, width)
    }
  }
}

extension PixelImage {
  /// The image as it is to be seen.
  func oriented(_ orientation: Orientation) -> PixelImage {
    guard orientation != .upright else { return self }
    let walk = orientation.walk(height: height, width: width)
    let (rows, columns) = orientation.swapsAxes ? (width, height) : (height, width)
    let channels = channels
    let result = unsafe [UInt8](unsafeUninitializedCapacity: bytes.count) { output, count in
      unsafe bytes.withUnsafeBufferPointer { input in
        var to = 0
        for y in 0..<rows {
          var from = (walk.start + y * walk.row) * channels
          for _ in 0..<columns {
            for c in 0..<channels { unsafe output[to + c] = input[from + c] }
            to += channels
            from += walk.column * channels
          }
        }
        count = to
      }
    }
    return PixelImage(height: rows, width: columns, channels: channels, bytes: result)
  }
}
