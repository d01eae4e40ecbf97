import CConvNetZlib
package import ConvNetGraph

/// The CRC-32 of bytes that come one after the other (ISO 3309, as gzip and PNG have it).
package struct Checksum: Hashable, Sendable {
  /// The checksum so far.
  package private(set) var value: UInt32 = 0

  package init() {}

  /// Adds bytes.
  package mutating func add(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    let first = unsafe start.assumingMemoryBound(to: UInt8.self)
    value = UInt32(truncatingIfNeeded: unsafe crc32_z(UInt(value), first, bytes.count))
  }

  /// Adds the bytes of an array.
  package mutating func add(_ bytes: [UInt8]) {
    unsafe bytes.withUnsafeBytes { unsafe add($0) }
  }

  /// Adds the elements of a tensor.
  package mutating func add(_ tensor: Tensor) {
    unsafe tensor.withBytes { unsafe add($0) }
  }

  /// Four bytes, the lowest first.
  var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

  /// Adds the first bytes of a file.
  mutating func add(_ file: FileReader, count: Int) throws {
    let length = 1 << 18
    try unsafe withUnsafeTemporaryAllocation(byteCount: length, alignment: 64) { buffer in
      var done = 0
      while done < count {
        let part = unsafe UnsafeMutableRawBufferPointer(
          rebasing: buffer[..<min(length, count - done)])
        try unsafe file.fill(part, at: done)
        unsafe add(UnsafeRawBufferPointer(part))
        done += part.count
      }
    }
  }
}
