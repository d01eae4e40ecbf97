package import ConvNetGraph

/// A value of the reference: numbers in Double whatever the declared element type is.
///
/// float32 values are not rounded between operations: the reference says what an operation means, and
/// rounding is what the engine is measured against.
package struct ReferenceTensor: Sendable {
  package var shape: Shape
  package var elementType: ElementType
  /// The elements in row-major order.
  package var values: [Double]
  /// The elements again where an integer among them is too large for a Double.
  private(set) var largeIntegers: [Int64]?

  package init(_ values: [Double], shape: Shape, elementType: ElementType = .float32) {
    guard values.count == shape.count else {
      fatalError("\(values.count) values cannot fill a reference tensor of shape \(shape).")
    }
    self.shape = shape
    self.elementType = elementType
    self.values = values
  }

  package init(_ tensor: Tensor) {
    self.init(tensor.doubles, shape: tensor.shape, elementType: tensor.elementType)
    if elementType == .int64 {
      let integers = tensor.elements(of: Int64.self)
      if integers.contains(where: { $0.magnitude > 1 << 53 }) { largeIntegers = integers }
    }
  }

  /// The elements as integers; those of an int64 tensor exactly.
  var integers: [Int64] { largeIntegers ?? values.map { Int64($0) } }

  package var type: TensorType { TensorType(elementType, shape) }

  /// The values rounded to the element type.
  package var tensor: Tensor {
    if let largeIntegers { return Tensor(largeIntegers, shape: shape) }
    return Tensor(doubles: values, shape: shape, elementType: elementType)
  }
}
