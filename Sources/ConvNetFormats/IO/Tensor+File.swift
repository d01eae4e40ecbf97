import ConvNetGraph

extension Tensor {
  /// Zeros for data that a file promises; refuses more than the machine has memory.
  ///
  /// Readers compare the promise with the file's size first; this bound is for files with holes,
  /// whose size means nothing, and for compressed ones.
  static func room(
    for elementType: ElementType, _ shape: Shape, of path: String, place: String = ""
  ) throws -> Tensor {
    let memory = TensorStorage.memoryByteCount
    let byteCount = shape.count * elementType.byteCount
    guard byteCount <= memory else {
      throw FileError(
        .tooLarge,
        "\(elementType.rawValue) \(shape) takes \(byteCount) bytes and this machine has "
          + "\(memory)", at: path, place: place)
    }
    return Tensor(zeros: shape, elementType: elementType)
  }

  /// Reverses the bytes of every element.
  mutating func swapBytes() {
    let width = elementType.byteCount
    guard width > 1 else { return }
    unsafe withMutableBytes { bytes in
      if width == 4 {
        let words = unsafe bytes.assumingMemoryBound(to: UInt32.self)
        for index in 0..<words.count { unsafe words[index] = words[index].byteSwapped }
      } else {
        let words = unsafe bytes.assumingMemoryBound(to: UInt64.self)
        for index in 0..<words.count { unsafe words[index] = words[index].byteSwapped }
      }
    }
  }

  /// Refuses truth values that are neither 0 nor 1, which Swift must not see as `Bool`.
  func checkTruthValues(of path: String, place: String = "") throws {
    guard elementType == .bool else { return }
    if let wrong = unsafe withBytes({ bytes in unsafe bytes.first { $0 > 1 } }) {
      throw FileError(
        .malformed, "holds \(wrong) where a truth value is 0 or 1", at: path, place: place)
    }
  }

  /// The axes in reverse order, as data in Fortran's order have to be read.
  func reversingAxes() -> Tensor {
    let reversed = Shape(shape.dimensions.reversed())
    var result = Tensor(zeros: reversed, elementType: elementType)
    let width = elementType.byteCount
    let steps = Array(shape.strides.reversed())
    unsafe withBytes { source in
      unsafe result.withMutableBytes { target in
        var index = [Int](repeating: 0, count: reversed.rank)
        var from = 0
        for to in 0..<reversed.count {
          for byte in 0..<width {
            unsafe target[to * width + byte] = source[from * width + byte]
          }
          // An odometer: the last axis turns fastest, a full one goes back and turns its neighbour.
          for axis in stride(from: reversed.rank - 1, through: 0, by: -1) {
            index[axis] += 1
            from += steps[axis]
            if index[axis] < reversed[axis] { break }
            from -= steps[axis] * index[axis]
            index[axis] = 0
          }
        }
      }
    }
    return result
  }
}

extension Float {
  /// The value of an IEEE 754 binary16, exactly.
  init(halfBits bits: UInt16) {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10 & 0x1f)
    let fraction = UInt32(bits & 0x3ff)
    switch exponent {
    case 0:
      // Zero, and subnormal values in units of 2⁻²⁴.
      let magnitude = Float(fraction) * 0x1p-24
      self.init(bitPattern: sign | magnitude.bitPattern)
    case 31: self.init(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: self.init(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
  }

  /// The value of a bfloat16, the upper half of a binary32.
  init(bfloatBits bits: UInt16) {
    self.init(bitPattern: UInt32(bits) << 16)
  }
}
