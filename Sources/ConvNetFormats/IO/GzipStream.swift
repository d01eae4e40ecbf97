import CConvNetZlib

/// The bytes that a gzip file holds in compressed form (RFC 1952), inflated as they are asked for.
///
/// Checksums and lengths are zlib's to check. The `z_stream` has an address of its own because zlib
/// keeps a pointer back to it.
@safe
package final class GzipStream: ByteSource {
  private let file: FileReader
  private let stream: UnsafeMutablePointer<z_stream>
  private let input: UnsafeMutableRawBufferPointer
  private var offset = 0
  private var produced = 0
  /// Whether the current member is complete; another may follow, as RFC 1952 allows.
  private var isComplete = false
  private var isFirst = true

  /// Whether a file begins like a gzip file.
  package static func isGzip(_ file: FileReader) throws -> Bool {
    try file.size >= 2 && file.bytes(count: 2, at: 0) == [0x1f, 0x8b]
  }

  package init(_ file: FileReader) throws {
    self.file = file
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    unsafe input = .allocate(byteCount: 1 << 16, alignment: 64)
    let result = unsafe convnet_inflate_init_gzip(stream)
    guard result == Z_OK else {
      throw FileError(.unreadable, "zlib cannot start (code \(result))", at: file.path)
    }
  }

  deinit {
    // Harmless where initialisation failed: zlib checks for its own state.
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
    unsafe input.deallocate()
  }

  package var path: String { file.path }

  /// Deflate makes at most 1032 bytes of one (258 bytes of two bits).
  package var limit: Int {
    let (bound, overflow) = file.size.multipliedReportingOverflow(by: 1032)
    return overflow ? .max : max(bound - produced, 0)
  }

  package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    var done = 0
    while done < buffer.count {
      try refill()
      let available = Int(unsafe stream.pointee.avail_in)
      if isComplete {
        guard available > 0 else { break }
        unsafe inflateReset(stream)
        (isComplete, isFirst) = (false, false)
      }
      let room = min(buffer.count - done, 1 << 30)
      let start = unsafe buffer.baseAddress?.advanced(by: done)
      unsafe stream.pointee.next_out = unsafe start?.assumingMemoryBound(to: UInt8.self)
      unsafe stream.pointee.avail_out = UInt32(room)
      let result = unsafe inflate(stream, Z_NO_FLUSH)
      done += room - Int(unsafe stream.pointee.avail_out)
      try check(result)
    }
    produced += done
    return done
  }

  /// Reads the next part of the file where zlib has used up the last.
  private func refill() throws {
    guard unsafe stream.pointee.avail_in == 0 else { return }
    let count = unsafe try file.read(into: input, at: offset)
    offset += count
    unsafe stream.pointee.next_in = unsafe input.baseAddress?.assumingMemoryBound(to: UInt8.self)
    unsafe stream.pointee.avail_in = UInt32(count)
  }

  private func check(_ result: Int32) throws {
    switch result {
    case Z_STREAM_END: isComplete = true
    case Z_OK: break
    case Z_BUF_ERROR:
      // No step was possible, though there was room: nothing is left of the file.
      throw FileError(.truncated, "the compressed data end early", at: path)
    case Z_MEM_ERROR:
      throw FileError(.tooLarge, "there is no memory for decompression", at: path)
    default:
      let detail = unsafe stream.pointee.msg.map { unsafe String(cString: $0) }
      if !isFirst, detail == "incorrect header check" {
        throw FileError(.malformed, "other bytes follow the compressed data", at: path)
      }
      throw FileError(
        .malformed, "the compressed data are damaged (\(detail ?? "code \(result)"))", at: path)
    }
  }
}
