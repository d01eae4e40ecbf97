import ConvNetFormats
import ConvNetImages
import Glibc
import Testing

@Suite struct BadInputTests {
  private func refused(
    _ code: FileError.Code, _ text: String, _ bytes: [UInt8], pixelLimit: Int = 1_000_000,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectError(code, text, sourceLocation: sourceLocation) {
      _ = try ImageFile(bytes: bytes, named: "file", pixelLimit: pixelLimit).decode()
    }
  }

  @Test func whatIsNoImageIsNamed() throws {
    refused(.truncated, "empty", [])
    refused(.mismatched, "neither", Array("hello".utf8))
    refused(.mismatched, "neither", [0xff])
    refused(.unsupported, "GIF", Array("GIF89a".utf8))
    refused(.unsupported, "WebP", Array("RIFFxxxxWEBPVP8 ".utf8))
    refused(.unsupported, "BMP", Array("BM".utf8))
    refused(.unsupported, "TIFF", [0x4d, 0x4d, 0, 42])
    refused(.unsupported, "HEIF", Array("\0\0\0\u{18}ftypheic".utf8))
    // A wrong name is no trouble.
    try withFile(try Fixture.bytes("grey.jpg")) { path in
      let format = try ImageFile(path).format
      #expect(format == .jpeg)
    }
  }

  @Test func pathsAreNamed() throws {
    try withFolder { folder in
      expectError(.unreadable, "folder", at: folder) { _ = try ImageFile(folder) }
      let path = folder + "/none.jpg"
      expectError(.missing, "no such file", at: path) { _ = try ImageFile(path) }
    }
    try withFile([]) { path in
      expectError(.truncated, "empty", at: path) { _ = try ImageFile(path) }
    }
    try withFile(try Fixture.bytes("rgb-8.png")) { path in
      guard getuid() != 0 else { return }
      chmod(path, 0)
      expectError(.unreadable, "not permitted", at: path) { _ = try ImageFile(path) }
    }
    try withFile([0xff, 0xd8, 0xff] + [UInt8](repeating: 0, count: 2_000_000)) { path in
      expectError(.tooLarge, "2000003 bytes", at: path) { _ = try ImageFile(path, pixelLimit: 99) }
    }
  }

  /// Every beginning of a file is refused, or complete.
  @Test(arguments: [
    "420.jpg", "progressive.jpg", "cmyk.jpg", "rgb-8.png", "interlaced-palette.png",
  ])
  func cutFilesAreTruncated(name: String) throws {
    let bytes = try Fixture.bytes(name)
    let whole = try ImageFile(bytes: bytes, named: name).decode()
    for count in stride(from: 1, to: bytes.count, by: 7) {
      do {
        let image = try ImageFile(bytes: Array(bytes[..<count]), named: "file").decode()
        Issue.record("\(name) was read from its first \(count) bytes: \(image == whole)")
      } catch let error as FileError {
        #expect([.truncated, .mismatched].contains(error.code), "\(count) bytes: \(error)")
      }
      // What was wrong with one file is forgotten when the next is read.
      #expect(try ImageFile(bytes: bytes, named: name).decode() == whole, "after \(count) bytes")
    }
  }

  /// Whatever is changed, there is an image or a FileError.
  @Test(arguments: [
    "420.jpg", "progressive.jpg", "orientation-6.jpg", "palette-4.png", "rgba-16.png",
  ])
  func changedFilesDoNotTrap(name: String) throws {
    let bytes = try Fixture.bytes(name)
    var state: UInt64 = 42
    func random(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(count))
    }
    for _ in 0..<300 {
      var changed = bytes
      for _ in 0...random(3) { changed[random(bytes.count)] = UInt8(random(256)) }
      do {
        _ = try ImageFile(bytes: changed, named: "file", pixelLimit: 100_000).decode()
      } catch is FileError {}
    }
  }

  @Test func pixelsAreLimitedByTheHeader() throws {
    let jpeg = try Fixture.bytes("grey.jpg")
    refused(.tooLarge, "29 × 37 pixels, more than the limit of 1072", jpeg, pixelLimit: 29 * 37 - 1)
    #expect(try ImageFile(bytes: jpeg, named: "file", pixelLimit: 29 * 37).decode().height == 29)
    // Height and width in the frame header: marker, length, precision, then both.
    let frame = try #require((0..<jpeg.count).first { jpeg[$0] == 0xff && jpeg[$0 + 1] == 0xc0 })
    var huge = jpeg
    huge.replaceSubrange((frame + 5)..<(frame + 9), with: [0xff, 0xdc, 0xff, 0xdc])
    refused(.tooLarge, "65500 × 65500", huge)
    refused(.truncated, "cannot hold", huge, pixelLimit: .max)
    huge[frame + 5] = 0xff
    huge[frame + 6] = 0xff
    refused(.tooLarge, "65500", huge)
    var png = try Fixture.bytes("rgb-8.png")
    png.replaceSubrange(16..<24, with: [0, 0, 0x27, 0x10, 0, 0, 0x27, 0x11])
    refused(.tooLarge, "10001 × 10000", png)
    refused(.truncated, "cannot hold", png, pixelLimit: .max)
    png.replaceSubrange(16..<24, with: [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1])
    refused(.malformed, "impossible", png)
    png.replaceSubrange(16..<24, with: [0, 0, 0, 0, 0, 0, 0, 1])
    refused(.malformed, "impossible", png)
  }

  @Test func damageIsSaid() throws {
    var png = try Fixture.bytes("rgb-8.png")
    png[70] ^= 0x10
    refused(.malformed, "damaged", png)
    png = try Fixture.bytes("rgb-8.png")
    png[12] = 0x4a  // Another name for the first chunk.
    refused(.malformed, "begin with a header", png)
    var jpeg = try Fixture.bytes("restarts.jpg")
    let restart = try #require(
      (600..<jpeg.count).first { jpeg[$0] == 0xff && jpeg[$0 + 1] == 0xd0 })
    jpeg[restart + 1] = 0xd5
    refused(.malformed, "damaged", jpeg)
    // Bytes that are skipped up to the end of the file are harmless only where they are not the image's.
    jpeg = try Fixture.bytes("restarts.jpg")
    let last = try #require(
      (600..<jpeg.count - 1).last { jpeg[$0] == 0xff && (0xd0...0xd7).contains(jpeg[$0 + 1]) })
    (jpeg[last], jpeg[last + 1]) = (0, 0)
    refused(.malformed, "damaged", jpeg)
    jpeg = try Fixture.bytes("progressive.jpg")
    let scan = try #require(
      (600..<jpeg.count - 1).last { jpeg[$0] == 0xff && jpeg[$0 + 1] == 0xda })
    (jpeg[scan], jpeg[scan + 1]) = (0, 0)
    refused(.malformed, "damaged", jpeg)
    jpeg = try Fixture.bytes("grey.jpg")
    let frame = try #require((0..<jpeg.count).first { jpeg[$0] == 0xff && jpeg[$0 + 1] == 0xc0 })
    jpeg[frame + 4] = 12
    refused(.unsupported, "precision 12", jpeg)
  }

  /// Orientation from both byte orders; whatever is wrong leaves the image as it is.
  @Test func metadataIsReadWithinItsBounds() throws {
    let jpeg = try Fixture.bytes("420.jpg")
    func file(_ tiff: [UInt8]) throws -> ImageFile {
      let segment = Array("Exif\0\0".utf8) + tiff
      let length = [UInt8((segment.count + 2) >> 8), UInt8((segment.count + 2) & 255)]
      return try ImageFile(
        bytes: Array(jpeg[..<2]) + [0xff, 0xe1] + length + segment + Array(jpeg[2...]),
        named: "file")
    }
    let big: [UInt8] =
      [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]
    let little: [UInt8] =
      [0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
    for tiff in [big, little] {
      let turned = try file(tiff)
      #expect([turned.height, turned.width] == [37, 29])
      #expect(try turned.decode().height == 37)
      for count in 0..<20 {
        #expect(try file(Array(tiff[..<count])).height == 29, "\(count) bytes")
      }
      for (place, value) in [(0, 7), (2, 9), (4, 200), (7, 255), (8, 255), (11, 0), (18, 9)] {
        var changed = tiff
        changed[place] = UInt8(value)
        _ = try file(changed).decode()
      }
    }
    var nonsense = big
    nonsense[19] = 9
    #expect(try file(nonsense).height == 29)
  }
}
