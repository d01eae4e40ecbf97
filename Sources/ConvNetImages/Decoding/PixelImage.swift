/// A decoded image: bytes of rows, pixels and channels, `[height, width, channels]`.
public struct PixelImage: Hashable, Sendable {
  /// Rows.
  public let height: Int
  /// Pixels of a row.
  public let width: Int
  /// 1 (grey) or 3 (red, green, blue).
  public let channels: Int
  /// `height · width · channels` levels from 0 to 255, the top row first.
  public let bytes: [UInt8]

  /// Makes an image of `height · width · channels` bytes with 1 or 3 channels; anything else stops the
  /// program.
  public init(height: Int, width: Int, channels: Int, bytes: [UInt8]) {
    guard height > 0, width > 0, channels == 1 || channels == 3 else {
      fatalError("There is no image of \(height) × \(width) pixels with \(channels) channels.")
    }
    guard bytes.count == height * width * channels else {
      fatalError(
        "\(bytes.count) bytes are not an image of \(height) × \(width) × \(channels) levels.")
    }
    self.height = height
    self.width = width
    self.channels = channels
    self.bytes = bytes
  }

  /// Bytes of a row.
  var rowCount: Int { width * channels }

  /// The part below and to the right of a pixel.
  ///
  /// A part that is empty or does not lie inside stops the program.
  public func cropped(top: Int, left: Int, height: Int, width: Int) -> PixelImage {
    guard top >= 0, left >= 0, height > 0, width > 0, top <= self.height - height,
      left <= self.width - width
    else {
      fatalError(
        "\(height) × \(width) pixels from (\(top), \(left)) do not lie in an image of "
          + "\(self.height) × \(self.width).")
    }
    var result: [UInt8] = []
    result.reserveCapacity(height * width * channels)
    for y in top..<(top + height) {
      let start = y * rowCount + left * channels
      result += bytes[start..<(start + width * channels)]
    }
    return PixelImage(height: height, width: width, channels: channels, bytes: result)
  }

  /// The middle; odd margins are rounded to even, as torchvision's CenterCrop does.
  ///
  /// A part that is empty or larger than the image stops the program.
  public func centreCropped(height: Int, width: Int) -> PixelImage {
    func margin(_ all: Int, _ part: Int) -> Int {
      Int((Double(all - part) / 2).rounded(.toNearestOrEven))
    }
    return cropped(
      top: margin(self.height, height), left: margin(self.width, width), height: height,
      width: width)
  }

  /// Mirrored, left to right.
  public func mirrored() -> PixelImage { oriented(.mirrored) }

  /// One channel, Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) in 16 bits of fraction.
  public func grey() -> PixelImage {
    guard channels == 3 else { return self }
    return unsafe mapped(channels: 1) { pixels, y in
      for i in y.indices {
        let r = unsafe 19595 * UInt32(pixels[3 * i])
        let g = unsafe 38470 * UInt32(pixels[3 * i + 1])
        let b = unsafe 7471 * UInt32(pixels[3 * i + 2])
        unsafe y[i] = UInt8(truncatingIfNeeded: (r + g + b + 0x8000) >> 16)
      }
    }
  }

  /// Three channels; a grey image has the same three times.
  public func rgb() -> PixelImage {
    guard channels == 1 else { return self }
    return unsafe mapped(channels: 3) { levels, pixels in
      for i in levels.indices {
        let level = unsafe levels[i]
        unsafe pixels[3 * i] = level
        unsafe pixels[3 * i + 1] = level
        unsafe pixels[3 * i + 2] = level
      }
    }
  }

  /// An image of the same extents whose bytes a closure fills, all of them.
  private func mapped(
    channels: Int,
    _ body: (UnsafeBufferPointer<UInt8>, UnsafeMutableBufferPointer<UInt8>) -> Void
  ) -> PixelImage {
    let count = height * width * channels
    let result = unsafe [UInt8](unsafeUninitializedCapacity: count) { output, initialized in
      unsafe bytes.withUnsafeBufferPointer { input in
        unsafe body(input, UnsafeMutableBufferPointer(rebasing: output[..<count]))
      }
      initialized = count
    }
    return PixelImage(height: height, width: width, channels: channels, bytes: result)
  }
}
