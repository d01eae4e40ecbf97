import CConvNetPNG
import ConvNetFormats

/// PNG through libpng.
enum PNG {
  static let signature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

  /// The chunks that make the pixels; the others are kept from libpng, which would read them all.
  private static let essential: Set<String> = ["IHDR", "PLTE", "IDAT", "IEND"]

  /// Extents, channels and orientation; the chunks have to be complete.
  static func header(_ bytes: [UInt8], at path: String) throws -> ImageHeader {
    let chunks = try chunks(bytes, at: path)
    guard let first = chunks.first, first.name == "IHDR", first.data.count == 13 else {
      throw FileError(.malformed, "the PNG file does not begin with a header", at: path)
    }
    let fields = bytes[first.data]
    func number(_ offset: Int) -> Int {
      fields.dropFirst(offset).prefix(4).reduce(0) { $0 << 8 | Int($1) }
    }
    let (width, height) = (number(0), number(4))
    let (depth, type) = (Int(fields[first.data.lowerBound + 8]), fields[first.data.lowerBound + 9])
    let samples: [UInt8: Int] = [0: 1, 2: 3, 3: 1, 4: 2, 6: 4]
    guard let samples = samples[type], [1, 2, 4, 8, 16].contains(depth), width > 0, height > 0,
      max(width, height) < 1 << 24
    else {
      throw FileError(
        .malformed,
        "the PNG header is impossible: \(height) × \(width) pixels of \(depth) bits, "
          + "colour type \(type)", at: path)
    }
    let exif = chunks.first { $0.name == "eXIf" }
    return ImageHeader(
      height: height, width: width, channels: type == 0 || type == 4 ? 1 : 3,
      // Deflate makes at most 1032 bytes of one.
      leastByteCount: (width * samples * depth + 7) / 8 * height / 1032,
      orientation: exif.map { Exif.orientation(bytes[$0.data]) } ?? .upright)
  }

  /// Decodes to the channels that are stored, with 8 bits and no transparency.
  static func decode(_ file: ImageFile) throws -> PixelImage {
    var essence = signature
    essence.reserveCapacity(file.bytes.count)
    for chunk in try chunks(file.bytes, at: file.path) where essential.contains(chunk.name) {
      essence += file.bytes[(chunk.data.lowerBound - 8)..<(chunk.data.upperBound + 4)]
    }
    let header = file.header
    let (row, count) = (
      header.width * header.channels, header.height * header.width * header.channels
    )
    var message = [CChar](repeating: 0, count: 64)
    let pixels = try unsafe [UInt8](unsafeUninitializedCapacity: count) { output, initialized in
      let succeeded = unsafe essence.withUnsafeBufferPointer { bytes in
        unsafe convnet_png_read(
          bytes.baseAddress, bytes.count, output.baseAddress, row, header.height, &message)
      }
      guard succeeded == 1 else {
        let text = String(
          decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        throw FileError(.malformed, "the PNG data are damaged (\(text))", at: file.path)
      }
      initialized = count
    }
    return PixelImage(
      height: header.height, width: header.width, channels: header.channels, bytes: pixels)
  }

  // MARK: Chunks

  /// A name and where its data lie; its length and name before them, a checksum behind.
  private struct Chunk {
    var name: String
    var data: Range<Int>
  }

  /// All chunks to the end of the image; what follows it is ignored.
  private static func chunks(_ bytes: [UInt8], at path: String) throws -> [Chunk] {
    var chunks: [Chunk] = []
    var place = signature.count
    while place <= bytes.count - 12 {
      let length = bytes[place..<(place + 4)].reduce(0) { $0 << 8 | Int($1) }
      guard length <= bytes.count - place - 12 else { break }
      let name = String(decoding: bytes[(place + 4)..<(place + 8)], as: UTF8.self)
      chunks.append(Chunk(name: name, data: (place + 8)..<(place + 8 + length)))
      if name == "IEND" { return chunks }
      place += 12 + length
    }
    throw FileError(.truncated, "the PNG file ends too early", at: path)
  }
}
