/// Bytes that come one after the other, out of a plain or a compressed file.
package protocol ByteSource: AnyObject {
  /// The file, for messages.
  var path: String { get }
  /// The most bytes that can still come, as far as the file's size tells.
  var limit: Int { get }

  /// Fills a buffer as far as there are bytes; less than all means that the end was reached and
  /// that everything the file says about itself, such as a checksum, was found true.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// The bytes of a plain file in order.
package final class FileStream: ByteSource {
  private let file: FileReader
  private var offset = 0

  package init(_ file: FileReader) { self.file = file }

  package var path: String { file.path }

  package var limit: Int { max(file.size - offset, 0) }

  package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    var done = 0
    while done < buffer.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = unsafe try file.read(into: rest, at: offset)
      if count == 0 { break }
      offset += count
      done += count
    }
    return done
  }
}

extension ByteSource {
  /// Reads a few bytes, all of which have to be there.
  func bytes(count: Int, of part: String) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let found = try unsafe bytes.withUnsafeMutableBytes { try unsafe read(into: $0) }
    guard found == count else {
      throw FileError(.truncated, "the file ends inside its \(part)", at: path)
    }
    return bytes
  }
}
