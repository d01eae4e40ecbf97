public import ConvNetGraph

/// The element types that a safetensors file can name.
public enum StoredType: String, Sendable, Hashable, CaseIterable {
  /// IEEE 754 binary64.
  case float64 = "F64"
  /// IEEE 754 binary32.
  case float32 = "F32"
  /// IEEE 754 binary16, read as float32.
  case float16 = "F16"
  /// bfloat16, read as float32.
  case bfloat16 = "BF16"
  /// Signed 64-bit integers.
  case int64 = "I64"
  /// Signed 32-bit integers.
  case int32 = "I32"
  /// Signed 16-bit integers, not read.
  case int16 = "I16"
  /// Signed bytes, not read.
  case int8 = "I8"
  /// Unsigned 64-bit integers, not read.
  case uint64 = "U64"
  /// Unsigned 32-bit integers, not read.
  case uint32 = "U32"
  /// Unsigned 16-bit integers, not read.
  case uint16 = "U16"
  /// Unsigned bytes.
  case uint8 = "U8"
  /// Truth values, one byte each.
  case bool = "BOOL"
  /// Eight-bit floating point with five bits of exponent, not read.
  case float8e5m2 = "F8_E5M2"
  /// Eight-bit floating point with four bits of exponent, not read.
  case float8e4m3 = "F8_E4M3"

  /// Bytes one element takes in the file.
  public var byteCount: Int {
    switch self {
    case .float64, .int64, .uint64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .int8, .uint8, .bool, .float8e5m2, .float8e4m3: 1
    }
  }

  /// The element type of the tensor that is read, or nil where the type is not read.
  public var elementType: ElementType? {
    switch self {
    case .float64: .float64
    case .float32, .float16, .bfloat16: .float32
    case .int64: .int64
    case .int32: .int32
    case .uint8: .uint8
    case .bool: .bool
    case .int16, .int8, .uint64, .uint32, .uint16, .float8e5m2, .float8e4m3: nil
    }
  }

  /// The type that holds a tensor's elements bit for bit.
  init(_ elementType: ElementType) {
    self =
      switch elementType {
      case .float32: .float32
      case .float64: .float64
      case .int64: .int64
      case .int32: .int32
      case .uint8: .uint8
      case .bool: .bool
      }
  }
}
