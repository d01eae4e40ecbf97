/// A small constant that is part of the graph: indices, extents and truth values to compute with.
///
/// Numbers that are learned, or many, are parameters. It takes no operands.
package struct Constant: Hashable, Sendable, Codable {
  package var elementType: ElementType
  package var shape: Shape
  /// The elements, as Int64 of integers and truth values, as the bits of a Double otherwise: a graph is
  /// written as JSON, which has neither NaN nor infinities.
  package var words: [Int64]

  /// The most elements of a constant.
  package static let limit = 1 << 20

  /// A constant of integers or truth values.
  package init(integers: [Int64], shape: Shape, elementType: ElementType = .int64) {
    self.elementType = elementType
    self.shape = shape
    words = integers
  }

  /// A constant of floating-point numbers.
  package init(numbers: [Double], shape: Shape, elementType: ElementType = .float32) {
    self.elementType = elementType
    self.shape = shape
    words = numbers.map { Int64(bitPattern: $0.bitPattern) }
  }

  /// The elements as numbers.
  package var numbers: [Double] {
    elementType.isFloatingPoint
      ? words.map { Double(bitPattern: UInt64(bitPattern: $0)) } : words.map(Double.init)
  }

  /// The elements as a tensor.
  package var tensor: Tensor {
    elementType == .int64
      ? Tensor(words, shape: shape)
      : Tensor(doubles: numbers, shape: shape, elementType: elementType)
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    _ = try Operation.take(inputs, count: 0)
    guard words.count == shape.count, words.count <= Constant.limit else {
      throw GraphError(
        .invalidAttribute, "\(words.count) elements do not make a constant of shape \(shape)")
    }
    return TensorType(elementType, shape)
  }
}
