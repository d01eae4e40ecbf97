import ConvNetFormats
import ConvNetImages
import Foundation

/// A folder of images that is gone when its test ends.
final class PhotoFolder {
  let path: String

  init(_ images: [String: PixelImage] = [:]) throws {
    var template = Array("/tmp/convnet-photos-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { buffer in
      buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? ""
    }
    for (name, image) in images { try add(image, name) }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes an image as PNG, and the folders above it.
  func add(_ image: PixelImage, _ name: String) throws { try add(image.pngBytes(), name) }

  /// Writes a file, and the folders above it.
  func add(_ bytes: [UInt8], _ name: String) throws {
    makeFolders(name.split(separator: "/").dropLast().map(String.init))
    try AtomicFile.write(to: "\(path)/\(name)") { try $0.append(bytes) }
  }

  func makeFolders(_ names: [String]) {
    for count in 0...names.count {
      mkdir(([path] + names[..<count]).joined(separator: "/"), 0o755)
    }
  }

  func link(_ name: String, to target: String) { symlink(target, "\(path)/\(name)") }
}

/// An image of one colour.
func plain(_ levels: [UInt8], height: Int = 6, width: Int = 9) -> PixelImage {
  PixelImage(
    height: height, width: width, channels: levels.count,
    bytes: Array(repeatElement(levels, count: height * width).joined()))
}

/// An image whose pixels all differ from their neighbours.
func ramp(height: Int, width: Int) -> PixelImage {
  PixelImage(
    height: height, width: width, channels: 3,
    bytes: (0..<height * width * 3).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ $0 / width) })
}
