package import ConvNetGraph

/// The element types that ONNX can name (TensorProto.DataType), with its numbers for them.
package enum ONNXDataType: Int, Sendable, Hashable, CaseIterable {
  case float = 1
  case uint8, int8, uint16, int16, int32, int64, string, bool, float16, double, uint32, uint64
  case complex64, complex128, bfloat16, float8e4m3fn, float8e4m3fnuz, float8e5m2, float8e5m2fnuz
  case uint4, int4, float4e2m1, float8e8m0, uint2, int2, float6e2m3, float6e3m2

  /// The type that holds a tensor's elements bit for bit.
  package init(_ elementType: ElementType) {
    self =
      switch elementType {
      case .float32: .float
      case .float64: .double
      case .int64: .int64
      case .int32: .int32
      case .uint8: .uint8
      case .bool: .bool
      }
  }

  /// The element type of the tensor that is read, wide enough for every value (of `uint64`, up to
  /// 2⁶³ − 1); nil where the type is not read.
  package var elementType: ElementType? {
    switch self {
    case .float, .float16, .bfloat16: .float32
    case .double: .float64
    case .int64, .uint32, .uint64: .int64
    case .int32, .int8, .int16, .uint16: .int32
    case .uint8: .uint8
    case .bool: .bool
    default: nil
    }
  }

  /// Bytes one element takes in `raw_data`; nil for types that are not read.
  var byteCount: Int? {
    switch self {
    case .double, .int64, .uint64: 8
    case .float, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .uint8, .int8, .bool: 1
    default: nil
    }
  }

  /// The field of TensorProto that holds elements of this type where `raw_data` does not; nil for
  /// types that are not read.
  var typedField: Int? {
    switch self {
    case .float: ONNXTensor.Field.floatData
    case .double: ONNXTensor.Field.doubleData
    case .int64: ONNXTensor.Field.int64Data
    case .uint32, .uint64: ONNXTensor.Field.uint64Data
    case .int32, .int16, .int8, .uint16, .uint8, .bool, .float16, .bfloat16:
      ONNXTensor.Field.int32Data
    default: nil
    }
  }
}
