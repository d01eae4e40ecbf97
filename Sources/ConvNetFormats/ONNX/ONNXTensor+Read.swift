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
    do {
      switch contents {
      case .dense(let file, let range):
        return try read(file, at: range.lowerBound, permutedBy: axes)
      case .external(let data):
        return try read(try data.open(), at: data.range.lowerBound, permutedBy: axes)
      case .encoded(let file, let message, let field):
        return try decode(file, message, field: field).permuted(by: axes)
      case .memory(let tensor, let own): return tensor.permuted(by: own).permuted(by: axes)
      case .produced(let make): return try produce(make).permuted(by: axes)
      case .unsupported: throw unread
      }
    } catch let error as FileError {
      throw place.isEmpty || !error.place.isEmpty ? error : error.inside(place)
    }
  }

  private var unread: FileError {
    FileError(.unsupported, "elements of type \(dataType) are not read", at: path)
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

  /// Reads little-endian elements.
  private func read(_ file: FileReader, at offset: Int, permutedBy axes: [Int]?) throws -> Tensor {
    let types: [ONNXDataType: StoredType] = [
      .float: .float32, .double: .float64, .int64: .int64, .int32: .int32, .uint8: .uint8,
      .bool: .bool, .float16: .float16, .bfloat16: .bfloat16,
    ]
    if let type = types[dataType] {
      return try StoredArray(type, shape, permutation: axes).read(from: file, at: offset)
    }
    let integers =
      switch dataType {
      case .int8: try widen(file, offset) { (value: Int8) in Int32(value) }
      case .int16: try widen(file, offset) { (value: Int16) in Int32(value) }
      case .uint16: try widen(file, offset) { (value: UInt16) in Int32(value) }
      case .uint32: try widen(file, offset) { (value: UInt32) in Int64(value) }
      case .uint64: try widen(file, offset) { (value: UInt64) in try int64(value) }
      default: throw unread
      }
    return integers.permuted(by: axes)
  }

  /// Reads integers of which tensors hold wider ones only; they are rare, and never weights.
  private func widen<Stored: FixedWidthInteger, Element: TensorElement>(
    _ file: FileReader, _ start: Int, _ convert: (Stored) throws -> Element
  ) throws -> Tensor {
    let width = MemoryLayout<Stored>.size
    let block = 1 << 14
    var result = try Tensor.room(for: Element.elementType, shape, of: path)
    try result.withMutableElements { (elements: inout MutableSpan<Element>) in
      for first in stride(from: 0, to: elements.count, by: block) {
        let count = min(block, elements.count - first)
        let bytes = try file.bytes(count: count * width, at: start + first * width)
        for index in 0..<count {
          var value: Stored = 0
          for byte in 0..<width {
            value |= Stored(truncatingIfNeeded: bytes[index * width + byte]) << Stored(8 * byte)
          }
          elements[first + index] = try convert(value)
        }
      }
    }
    return result
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
    default: throw unread
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
    var result = try Tensor.room(for: Element.elementType, shape, of: path)
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

extension Tensor {
  /// A copy with the axes in another order; itself where none is given.
  fileprivate func permuted(by axes: [Int]?) -> Tensor {
    guard let axes, axes != Array(0..<shape.rank) else { return self }
    var result = Tensor(zeros: Shape(axes.map { shape[$0] }), elementType: elementType)
    let strides = shape.strides
    let copy = StridedCopy(
      extents: result.shape.dimensions, from: axes.map { strides[$0] }, to: result.shape.strides)
    func move<Bits: BitwiseCopyable>(_: Bits.Type) {
      unsafe withBytes { source in
        unsafe result.withMutableBytes { target in
          guard let from = source.baseAddress, let to = target.baseAddress else { return }
          unsafe copy.run(
            from: from.assumingMemoryBound(to: Bits.self), to: to.assumingMemoryBound(to: Bits.self)
          ) { $0 }
        }
      }
    }
    switch elementType.byteCount {
    case 1: move(UInt8.self)
    case 4: move(UInt32.self)
    default: move(UInt64.self)
    }
    return result
  }
}
