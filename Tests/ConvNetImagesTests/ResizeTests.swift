import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import ConvNetTraining
import Testing

@Suite struct ResizeTests {
  /// Names of fixtures are SOURCE,FILTER,HEIGHT,WIDTH,X0,Y0,X1,Y1.
  struct Case {
    let source: String
    let filter: ResamplingFilter
    let height: Int
    let width: Int
    let box: ImageBox

    init?(_ name: String) {
      let parts = name.split(separator: ",").map(String.init)
      guard parts.count == 8, let filter = ResamplingFilter(rawValue: parts[1]),
        let height = Int(parts[2]), let width = Int(parts[3])
      else { return nil }
      let box = parts[4...].compactMap(Double.init)
      source = parts[0]
      (self.filter, self.height, self.width) = (filter, height, width)
      self.box = ImageBox(
        top: box[1], left: box[0], height: box[3] - box[1], width: box[2] - box[0])
    }
  }

  static let cases = Fixture.expected.keys.sorted().compactMap { name in
    Case(name).map { (name, $0) }
  }

  @Test func pixelsHaveTheBitsOfPillow() throws {
    #expect(Self.cases.count == 48)
    for (name, c) in Self.cases where c.source != "draft" {
      let source = try #require(Fixture.expected[c.source])
      let result = source.resized(
        height: c.height, width: c.width, filter: c.filter, box: c.box)
      check(result, Fixture.expected[name], name)
      let mirrored = source.resized(
        height: c.height, width: c.width, filter: c.filter, box: c.box, mirrored: true)
      check(mirrored, result.mirrored(), name + " mirrored")
    }
  }

  /// The box of a file: decoded at a fraction where its extents allow.
  @Test func filesAreResizedAsPillowDoesAfterDraft() throws {
    let file = try ImageFile(Fixture.path("large.jpg"))
    for (name, c) in Self.cases where c.source == "draft" {
      let image = try file.decode(
        ImageView(c.box), height: c.height, width: c.width, filter: c.filter)
      check(image, Fixture.expected[name], within: 1, name)
    }
    // Too large for a fraction.
    let box = ImageBox(top: 3, left: 5, height: 50, width: 60)
    let view = ImageView(box, isMirrored: true)
    #expect(
      try file.decode(view, height: 40, width: 26, channels: .rgb)
        == file.decode().resized(height: 40, width: 26, box: box, mirrored: true))
  }

  @Test func theMiddleIsThatOfResizingAndCropping() throws {
    let source = try #require(Fixture.expected["source"])
    for (size, side) in [(14, 16), (20, 20), (9, 18), (40, 44)] {
      let rule = try ImagePreprocessing(height: size, shortSide: side)
      let view = rule.view(height: source.height, width: source.width)
      let seen = source.resized(height: size, width: size, box: view.box)
      let whole = try source.resized(shortSide: side)
      check(seen, whole.centreCropped(height: size, width: size), within: 1, "\(size) of \(side)")
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    let thread = PixelImage(
      height: 1, width: 1 << 14, channels: 1, bytes: [UInt8](repeating: 9, count: 1 << 14))
    for side in [256, 0, -1, .max / 2] {
      #expect(throws: TrainingError.self) { try thread.resized(shortSide: side) }
    }
    let file = try ImageFile(bytes: thread.pngBytes(), named: "thread")
    for box in [
      ImageBox(top: 0, left: 0, height: 2, width: 2),
      ImageBox(top: 0, left: -1, height: 1, width: 2),
      ImageBox(top: 0, left: 0, height: .nan, width: 2),
    ] {
      let error = #expect(throws: FileError.self) {
        try file.decode(ImageView(box), height: 4, width: 4)
      }
      #expect(error?.code == .mismatched)
    }
  }

  @Test func cropsAndMirrors() throws {
    let image = PixelImage(height: 2, width: 3, channels: 1, bytes: [1, 2, 3, 4, 5, 6])
    #expect(image.mirrored().bytes == [3, 2, 1, 6, 5, 4])
    #expect(image.cropped(top: 1, left: 1, height: 1, width: 2).bytes == [5, 6])
    #expect(image.centreCropped(height: 2, width: 1).bytes == [2, 5])
    #expect(image.rgb().grey() == image)
    let short = try image.resized(shortSide: 5)
    #expect([short.height, short.width] == [5, 7])
  }
}
