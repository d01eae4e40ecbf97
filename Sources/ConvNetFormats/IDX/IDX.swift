public import ConvNetGraph

/// Arrays in the IDX format of the MNIST family (http://yann.lecun.com/exdb/mnist), plain or gzip.
public enum IDX {
  /// Reads an array of uint8, int32, float32 or float64; compression is told by the first bytes.
  ///
  /// The file has to hold exactly the data that its header declares; memory for compressed data
  /// grows as they arrive.
  ///
  /// - Throws: `FileError`.
  public static func read(_ path: String) throws -> Tensor {
    let file = try FileReader(path)
    let isGzip = try GzipStream.isGzip(file)
    let source: any ByteSource = isGzip ? try GzipStream(file) : FileStream(file)
    let (elementType, shape) = try header(source)
    let byteCount = shape.count * elementType.byteCount
    guard byteCount <= source.limit else {
      throw FileError(
        .truncated,
        "the header declares \(elementType.rawValue) \(shape), more than the file can hold",
        at: path)
    }
    var tensor = try data(source, elementType, shape)
    guard
      try unsafe withUnsafeTemporaryAllocation(
        byteCount: 1, alignment: 1, { try unsafe source.read(into: $0) }) == 0
    else {
      throw FileError(
        .malformed, "holds more than the \(shape) that its header declares", at: path)
    }
    tensor.swapBytes()
    return tensor
  }

  /// Type and extents: two zeros, a type, the rank, then big-endian extents of 32 bits.
  private static func header(_ source: any ByteSource) throws -> (ElementType, Shape) {
    let start = try source.bytes(count: 4, of: "header")
    let types: [UInt8: ElementType] = [
      0x08: .uint8, 0x0c: .int32, 0x0d: .float32, 0x0e: .float64,
    ]
    guard start[0] == 0, start[1] == 0, (0x08...0x0e).contains(start[2]), start[3] > 0 else {
      throw FileError(.mismatched, "this is not an IDX file", at: source.path)
    }
    guard let type = types[start[2]], start[3] <= 64 else {
      throw FileError(
        .unsupported,
        "IDX elements of type \(start[2]) in \(start[3]) dimensions are not read, only uint8, "
          + "int32, float32 and float64 in at most 64", at: source.path)
    }
    let bytes = try source.bytes(count: 4 * Int(start[3]), of: "header")
    let extents = stride(from: 0, to: bytes.count, by: 4).map { index in
      bytes[index..<(index + 4)].reduce(0) { $0 << 8 | Int($1) }
    }
    guard let shape = try? Shape(checking: extents) else {
      throw FileError(.malformed, "the header has an impossible shape \(extents)", at: source.path)
    }
    return (type, shape)
  }

  /// Reads the elements, doubling the room while there is more to come.
  private static func data(
    _ source: any ByteSource, _ elementType: ElementType, _ shape: Shape
  ) throws -> Tensor {
    let total = shape.count
    var capacity = min(total, source is GzipStream ? 1 << 24 : total)
    var tensor = try Tensor.room(for: elementType, [capacity], of: source.path)
    var done = 0
    while true {
      let found = try unsafe tensor.withMutableBytes { bytes in
        try unsafe source.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[done...]))
      }
      done += found
      guard done == tensor.byteCount else {
        throw FileError(
          .truncated,
          "the header declares \(total * elementType.byteCount) bytes and the file holds \(done)",
          at: source.path)
      }
      guard capacity < total else { break }
      capacity = capacity > total / 2 ? total : 2 * capacity
      var larger = try Tensor.room(for: elementType, [capacity], of: source.path)
      unsafe tensor.withBytes { from in
        unsafe larger.withMutableBytes { to in unsafe to.copyMemory(from: from) }
      }
      tensor = larger
    }
    return try tensor.reshaped(to: shape)
  }
}
