/// The kinds of element a tensor holds.
///
/// Computation is `float32`; `float64` carries batch statistics, `int64` labels and indices.
public enum ElementType: String, Sendable, Hashable, Codable, CaseIterable {
  /// IEEE 754 binary32, what activations, parameters and gradients are.
  case float32
  /// IEEE 754 binary64, what batch statistics are merged in.
  case float64
  /// Signed 64-bit integers: labels, indices, counters.
  case int64
  /// Signed 32-bit integers.
  case int32
  /// Unsigned bytes: pixels as files hold them.
  case uint8
  /// Truth values, one byte each.
  case bool

  /// Bytes one element takes.
  public var byteCount: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .uint8, .bool: 1
    }
  }

  /// Whether values of this type have gradients.
  public var isFloatingPoint: Bool { self == .float32 || self == .float64 }
}

/// A Swift type that a tensor can hold: Float, Double, Int64, Int32, UInt8 and Bool, and no others.
public protocol TensorElement: BitwiseCopyable, Sendable {
  /// The element type of a tensor of these.
  static var elementType: ElementType { get }
}

extension TensorElement {
  /// Stops a program that has made a type of another size an element, before it reads memory of others.
  static func checkSize() {
    guard MemoryLayout<Self>.stride == elementType.byteCount else {
      fatalError("\(Self.self) has not the size of \(elementType.rawValue).")
    }
  }
}

extension Float: TensorElement {
  /// `float32`.
  public static var elementType: ElementType { .float32 }
}

extension Double: TensorElement {
  /// `float64`.
  public static var elementType: ElementType { .float64 }
}

extension Int64: TensorElement {
  /// `int64`.
  public static var elementType: ElementType { .int64 }
}

extension Int32: TensorElement {
  /// `int32`.
  public static var elementType: ElementType { .int32 }
}

extension UInt8: TensorElement {
  /// `uint8`.
  public static var elementType: ElementType { .uint8 }
}

extension Bool: TensorElement {
  /// `bool`.
  public static var elementType: ElementType { .bool }
}
