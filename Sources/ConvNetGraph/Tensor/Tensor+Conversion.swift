extension Tensor {
  /// The elements as doubles, whatever their type; truth values become 0 and 1.
  public var doubles: [Double] {
    switch elementType {
    case .float32: elements(of: Float.self).map(Double.init)
    case .float64: elements(of: Double.self)
    case .int64: elements(of: Int64.self).map(Double.init)
    case .int32: elements(of: Int32.self).map(Double.init)
    case .uint8: elements(of: UInt8.self).map(Double.init)
    case .bool: elements(of: Bool.self).map { $0 ? 1 : 0 }
    }
  }

  /// The elements as floats, whatever their type; truth values become 0 and 1.
  public var floats: [Float] {
    switch elementType {
    case .float32: elements(of: Float.self)
    case .uint8: elements(of: UInt8.self).map(Float.init)
    default: doubles.map { Float($0) }
    }
  }

  /// Makes a tensor of an element type from doubles: float32 is rounded to nearest, integers are cut off
  /// towards zero and saturate.
  package init(doubles values: [Double], shape: Shape, elementType: ElementType) {
    switch elementType {
    case .float32: self.init(values.map { Float($0) }, shape: shape)
    case .float64: self.init(values, shape: shape)
    case .int64: self.init(values.map { Int64(saturating: $0) }, shape: shape)
    case .int32: self.init(values.map { Int32(saturating: $0) }, shape: shape)
    case .uint8: self.init(values.map { UInt8(saturating: $0) }, shape: shape)
    case .bool: self.init(values.map { $0 != 0 }, shape: shape)
    }
  }

  /// The same values in another element type; integers saturate, NaN becomes 0 in them.
  ///
  /// Fractions are cut off towards zero where integers are made; int64 beyond 2⁵³ is rounded.
  public func converted(to elementType: ElementType) -> Tensor {
    guard elementType != self.elementType else { return self }
    return Tensor(doubles: doubles, shape: shape, elementType: elementType)
  }
}

extension FixedWidthInteger {
  /// The value towards zero, held within the type's range; 0 for NaN.
  package init(saturating value: Double) {
    if value.isNaN {
      self = 0
    } else if let exact = Self(exactly: value.rounded(.towardZero)) {
      self = exact
    } else {
      self = value < 0 ? .min : .max
    }
  }
}
