import CConvNetZlib

/// Writes pictures as PNG (ISO 15948): eight bits a channel, without filters, for pictures that people
/// look at.
package enum PNGFile {
  /// A picture as the bytes of a PNG file.
  ///
  /// - Parameters:
  ///   - pixels: `[height, width, channels]`.
  ///   - channels: 1 of grey, 2 with alpha, 3 of colours, 4 with alpha.
  package static func encode(
    _ pixels: [UInt8], width: Int, height: Int, channels: Int
  ) -> [UInt8] {
    guard let colorType = [1: 0, 2: 4, 3: 2, 4: 6][channels] as UInt8?, width > 0, height > 0,
      pixels.count == width * height * channels
    else {
      fatalError(
        "\(pixels.count) numbers are no picture of \(width) × \(height) pixels with \(channels) channels."
      )
    }
    var rows: [UInt8] = []
    rows.reserveCapacity(pixels.count + height)
    for start in stride(from: 0, to: pixels.count, by: width * channels) {
      rows.append(0)
      rows += pixels[start..<start + width * channels]
    }
    let header = bigEndian(width) + bigEndian(height) + [8, colorType, 0, 0, 0]
    return [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
      + chunk("IHDR", header) + chunk("IDAT", compressed(rows)) + chunk("IEND", [])
  }

  /// A chunk: length, type, data, and the CRC-32 of the last two.
  private static func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(type.utf8) + data
    let checksum = unsafe body.withUnsafeBufferPointer {
      unsafe crc32_z(0, $0.baseAddress, body.count)
    }
    return bigEndian(data.count) + body + bigEndian(Int(checksum))
  }

  private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var length = compressBound(UInt(bytes.count))
    var result = [UInt8](repeating: 0, count: Int(length))
    let status = unsafe compress2(&result, &length, bytes, UInt(bytes.count), 6)
    // Only memory can be missing: the room is enough and the level is one that there is.
    guard status == Z_OK else { fatalError("zlib cannot compress a picture (code \(status)).") }
    return Array(result[..<Int(length)])
  }

  private static func bigEndian(_ number: Int) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
  }
}
