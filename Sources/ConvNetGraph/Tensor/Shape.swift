/// The concrete extents of a tensor, outermost first; `[]` is a scalar.
public struct Shape: Hashable, Sendable, Codable, ExpressibleByArrayLiteral,
  CustomStringConvertible
{
  /// The extents, outermost first.
  public let dimensions: [Int]

  /// Makes a shape of extents that are known to be right.
  ///
  /// A negative extent, more than 64 dimensions, or extents whose product, zeros left out, passes 2⁵⁶ is a
  /// mistake of the program and stops it; use `init(checking:)` for numbers that come from outside.
  public init(_ dimensions: [Int]) {
    guard Shape.elementCount(dimensions) != nil else {
      fatalError(
        "The shape \(dimensions) has a negative extent or more elements than can be counted.")
    }
    self.dimensions = dimensions
  }

  /// Makes a shape of extents that come from outside.
  ///
  /// - Throws: `GraphError` where an extent is negative, there are more than 64, or their product, zeros left
  ///   out, passes 2⁵⁶.
  public init(checking dimensions: [Int]) throws {
    guard Shape.elementCount(dimensions) != nil else {
      throw GraphError(
        .invalidShape,
        "the shape \(dimensions) has a negative extent or more elements than can be counted")
    }
    self.dimensions = dimensions
  }

  /// Makes a shape of a literal such as `[32, 28, 28, 1]`.
  public init(arrayLiteral elements: Int...) {
    self.init(elements)
  }

  /// Reads a shape from an array of numbers, checking it.
  ///
  /// - Throws: `DecodingError` where there is no such array, `GraphError` as `init(checking:)`.
  public init(from decoder: any Decoder) throws {
    try self.init(checking: [Int](from: decoder))
  }

  /// Writes the shape as an array of numbers.
  ///
  /// - Throws: `EncodingError` as the encoder throws it.
  public func encode(to encoder: any Encoder) throws {
    try dimensions.encode(to: encoder)
  }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// The number of elements: the product of the extents.
  public var count: Int { dimensions.reduce(1, *) }

  /// The extent of one dimension, counted from the outermost.
  public subscript(axis: Int) -> Int { dimensions[axis] }

  /// Elements between neighbours along each axis of a dense, row-major tensor of this shape.
  public var strides: [Int] {
    var strides = [Int](repeating: 1, count: rank)
    for axis in stride(from: rank - 2, through: 0, by: -1) {
      strides[axis] = strides[axis + 1] * dimensions[axis + 1]
    }
    return strides
  }

  /// The extents in brackets.
  public var description: String { dimensions.description }

  /// The product of the extents, or nil where one is negative or it passes 2⁵⁶ (room for byte counts).
  static func elementCount(_ dimensions: [Int]) -> Int? {
    guard dimensions.count <= 64 else { return nil }
    // The product without the zeros is bounded too, so that strides never overflow.
    var nonzero = 1
    for extent in dimensions {
      guard extent >= 0 else { return nil }
      let (product, overflow) = nonzero.multipliedReportingOverflow(by: max(extent, 1))
      guard !overflow, product <= 1 << 56 else { return nil }
      nonzero = product
    }
    return dimensions.contains(0) ? 0 : nonzero
  }
}
