import ConvNetFormats

/// A JPEG or PNG file: its bytes, with what its header says.
///
/// Pixels are decoded when they are asked for. The kind of file is told by its first bytes, not by its
/// name. Images come out the right way up, as EXIF says the camera was held. Colours are the numbers in
/// the file: embedded profiles and gamma are not applied, and transparency is dropped rather than
/// blended, as Pillow's `convert("RGB")` has it. Every error is a `FileError`, which names the file.
public struct ImageFile: Sendable {
  /// A kind of file that is read.
  public enum Format: String, Hashable, Sendable {
    /// JPEG, through libjpeg-turbo.
    case jpeg = "JPEG"
    /// PNG, through libpng.
    case png = "PNG"
  }

  /// The channels that a decoded image is to have.
  public enum Channels: Hashable, Sendable {
    /// 1 where the file is grey, 3 where it has colours or a palette.
    case asStored
    /// 1. Of a JPEG file this is its Y channel, of others `PixelImage.grey()`.
    case grey
    /// 3.
    case rgb

    /// How many of a file that has `stored`.
    func count(stored: Int) -> Int {
      switch self {
      case .asStored: stored
      case .grey: 1
      case .rgb: 3
      }
    }
  }

  /// The most pixels that are decoded unless more are allowed.
  public static let defaultPixelLimit = 100_000_000

  /// Where the bytes came from, for messages.
  public let path: String
  /// What kind of file it is.
  public let format: Format
  let bytes: [UInt8]
  let header: ImageHeader

  /// Rows of the upright image.
  public var height: Int { header.orientation.swapsAxes ? header.width : header.height }
  /// Pixels of a row of the upright image.
  public var width: Int { header.orientation.swapsAxes ? header.height : header.width }
  /// Channels as stored: 1 where the file is grey, else 3.
  public var channels: Int { header.channels }

  /// Reads a file, and its header.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - pixelLimit: more are refused before memory is taken for them.
  /// - Throws: `FileError`.
  public init(_ path: String, pixelLimit: Int = ImageFile.defaultPixelLimit) throws {
    try self.init(FileReader(path), pixelLimit: pixelLimit)
  }

  /// Reads a file that has been opened, and its header.
  init(_ file: FileReader, pixelLimit: Int = ImageFile.defaultPixelLimit) throws {
    let path = file.path
    guard file.size > 0 else { throw FileError(.truncated, "the file is empty", at: path) }
    // So that another kind of file is not read to its end.
    _ = try Self.format(of: file.bytes(count: min(file.size, 16), at: 0), at: path)
    // Stored without any compression, at 16 bits with transparency, and with as much beside it.
    let (limit, overflow) = pixelLimit.multipliedReportingOverflow(by: 16)
    guard overflow || file.size - (1 << 20) <= limit else {
      throw FileError(
        .tooLarge, "\(file.size) bytes are more than an image of \(pixelLimit) pixels needs",
        at: path)
    }
    try self.init(
      bytes: try file.bytes(count: file.size, at: 0), named: path, pixelLimit: pixelLimit)
  }

  /// Takes the bytes of a file, and reads its header.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - name: what messages call it.
  ///   - pixelLimit: more are refused before memory is taken for them.
  /// - Throws: `FileError`.
  public init(
    bytes: [UInt8], named name: String, pixelLimit: Int = ImageFile.defaultPixelLimit
  ) throws {
    path = name
    self.bytes = bytes
    format = try Self.format(of: bytes, at: name)
    header =
      switch format {
      case .jpeg: try JPEG.header(bytes, at: name)
      case .png: try PNG.header(bytes, at: name)
      }
    guard header.height <= pixelLimit / header.width else {
      throw FileError(
        .tooLarge,
        "has \(header.height) × \(header.width) pixels, more than the limit of \(pixelLimit)",
        at: name)
    }
    guard header.leastByteCount <= bytes.count else {
      throw FileError(
        .truncated,
        "\(bytes.count) bytes cannot hold the \(header.height) × \(header.width) pixels that the "
          + "header declares", at: name)
    }
  }

  /// Reads and decodes a file.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - channels: what the image is to have.
  ///   - minimumSide: as for the method `decode`.
  ///   - pixelLimit: more are refused before memory is taken for them.
  /// - Throws: `FileError`.
  public static func decode(
    _ path: String, channels: Channels = .asStored, minimumSide: Int? = nil,
    pixelLimit: Int = ImageFile.defaultPixelLimit
  ) throws -> PixelImage {
    try ImageFile(path, pixelLimit: pixelLimit).decode(
      channels: channels, minimumSide: minimumSide)
  }

  /// Decodes the pixels.
  ///
  /// - Parameters:
  ///   - channels: what the image is to have.
  ///   - minimumSide: a JPEG file may be decoded at a half, a quarter or an eighth of its extents,
  ///     rounded up, as long as its sides keep at least so many pixels (Pillow's `draft`): a
  ///     fraction of the time, for who makes the image smaller anyway.
  /// - Throws: `FileError`.
  public func decode(channels: Channels = .asStored, minimumSide: Int? = nil) throws -> PixelImage {
    try decode(channels: channels, reduction: reduction(keeping: minimumSide, minimumSide))
  }

  /// The largest of 8, 4, 2 and 1 that leaves so much of both extents of the upright image.
  func reduction(keeping height: Int?, _ width: Int?) -> Int {
    guard format == .jpeg, let height, let width, height > 0, width > 0 else { return 1 }
    let most = min(self.height / height, self.width / width)
    return [8, 4, 2].first { $0 <= most } ?? 1
  }

  /// Decodes at one `reduction`-th of the extents, rounded up, which only JPEG can.
  func decode(channels: Channels, reduction: Int) throws -> PixelImage {
    let count = channels.count(stored: header.channels)
    let stored =
      switch format {
      case .jpeg: try JPEG.decode(self, channels: count, reduction: reduction)
      case .png: try PNG.decode(self)
      }
    let image = count == 1 ? stored.grey() : stored.rgb()
    return image.oriented(header.orientation)
  }

  /// The kind of file that begins so.
  private static func format(of bytes: [UInt8], at path: String) throws -> Format {
    func begins(_ signature: [UInt8], at offset: Int = 0) -> Bool {
      bytes.dropFirst(offset).starts(with: signature)
    }
    guard !bytes.isEmpty else { throw FileError(.truncated, "the file is empty", at: path) }
    if begins([0xff, 0xd8, 0xff]) { return .jpeg }
    if begins(PNG.signature) { return .png }
    let others: [(String, Bool)] = [
      ("GIF", begins(Array("GIF8".utf8))), ("BMP", begins(Array("BM".utf8))),
      ("WebP", begins(Array("RIFF".utf8)) && begins(Array("WEBP".utf8), at: 8)),
      ("TIFF", begins([0x49, 0x49, 42, 0]) || begins([0x4d, 0x4d, 0, 42])),
      ("HEIF or AVIF", begins(Array("ftyp".utf8), at: 4)),
    ]
    if let (name, _) = others.first(where: \.1) {
      throw FileError(
        .unsupported, "this is a \(name) file by its contents; JPEG and PNG are read", at: path)
    }
    throw FileError(.mismatched, "this is neither a JPEG nor a PNG file by its contents", at: path)
  }
}
