package import ConvNetGraph

extension ONNXTensor {
  /// Reads the data, straight into the layout that is asked for.
  ///
  /// float16 and bfloat16 become float32, int8, int16 and uint16 int32, uint32 and uint64 int64.
  ///
  /// - Parameter axes: The file's axes in the order of the result: `[2, 3, 1, 0]` makes
  ///   `[kh, kw, I, O]` of a convolution's `[O, I, kh, kw]`, `[1, 0]` transposes a matrix.
  /// - Throws: `FileError` where the type is not read, or a number does not fit its type.
  package func read(permutedBy axes: [Int]? = nil) throws -> Tensor {
    guard let elementType else {
      throw failure(.unsupported, "elements of type \(dataType) are not read")
    }
    let order = axes ?? Array(0..<shape.rank)
    let permuted = Shape(order.map { shape[$0] })
    var result = try Tensor.room(for: elementType, permuted, of: path, place: place)
    try read(into: &result, permutedBy: order)
    return result
  }

  /// Reads the data into a tensor of the right type and number of elements, whatever its shape.
  package func read(into target: inout Tensor, permutedBy axes: [Int]? = nil) throws {
    guard target.elementType == elementType, target.count == shape.count else {
      fatalError(
        "\(dataType) \(shape) cannot be read into \(target.elementType.rawValue) \(target.shape).")
    }
    let copy = PermutedCopy(shape, permutedBy: axes ?? Array(0..<shape.rank))
    do {
      switch contents {
      case .dense(let file, let range):
        try fill(&target, copy, StoredBytes(file, at: range.lowerBound))
      case .external(let data):
        try fill(&target, copy, StoredBytes(try data.open(), at: data.range.lowerBound))
      case .encoded(let file, let message, let field):
        Self.copy(try decode(file, message, field: field), to: &target, copy)
      case .memory(let tensor, let own):
        let inner = own.map { order in (axes ?? Array(order.indices)).map { order[$0] } } ?? axes
        let order = inner ?? Array(0..<tensor.shape.rank)
        Self.copy(tensor, to: &target, PermutedCopy(tensor.shape, permutedBy: order))
      case .produced(let make): Self.copy(try produce(make), to: &target, copy)
      case .unsupported: break
      }
      try target.checkTruthValues(of: path)
    } catch let error as FileError {
      throw place.isEmpty || !error.place.isEmpty ? error : error.inside(place)
    }
  }

  /// What a closure makes, which has to be what it promised.
  func produce(_ make: () throws -> Tensor) throws -> Tensor {
    let tensor = try make()
    guard tensor.elementType == elementType, tensor.shape == shape else {
      fatalError(
        "\(place) was to be \(dataType) \(shape) and is \(tensor.elementType.rawValue) "
          + "\(tensor.shape).")
    }
    return tensor
  }

  /// Copies a tensor in memory.
  private static func copy(_ tensor: Tensor, to target: inout Tensor, _ copy: PermutedCopy) {
    func move<Element: BitwiseCopyable>(_: Element.Type) {
      unsafe tensor.withBytes { source in
        unsafe target.withMutableBytes { bytes in
          guard let to = bytes.baseAddress, let from = source.baseAddress else { return }
          let elements = unsafe from.assumingMemoryBound(to: Element.self)
          try? unsafe copy.run(into: to.assumingMemoryBound(to: Element.self)) {
            first, count, place in unsafe place.update(from: elements + first, count: count)
          }
        }
      }
    }
    switch tensor.elementType.byteCount {
    case 1: move(UInt8.self)
    case 4: move(UInt32.self)
    default: move(UInt64.self)
    }
  }

  /// Reads little-endian elements, widening them on the way where their type asks for it.
  private func fill(_ target: inout Tensor, _ copy: PermutedCopy, _ bytes: StoredBytes) throws {
    switch dataType {
    case .float16: try widen(&target, copy, bytes) { Float(halfBits: $0) }
    case .bfloat16: try widen(&target, copy, bytes) { Float(bfloatBits: $0) }
    case .int8: try widen(&target, copy, bytes) { (value: Int8) in Int32(value) }
    case .int16: try widen(&target, copy, bytes) { (value: Int16) in Int32(value) }
    case .uint16: try widen(&target, copy, bytes) { (value: UInt16) in Int32(value) }
    case .uint32: try widen(&target, copy, bytes) { (value: UInt32) in Int64(value) }
    case .uint64: try widen(&target, copy, bytes) { (value: UInt64) in try int64(value) }
    case .float, .int32: try load(&target, copy, bytes, as: UInt32.self)
    case .double, .int64: try load(&target, copy, bytes, as: UInt64.self)
    default: try load(&target, copy, bytes, as: UInt8.self)
    }
  }

  private func load<Element: BitwiseCopyable>(
    _ target: inout Tensor, _ copy: PermutedCopy, _ bytes: StoredBytes, as _: Element.Type
  ) throws {
    let width = MemoryLayout<Element>.size
    try unsafe target.withMutableBytes { buffer in
      guard let start = buffer.baseAddress else { return }
      try unsafe copy.run(into: start.assumingMemoryBound(to: Element.self)) {
        first, count, place in
        let room = unsafe UnsafeMutableRawBufferPointer(start: place, count: count * width)
        unsafe try bytes.read(into: room, at: first * width)
      }
    }
  }

  private func widen<Stored: BitwiseCopyable, Element: BitwiseCopyable>(
    _ target: inout Tensor, _ copy: PermutedCopy, _ bytes: StoredBytes,
    _ convert: (Stored) throws -> Element
  ) throws {
    let width = MemoryLayout<Stored>.size
    let block = 1 << 14
    try unsafe target.withMutableBytes { buffer in
      guard let start = buffer.baseAddress else { return }
      let stored = UnsafeMutablePointer<Stored>.allocate(capacity: block)
      defer { unsafe stored.deallocate() }
      try unsafe copy.run(into: start.assumingMemoryBound(to: Element.self)) {
        first, count, place in
        for begin in stride(from: 0, to: count, by: block) {
          let length = min(block, count - begin)
          let room = unsafe UnsafeMutableRawBufferPointer(start: stored, count: length * width)
          unsafe try bytes.read(into: room, at: (first + begin) * width)
          for index in 0..<length {
            unsafe place[begin + index] = try convert(stored[index])
          }
        }
      }
    }
  }

  private func int64(_ value: UInt64) throws -> Int64 {
    guard let number = Int64(exactly: value) else {
      throw FileError(.unsupported, "holds \(value), which is beyond int64", at: path)
    }
    return number
  }

  // MARK: Typed fields

  /// Decodes elements that protobuf's encoding holds one by one, in the order of the file.
  private func decode(_ file: FileReader, _ message: Range<Int>, field number: Int) throws -> Tensor
  {
    switch dataType {
    case .float:
      return try decode(file, message, number, width: 4) { Float(bitPattern: UInt32($0)) }
    case .double: return try decode(file, message, number, width: 8) { Double(bitPattern: $0) }
    case .int64: return try decode(file, message, number) { Int64(bitPattern: $0) }
    case .uint64: return try decode(file, message, number) { try int64($0) }
    case .uint32: return try decode(file, message, number) { try Int64(narrow($0, UInt32.self)) }
    case .int32: return try decode(file, message, number) { Int32(truncatingIfNeeded: $0) }
    case .int8: return try decode(file, message, number) { try Int32(narrow($0, Int8.self)) }
    case .int16: return try decode(file, message, number) { try Int32(narrow($0, Int16.self)) }
    case .uint16: return try decode(file, message, number) { try Int32(narrow($0, UInt16.self)) }
    case .uint8: return try decode(file, message, number) { try narrow($0, UInt8.self) }
    case .bool:
      return try decode(file, message, number) { try narrow($0, UInt8.self, limit: 1) == 1 }
    case .float16:
      return try decode(file, message, number) { try Float(halfBits: narrow($0, UInt16.self)) }
    case .bfloat16:
      return try decode(file, message, number) { try Float(bfloatBits: narrow($0, UInt16.self)) }
    default: throw failure(.unsupported, "elements of type \(dataType) are not read")
    }
  }

  /// An integer of fewer bits, which the schema widens to 32 or 64 with its sign.
  private func narrow<Number: FixedWidthInteger>(
    _ bits: UInt64, _: Number.Type, limit: Number = .max
  ) throws -> Number {
    guard let number = Number(exactly: Int64(bitPattern: bits)), number <= limit else {
      throw FileError(
        .malformed, "holds \(Int64(bitPattern: bits)), which is no \(dataType)", at: path)
    }
    return number
  }

  /// - Parameter width: The bytes of an element of fixed width; 0 for varints.
  private func decode<Element: TensorElement>(
    _ file: FileReader, _ message: Range<Int>, _ number: Int, width: Int = 0,
    _ convert: (UInt64) throws -> Element
  ) throws -> Tensor {
    var result = try Tensor.room(for: Element.elementType, shape, of: path, place: place)
    // The number of elements was counted when the file was opened.
    let changed = FileError(.malformed, "the file has changed since it was opened", at: path)
    let total = result.count
    var done = 0
    try unsafe result.withMutableBytes { bytes in
      let elements = unsafe bytes.assumingMemoryBound(to: Element.self)
      var reader = ProtobufReader(file, range: message)
      func take(_ bits: UInt64) throws {
        guard done < total else { throw changed }
        unsafe elements[done] = try convert(bits)
        done += 1
      }
      while let field = try reader.next() {
        if field.number != number {
          try reader.skip(field)
        } else if width == 0 {
          try reader.forEachVarint(field, take)
        } else {
          try reader.forEachFixed(field, width, take)
        }
      }
    }
    guard done == total else { throw changed }
    return result
  }
}

/// Bytes of a file from an offset on, read in large pieces where they are asked for in order.
private final class StoredBytes {
  private static let pieceSize = 1 << 18
  private let file: FileReader
  private let start: Int
  private var piece: [UInt8] = []
  private var pieceStart = 0
  /// Where the last request ended.
  private var last = 0

  init(_ file: FileReader, at start: Int) {
    self.file = file
    self.start = start
  }

  /// Fills a buffer from an offset.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    let isNext = offset == last
    last = offset + buffer.count
    let present = offset >= pieceStart && last <= pieceStart + piece.count
    if !present {
      guard isNext, buffer.count < Self.pieceSize / 8 else {
        return try unsafe file.fill(buffer, at: start + offset)
      }
      let count = max(buffer.count, min(Self.pieceSize, file.size - start - offset))
      if piece.count != count { piece = [UInt8](repeating: 0, count: count) }
      pieceStart = offset
      do {
        try unsafe piece.withUnsafeMutableBytes { try unsafe file.fill($0, at: start + offset) }
      } catch {
        piece = []
        throw error
      }
    }
    unsafe piece.withUnsafeBytes { bytes in
      let from = offset - pieceStart
      unsafe buffer.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[from..<(from + buffer.count)]))
    }
  }
}
