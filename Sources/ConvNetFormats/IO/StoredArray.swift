package import ConvNetGraph

/// A dense, row-major, little-endian array of a file that is a tensor with its axes in another order.
///
/// Elements go through one small buffer straight into their place, so that nobody holds them twice. A
/// filter of PyTorch or ONNX, `[filters, channels, height, width]`, becomes one of this package by
///
///     StoredArray(.float32, [64, 3, 7, 7], permutation: [2, 3, 1, 0]).read(from: file, at: offset)
package struct StoredArray: Sendable, Hashable {
  /// The bytes of the buffer: half of a common second-level cache.
  private static let bufferSize = 512 << 10
  /// Neighbours along the tensor's last axis that are read together where there are as many: two lines of
  /// cache of the tensor that are written as a whole.
  private static let runLength = 32

  /// The type of the elements in the file.
  package let type: StoredType
  /// The extents in the file.
  package let shape: Shape
  /// Axis i of the tensor is axis `permutation[i]` of the file.
  package let permutation: [Int]

  /// An array of a file; without a permutation the tensor's axes are the file's.
  package init(_ type: StoredType, _ shape: Shape, permutation: [Int]? = nil) {
    let permutation = permutation ?? Array(0..<shape.rank)
    guard permutation.sorted() == Array(0..<shape.rank) else {
      fatalError("\(permutation) is not an order of the axes of \(shape).")
    }
    self.type = type
    self.shape = shape
    self.permutation = permutation
  }

  /// The extents of the tensor.
  package var tensorShape: Shape { Shape(permutation.map { shape[$0] }) }

  /// The bytes it takes in the file; cannot overflow, because a shape has at most 2⁵⁶ elements.
  package var byteCount: Int { shape.count * type.byteCount }

  // MARK: Reading

  /// Reads the tensor; float16 and bfloat16 become float32, everything else keeps its bits.
  ///
  /// - Parameters:
  ///   - file: the file.
  ///   - offset: where the first element lies in it.
  ///   - place: what messages call the array.
  /// - Throws: `FileError` where the type is not read or the file does not hold the bytes; it is asked
  ///   before memory is.
  package func read(
    from file: FileReader, at offset: Int, place: String = ""
  ) throws -> Tensor {
    guard let elementType = type.elementType else {
      throw FileError(
        .unsupported, "elements of type \(type.rawValue) are not read", at: file.path, place: place)
    }
    guard offset >= 0, offset <= file.size, byteCount <= file.size - offset else {
      throw FileError(
        .truncated, "the file of \(file.size) bytes does not hold \(byteCount) from \(offset)",
        at: file.path, place: place)
    }
    var tensor = try Tensor.room(for: elementType, tensorShape, of: file.path, place: place)
    let axes = Axes(self)
    if axes.areInOrder, elementType.byteCount == type.byteCount {
      try unsafe tensor.withMutableBytes { try unsafe file.fill($0, at: offset) }
    } else {
      try fill(&tensor, axes, from: file, at: offset)
    }
    try tensor.checkTruthValues(of: file.path, place: place)
    return tensor
  }

  private func fill(
    _ tensor: inout Tensor, _ axes: Axes, from file: FileReader, at offset: Int
  ) throws {
    let tiles = axes.tiles(elements: Self.bufferSize / type.byteCount, run: Self.runLength)
    let strides = Shape(tiles.extents).strides
    let room = tiles.extents.reduce(1, *) * type.byteCount
    try unsafe withUnsafeTemporaryAllocation(byteCount: room, alignment: 64) { buffer in
      try unsafe tensor.withMutableBytes { target in
        try tiles.forEach { origin, extents in
          try unsafe readTile(
            axes, origin, extents, strides, from: file, at: offset, into: buffer)
          let copy = StridedCopy(extents: extents, from: strides, to: axes.tensorStrides)
          let first = zip(origin, axes.tensorStrides).reduce(0) { $0 + $1.0 * $1.1 }
          unsafe move(copy, from: buffer, to: target, at: first)
        }
      }
    }
  }

  /// Reads a tile with as few calls as it has pieces that lie together in the file and in the buffer.
  private func readTile(
    _ axes: Axes, _ origin: [Int], _ extents: [Int], _ strides: [Int], from file: FileReader,
    at offset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws {
    let width = type.byteCount
    var outer = axes.count
    var length = width
    while outer > 0, axes.fileStrides[outer - 1] * width == length,
      strides[outer - 1] * width == length
    {
      outer -= 1
      length *= extents[outer]
    }
    var index = [Int](repeating: 0, count: outer)
    while true {
      var (from, to) = (offset, 0)
      for axis in 0..<axes.count {
        let step = axis < outer ? index[axis] : 0
        from += (origin[axis] + step) * axes.fileStrides[axis] * width
        to += step * strides[axis] * width
      }
      let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[to..<to + length])
      try unsafe file.fill(piece, at: from)
      guard Tiles.advance(&index, within: extents) else { return }
    }
  }

  private func move(
    _ copy: StridedCopy, from buffer: UnsafeMutableRawBufferPointer,
    to target: UnsafeMutableRawBufferPointer, at first: Int
  ) {
    guard let from = buffer.baseAddress, let to = target.baseAddress else { return }
    switch type {
    case .float16: unsafe widen(copy, from, to, first, Float.init(halfBits:))
    case .bfloat16: unsafe widen(copy, from, to, first, Float.init(bfloatBits:))
    default: unsafe Self.move(copy, width: type.byteCount, from, to + first * type.byteCount)
    }
  }

  @inline(__always)
  private func widen(
    _ copy: StridedCopy, _ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer,
    _ first: Int, _ value: (UInt16) -> Float
  ) {
    let source = unsafe UnsafePointer(from.assumingMemoryBound(to: UInt16.self))
    unsafe copy.run(from: source, to: to.assumingMemoryBound(to: Float.self) + first, value)
  }

  private static func move(
    _ copy: StridedCopy, width: Int, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer
  ) {
    switch width {
    case 8:
      unsafe copy.run(
        from: from.assumingMemoryBound(to: UInt64.self),
        to: to.assumingMemoryBound(to: UInt64.self)
      ) { $0 }
    case 4:
      unsafe copy.run(
        from: from.assumingMemoryBound(to: UInt32.self),
        to: to.assumingMemoryBound(to: UInt32.self)
      ) { $0 }
    default:
      unsafe copy.run(
        from: from.assumingMemoryBound(to: UInt8.self),
        to: to.assumingMemoryBound(to: UInt8.self)
      ) { $0 }
    }
  }

  // MARK: Writing

  /// Writes a tensor of `tensorShape` in the order of the file.
  ///
  /// The buffer holds as many rows of the file as neighbours along the tensor's last axis make a line of
  /// cache, if that is more than its usual size.
  ///
  /// - Throws: `FileError` where the file cannot be written.
  package func write(_ tensor: Tensor, to file: borrowing AtomicFile) throws {
    guard tensor.shape == tensorShape, StoredType(tensor.elementType) == type else {
      fatalError(
        "A tensor \(tensor.elementType.rawValue) \(tensor.shape) was to be written as "
          + "\(type.rawValue) \(shape), with its axes in the order \(permutation).")
    }
    let axes = Axes(self)
    if axes.areInOrder {
      return try unsafe tensor.withBytes { try unsafe file.append($0) }
    }
    let width = type.byteCount
    let (rows, row) = (axes.extents[0], axes.fileStrides[0])
    let step = min(rows, max(64 / width, Self.bufferSize / (row * width)))
    try unsafe withUnsafeTemporaryAllocation(byteCount: step * row * width, alignment: 64) {
      buffer in
      guard let to = buffer.baseAddress else { return }
      for first in stride(from: 0, to: rows, by: step) {
        let count = min(step, rows - first)
        let copy = StridedCopy(
          extents: [count] + axes.extents.dropFirst(), from: axes.tensorStrides,
          to: axes.fileStrides)
        unsafe tensor.withBytes { source in
          guard let from = source.baseAddress else { return }
          unsafe Self.move(copy, width: width, from + first * axes.tensorStrides[0] * width, to)
        }
        try unsafe file.append(UnsafeRawBufferPointer(start: to, count: count * row * width))
      }
    }
  }
}
