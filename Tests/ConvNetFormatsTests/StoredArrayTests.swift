import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct StoredArrayTests {
  /// The tensor by its definition: element i of the tensor is element i, permuted, of the file.
  static func permuted<Element: TensorElement>(
    _ values: [Element], _ array: StoredArray
  ) -> Tensor {
    let shape = array.tensorShape
    let strides = array.permutation.map { array.shape.strides[$0] }
    let result = (0..<shape.count).map { position in
      var (rest, from) = (position, 0)
      for axis in (0..<shape.rank).reversed() {
        from += rest % shape[axis] * strides[axis]
        rest /= shape[axis]
      }
      return values[from]
    }
    return Tensor(result, shape: shape)
  }

  static func littleEndian<Number: FixedWidthInteger>(_ values: [Number]) -> [UInt8] {
    values.flatMap { value in
      (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * Number($0))) }
    }
  }

  /// Reads what begins at byte 3 of a file, and writes it again.
  private func check<Number: FixedWidthInteger, Element: TensorElement & Equatable>(
    _ array: StoredArray, as _: Number.Type, in folder: String, mask: Number = ~0,
    _ element: (Number) -> Element
  ) throws {
    let numbers = (0..<array.shape.count).map {
      Number(truncatingIfNeeded: $0 &* 2_654_435_761) & mask
    }
    let data = Self.littleEndian(numbers)
    try write([1, 2, 3] + data, to: folder + "/a")
    let tensor = try array.read(from: FileReader(folder + "/a"), at: 3)
    #expect(tensor == Self.permuted(numbers.map(element), array), "\(array)")
    guard array.type.elementType?.byteCount == array.type.byteCount else { return }
    try AtomicFile.write(to: folder + "/b") { try array.write(tensor, to: $0) }
    #expect(try bytes(of: folder + "/b") == data, "\(array)")
  }

  @Test func filtersOfPyTorch() throws {
    try withFolder { folder in
      for shape in [[64, 3, 7, 7], [40, 33, 3, 3], [17, 16, 1, 1], [9, 1, 5, 3], [1, 1, 1, 1]] {
        let array = StoredArray(.float32, Shape(shape), permutation: [2, 3, 1, 0])
        try check(array, as: UInt32.self, in: folder) { Float(bitPattern: $0) }
      }
      let dense = StoredArray(.float32, [1000, 129], permutation: [1, 0])
      try check(dense, as: UInt32.self, in: folder) { Float(bitPattern: $0) }
    }
  }

  /// More than one buffer, so that tiles have edges along every axis.
  @Test(arguments: [[2, 1, 0], [0, 2, 1], [1, 0, 2], [0, 1, 2]])
  func arraysLargerThanTheBuffer(permutation: [Int]) throws {
    try withFolder { folder in
      for shape in [[35, 421, 9], [3, 7, 6301]] {
        let array = StoredArray(.float32, Shape(shape), permutation: permutation)
        try check(array, as: UInt32.self, in: folder) { Float(bitPattern: $0) }
      }
      let narrow = StoredArray(.bfloat16, [35, 421, 9], permutation: permutation)
      try check(narrow, as: UInt16.self, in: folder) { Float(bitPattern: UInt32($0) << 16) }
    }
  }

  @Test func everyTypeInRandomOrders() throws {
    try withFolder { folder in
      for seed in 1...UInt64(40) {
        var random = Lehmer(seed: seed)
        let rank = Int.random(in: 0...5, using: &random)
        let shape = Shape((0..<rank).map { _ in Int.random(in: 0...9, using: &random) % 7 })
        let permutation = Array(0..<rank).shuffled(using: &random)
        func array(_ type: StoredType) -> StoredArray {
          StoredArray(type, shape, permutation: permutation)
        }
        try check(array(.float32), as: UInt32.self, in: folder) { Float(bitPattern: $0) }
        try check(array(.float64), as: UInt64.self, in: folder) { Double(bitPattern: $0) }
        try check(array(.int64), as: Int64.self, in: folder) { $0 }
        try check(array(.int32), as: Int32.self, in: folder) { $0 }
        try check(array(.uint8), as: UInt8.self, in: folder) { $0 }
        // No NaN: the processor would make a quiet one of a signalling one.
        try check(array(.float16), as: UInt16.self, in: folder, mask: 0xbfff) {
          Float(Float16(bitPattern: $0))
        }
      }
    }
  }

  @Test func truthValuesAreChecked() throws {
    try withFolder { folder in
      let array = StoredArray(.bool, [2, 3], permutation: [1, 0])
      try write([1, 0, 0, 1, 1, 0], to: folder + "/a")
      let tensor = try array.read(from: FileReader(folder + "/a"), at: 0)
      #expect(tensor == Tensor([true, true, false, true, false, false], shape: [3, 2]))
      try write([1, 0, 0, 1, 2, 0], to: folder + "/a")
      expectError(.malformed, "truth value") {
        _ = try array.read(from: FileReader(folder + "/a"), at: 0)
      }
    }
  }

  /// What a file does not hold is refused before memory is asked for.
  @Test func refusesWhatTheFileDoesNotHold() throws {
    try withFolder { folder in
      try write([UInt8](repeating: 0, count: 24), to: folder + "/a")
      let file = try FileReader(folder + "/a")
      for (shape, offset) in [
        ([7] as Shape, 0), ([6], 1), ([1], 24), ([1], -4), ([1], .max), ([1 << 56], 0),
      ] {
        expectError(.truncated, "does not hold") {
          _ = try StoredArray(.float32, shape).read(from: file, at: offset)
        }
      }
      expectError(.unsupported, "I16") {
        _ = try StoredArray(.int16, [2]).read(from: file, at: 0, place: "weight")
      }
    }
  }
}
