import ConvNetFormats

extension PixelImage {
  /// The image as a PNG file, 8 bits a sample.
  public func pngBytes() -> [UInt8] {
    PNGFile.encode(bytes, width: width, height: height, channels: channels)
  }
}
