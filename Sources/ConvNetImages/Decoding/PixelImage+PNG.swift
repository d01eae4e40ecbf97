import CConvNetPNG

extension PixelImage {
  /// The image as a PNG file, 8 bits a sample.
  public func pngBytes() -> [UInt8] {
    var image = unsafe png_image()
    unsafe image.version = png_uint_32(PNG_IMAGE_VERSION)
    unsafe image.width = png_uint_32(width)
    unsafe image.height = png_uint_32(height)
    unsafe image.format = png_uint_32(channels == 3 ? PNG_FORMAT_FLAG_COLOR : 0)
    // At most what zlib makes of pixels it cannot compress, and 1 KiB for headers.
    let raw = height * (rowCount + 1)
    let room = raw + (raw >> 12) + (raw >> 14) + (raw >> 20) + raw / 64 + 1024
    return unsafe [UInt8](unsafeUninitializedCapacity: room) { output, count in
      unsafe bytes.withUnsafeBytes { pixels in
        var size = room
        guard
          unsafe png_image_write_to_memory(
            &image, output.baseAddress, &size, 0, pixels.baseAddress, Int32(rowCount), nil) != 0
        else {
          fatalError("libpng cannot write \(height) × \(width) pixels into \(room) bytes.")
        }
        count = size
      }
    }
  }
}
