import CConvNetTurboJPEG
import ConvNetFormats
import Glibc

/// JPEG through TurboJPEG's API of version 2, with one decompressor for each thread.
enum JPEG {
  /// Extents, channels and orientation.
  static func header(_ bytes: [UInt8], at path: String) throws -> ImageHeader {
    let handle = unsafe try decompressor(at: path)
    var (width, height, subsampling, colours) = (Int32(0), Int32(0), Int32(0), Int32(-1))
    unsafe bytes.withUnsafeBufferPointer { bytes in
      _ = unsafe tjDecompressHeader3(
        handle, bytes.baseAddress, UInt(bytes.count), &width, &height, &subsampling, &colours)
    }
    // Unusual subsampling is an error of this call alone, and comes after all but it was found.
    guard width > 0, height > 0, colours >= 0 else {
      throw unsafe failure(of: handle, bytes, at: path)
    }
    return ImageHeader(
      height: Int(height), width: Int(width),
      channels: UInt32(colours) == TJCS_GRAY.rawValue ? 1 : 3,
      // Huffman codes spend at least a bit on the largest unit there is, 32 × 32 pixels.
      leastByteCount: Int(height) * Int(width) / (8 * 32 * 32),
      isCMYK: [TJCS_CMYK.rawValue, TJCS_YCCK.rawValue].contains(UInt32(colours)),
      orientation: segments(bytes).orientation)
  }

  /// Decodes at one `reduction`-th of the extents, to one channel or three.
  static func decode(_ file: ImageFile, channels: Int, reduction: Int) throws -> PixelImage {
    let handle = unsafe try decompressor(at: file.path)
    let height = (file.header.height + reduction - 1) / reduction
    let width = (file.header.width + reduction - 1) / reduction
    let isCMYK = file.header.isCMYK
    let format = isCMYK ? TJPF_CMYK : channels == 1 ? TJPF_GRAY : TJPF_RGB
    let stored = isCMYK ? 4 : channels
    let count = height * width * stored
    let pixels = try unsafe [UInt8](unsafeUninitializedCapacity: count) { output, initialized in
      let result = unsafe file.bytes.withUnsafeBufferPointer { bytes in
        // The extents that are handed in bound what is written, whatever the bytes say.
        unsafe tjDecompress2(
          handle, bytes.baseAddress, UInt(bytes.count), output.baseAddress, Int32(width),
          Int32(width * stored), Int32(height), format.rawValue,
          TJFLAG_LIMITSCANS)
      }
      guard unsafe result == 0 || (isHarmless(handle) && segments(file.bytes).isOneScan) else {
        throw unsafe failure(of: handle, file.bytes, at: file.path)
      }
      initialized = count
    }
    return PixelImage(
      height: height, width: width, channels: isCMYK ? 3 : channels,
      bytes: isCMYK ? rgb(invertedCMYK: pixels) : pixels)
  }

  // MARK: Decompressors

  /// Where a thread keeps its decompressor; it is freed when the thread ends.
  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    let result = unsafe pthread_key_create(&key) { handle in unsafe tjDestroy(handle) }
    return result == 0 ? key : nil
  }()

  private static func decompressor(at path: String) throws -> tjhandle {
    if let key, let handle = unsafe pthread_getspecific(key) { return unsafe handle }
    guard let key, let handle = unsafe tjInitDecompress() else {
      throw FileError(.unreadable, "TurboJPEG cannot start", at: path)
    }
    unsafe pthread_setspecific(key, handle)
    return unsafe handle
  }

  // MARK: Errors

  private static func message(_ handle: tjhandle) -> String {
    unsafe tjGetErrorStr2(handle).map { unsafe String(cString: $0) } ?? "unknown error"
  }

  /// Bytes that a camera's software left between the complete image and its end.
  ///
  /// Only the first warning has a message. In a file of one scan without restart markers this one comes when
  /// the end was reached, so that none hides behind it; in others a scan or an interval may have been skipped.
  private static func isHarmless(_ handle: tjhandle) -> Bool {
    guard unsafe tjGetErrorCode(handle) == Int32(bitPattern: TJERR_WARNING.rawValue) else {
      return false
    }
    return unsafe message(handle).hasSuffix("extraneous bytes before marker 0xd9")
  }

  /// The error of a call, after which the decompressor is not used again.
  ///
  /// In TurboJPEG 2.1 a header that cannot be read leaves it in the middle of that header, where it goes on
  /// with the next file.
  private static func failure(
    of handle: tjhandle, _ bytes: [UInt8], at path: String
  ) -> FileError {
    let message = unsafe message(handle)
    if let key { pthread_setspecific(key, nil) }
    unsafe tjDestroy(handle)
    func says(_ texts: String...) -> Bool { texts.contains { message.contains($0) } }
    // What libjpeg puts in place of missing bytes may be wrong in many ways; no end mark says it better.
    let rest = bytes[segments(bytes).end...]
    if says("Premature end") || !zip(rest, rest.dropFirst()).contains(where: { $0 == (0xff, 0xd9) })
    {
      return FileError(.truncated, "the JPEG file ends too early", at: path)
    }
    if says("Maximum supported") {
      return FileError(.tooLarge, "is larger than libjpeg reads (\(message))", at: path)
    }
    if says("Unsupported", "Sorry", "Could not determine") {
      return FileError(.unsupported, "this kind of JPEG is not read (\(message))", at: path)
    }
    return FileError(.malformed, "the JPEG data are damaged (\(message))", at: path)
  }

  // MARK: What TurboJPEG does not do

  /// Red, green and blue of cyan, magenta, yellow and black that are stored inverted, as Adobe does
  /// and every reader assumes: with c the stored cyan, R = k − k·(255 − c)/255, rounded as Pillow.
  private static func rgb(invertedCMYK pixels: [UInt8]) -> [UInt8] {
    let count = pixels.count / 4 * 3
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { output, initialized in
      unsafe pixels.withUnsafeBufferPointer { pixels in
        for pixel in 0..<pixels.count / 4 {
          let k = Int(unsafe pixels[4 * pixel + 3])
          for c in 0..<3 {
            let product = (255 - Int(unsafe pixels[4 * pixel + c])) * k + 128
            unsafe output[3 * pixel + c] = UInt8(max(k - ((product >> 8) + product) >> 8, 0))
          }
        }
      }
      initialized = count
    }
  }

  /// The orientation in the first APP1 segment with EXIF metadata, and where the segments before the pixels
  /// end, which is the end of the file where they would go on over it.
  private static func segments(
    _ bytes: [UInt8]
  ) -> (orientation: Orientation, end: Int, isOneScan: Bool) {
    var place = 2
    var orientation: Orientation?
    var (components, isSequential, hasRestarts) = (0, false, false)
    while place + 4 <= bytes.count {
      let marker = bytes[place + 1]
      switch (bytes[place], marker) {
      case (0xff, 0xff): place += 1  // Fill.
      case (0xff, 0x01), (0xff, 0xd0...0xd8): place += 2  // Nothing follows.
      case (0xff, 0xda):
        let isOneScan =
          isSequential && !hasRestarts && place + 4 < bytes.count
          && Int(bytes[place + 4]) == components
        return (orientation ?? .upright, place, isOneScan)
      case (0xff, 0...0xd9), (0xff, 0xdb...0xfe):
        let end = place + 2 + (Int(bytes[place + 2]) << 8 | Int(bytes[place + 3]))
        guard end >= place + 4 else { return (orientation ?? .upright, place, false) }
        guard end <= bytes.count else { return (orientation ?? .upright, bytes.count, false) }
        let segment = bytes[(place + 4)..<end]
        if marker == 0xe1, orientation == nil, segment.starts(with: Array("Exif\0\0".utf8)) {
          orientation = Exif.orientation(segment.dropFirst(6))
        }
        if (0xc0...0xcf).contains(marker), ![0xc4, 0xc8, 0xcc].contains(marker), segment.count > 5 {
          components = Int(segment[segment.startIndex + 5])
          isSequential = marker <= 0xc1
        }
        if marker == 0xdd { hasRestarts = segment.contains { $0 != 0 } }
        place = end
      default: return (orientation ?? .upright, place, false)
      }
    }
    return (orientation ?? .upright, bytes.count, false)
  }
}
