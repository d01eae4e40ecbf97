/// The one thing that is read of EXIF metadata: a TIFF header and its first directory (CIPA DC-008).
enum Exif {
  /// The orientation that a TIFF block states; upright where it states none, or nonsense.
  static func orientation(_ tiff: ArraySlice<UInt8>) -> Orientation {
    guard tiff.count >= 8 else { return .upright }
    let isLittle: Bool
    switch (tiff[tiff.startIndex], tiff[tiff.startIndex + 1]) {
    case (0x49, 0x49): isLittle = true
    case (0x4d, 0x4d): isLittle = false
    default: return .upright
    }
    /// A number of `count` bytes, nil outside the block.
    func number(_ offset: Int, _ count: Int) -> Int? {
      guard offset <= tiff.count - count else { return nil }
      let start = tiff.startIndex + offset
      let field = tiff[start..<(start + count)]
      return isLittle
        ? field.reversed().reduce(0) { $0 << 8 | Int($1) } : field.reduce(0) { $0 << 8 | Int($1) }
    }
    guard number(2, 2) == 42, let directory = number(4, 4), let entries = number(directory, 2)
    else { return .upright }
    for entry in 0..<entries {
      // Tag, type (3: 16 bits), count, value; a value of at most 4 bytes lies in the entry itself.
      let place = directory + 2 + 12 * entry
      guard let tag = number(place, 2) else { return .upright }
      guard tag == 274 else { continue }
      guard number(place + 2, 2) == 3, let value = number(place + 8, 2) else { return .upright }
      return Orientation(rawValue: value) ?? .upright
    }
    return .upright
  }
}
