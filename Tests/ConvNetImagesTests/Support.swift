import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import Glibc
import Testing

/// What scripts/fixtures/images.py wrote.
enum Fixture {
  static func path(_ name: String) -> String {
    let folder = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/\(folder)/Fixtures/Images/\(name)"
  }

  /// Pillow's images by name.
  static let expected: [String: PixelImage] = {
    do {
      return try SafetensorsFile.open(path("expected.safetensors")).readAll().mapValues { tensor in
        let shape = tensor.shape
        let bytes = tensor.withElements { (elements: Span<UInt8>) in
          elements.indices.map { elements[$0] }
        }
        return PixelImage(height: shape[0], width: shape[1], channels: shape[2], bytes: bytes)
      }
    } catch { fatalError("\(error)") }
  }()

  static func bytes(_ name: String) throws -> [UInt8] {
    let file = try FileReader(path(name))
    return try file.bytes(count: file.size, at: 0)
  }
}

/// Expects extents to agree and levels to differ by at most `bound`.
func check(
  _ image: PixelImage, _ expected: PixelImage?, within bound: Int = 0, _ name: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard let expected else {
    Issue.record("no image “\(name)” in the fixtures", sourceLocation: sourceLocation)
    return
  }
  #expect(
    [image.height, image.width, image.channels]
      == [expected.height, expected.width, expected.channels], "\(name)",
    sourceLocation: sourceLocation)
  let differences = zip(image.bytes, expected.bytes).map { abs(Int($0) - Int($1)) }
  let largest = differences.max() ?? 0
  #expect(largest <= bound, "\(name): levels differ by \(largest)", sourceLocation: sourceLocation)
}

/// A folder that exists while a closure runs.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  var template = Array("/tmp/convnet-images-XXXXXX".utf8CString)
  let folder = template.withUnsafeMutableBufferPointer { buffer in
    buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
  }
  let path = try #require(folder)
  defer { remove(path) }
  return try body(path)
}

/// Writes a file, hands out its path and removes it.
func withFile<Result>(_ bytes: [UInt8], _ body: (String) throws -> Result) throws -> Result {
  try withFolder { folder in
    let path = folder + "/image"
    try AtomicFile.write(to: path) { try $0.append(bytes) }
    defer { unlink(path) }
    return try body(path)
  }
}

/// Expects a `FileError` of a code whose sentence contains a text and names the file.
func expectError(
  _ code: FileError.Code, _ text: String, at path: String = "file",
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("nothing was thrown, expected “\(text)”", sourceLocation: sourceLocation)
  } catch let error as FileError {
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    #expect("\(error)".contains(text), "\(error)", sourceLocation: sourceLocation)
    #expect(error.path == path, "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record("\(error) is not a FileError", sourceLocation: sourceLocation)
  }
}
