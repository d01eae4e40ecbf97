import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import Testing

@Suite struct DecodingTests {
  static let png =
    [1, 2, 4, 8].map { "grey-\($0).png" } + [1, 2, 4, 8].map { "palette-\($0).png" } + [
      "rgb-8.png", "grey-alpha-8.png", "rgba-8.png", "interlaced-rgb.png",
      "interlaced-palette.png", "gamma.png", "orientation.png",
    ]
  /// libpng rounds 16 bits to 8, Pillow cuts them off.
  static let png16 = [
    "grey-16.png", "interlaced-grey-16.png", "rgb-16.png", "grey-alpha-16.png", "rgba-16.png",
  ]
  static let jpeg =
    ["grey", "444", "422", "420", "progressive", "restarts", "cmyk", "extraneous"].map {
      "\($0).jpg"
    } + (1...8).map { "orientation-\($0).jpg" }

  @Test(arguments: png + png16 + jpeg)
  func filesAreAsPillowHasThem(name: String) throws {
    let file = try ImageFile(Fixture.path(name))
    let expected = try #require(Fixture.expected[name])
    #expect(file.format == (name.hasSuffix("png") ? .png : .jpeg))
    #expect(
      [file.height, file.width, file.channels] == [
        expected.height, expected.width, expected.channels,
      ])
    let bound = Self.png.contains(name) ? 0 : Self.png16.contains(name) ? 0 : 1
    check(try file.decode(), expected, within: bound, name)
    check(try file.decode(channels: .rgb), expected.rgb(), within: bound, name + " rgb")
    // Pillow's grey of CMYK goes by way of colours, too.
    let grey = Fixture.expected[name + ",grey"] ?? expected
    check(try file.decode(channels: .grey), grey, within: bound, name + " grey")
    #expect(try ImageFile.decode(Fixture.path(name)) == file.decode())
  }

  @Test func jpegIsDecodedAtAFraction() throws {
    let file = try ImageFile(Fixture.path("large.jpg"))
    for (name, side) in [("half", 61), ("quarter", 30), ("eighth", 15), ("eighth", 1)] {
      let expected = Fixture.expected["large.jpg,\(name)"]
      check(try file.decode(minimumSide: side), expected, within: 2, name)
    }
    #expect(try file.decode(minimumSide: 62) == file.decode())
    let png = try ImageFile(Fixture.path("rgb-8.png"))
    #expect(try png.decode(minimumSide: 1) == png.decode())
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    for name in ["source", "source-grey"] {
      let image = try #require(Fixture.expected[name])
      let file = try ImageFile(bytes: image.pngBytes(), named: name)
      #expect(try file.decode() == image, "\(name)")
    }
    var noise = Philox(seed: 1, stream: 2)
    for (height, width) in [(1, 1), (1, 700), (300, 1), (64, 65)] {
      noise.stream += 1
      let bytes = (0..<(height * width)).map { UInt8(truncatingIfNeeded: noise.word(UInt64($0))) }
      let image = PixelImage(height: height, width: width, channels: 1, bytes: bytes)
      #expect(try ImageFile(bytes: image.pngBytes(), named: "noise").decode() == image)
    }
  }
}
