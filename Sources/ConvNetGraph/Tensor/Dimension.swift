/// One extent of a value in a graph: a number, or a name that a plan gives a number to.
///
/// Arithmetic on a symbol makes a symbol that spells the arithmetic out, so that two extents derived
/// in the same way are equal.
public enum Dimension: Hashable, Sendable, CustomStringConvertible, ExpressibleByIntegerLiteral,
  ExpressibleByStringLiteral
{
  /// An extent known when the graph is described.
  case fixed(Int)
  /// An extent known when a plan is made, such as `"N"` for the batch.
  case symbol(String)

  /// A fixed extent.
  public init(integerLiteral value: Int) { self = .fixed(value) }

  /// A named extent.
  public init(stringLiteral value: String) { self = .symbol(value) }

  /// The number, or the name.
  public var description: String {
    switch self {
    case .fixed(let extent): String(extent)
    case .symbol(let name): name
    }
  }

  /// The number, or nil for a symbol.
  public var extent: Int? {
    if case .fixed(let extent) = self { extent } else { nil }
  }

  /// The extent after a calculation, named by `label` where it is not yet a number.
  func map(_ label: (String) -> String, _ calculation: (Int) throws -> Int) rethrows -> Dimension {
    switch self {
    case .fixed(let extent): .fixed(try calculation(extent))
    case .symbol(let name): .symbol(label(name))
    }
  }

  /// The product of extents; symbols stand in front, in the order they come.
  static func product(_ dimensions: some Sequence<Dimension>) -> Dimension {
    var number = 1
    var symbols: [String] = []
    for dimension in dimensions {
      switch dimension {
      case .fixed(let extent): number = number.multipliedSaturating(by: extent)
      case .symbol(let name): symbols.append(name)
      }
    }
    guard !symbols.isEmpty else { return .fixed(number) }
    let names = symbols.joined(separator: "·")
    return .symbol(number == 1 ? names : "\(names)·\(number)")
  }

  /// The sum of extents, as a concatenation needs it.
  static func sum(_ dimensions: some Sequence<Dimension>) -> Dimension {
    var number = 0
    var symbols: [String] = []
    for dimension in dimensions {
      switch dimension {
      case .fixed(let extent): number = number.addingSaturating(extent)
      case .symbol(let name): symbols.append(name)
      }
    }
    guard !symbols.isEmpty else { return .fixed(number) }
    return .symbol((symbols + (number == 0 ? [] : [String(number)])).joined(separator: "+"))
  }
}

extension Int {
  /// The product of extents, at most `Int.max`, which no tensor can have.
  func multipliedSaturating(by other: Int) -> Int {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? .max : product
  }

  /// The sum of extents, at most `Int.max`, which no tensor can have.
  func addingSaturating(_ other: Int) -> Int {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}

extension Dimension: Codable {
  /// Reads a number or a name.
  ///
  /// - Throws: `DecodingError` where there is neither.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let extent = try? container.decode(Int.self) {
      self = .fixed(extent)
    } else {
      self = .symbol(try container.decode(String.self))
    }
  }

  /// Writes a number or a name.
  ///
  /// - Throws: `EncodingError` as the encoder throws it.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .fixed(let extent): try container.encode(extent)
    case .symbol(let name): try container.encode(name)
    }
  }
}

/// What a value of a graph is: its element type and its extents.
public struct TensorType: Hashable, Sendable, Codable, CustomStringConvertible {
  /// The type of the elements.
  public var elementType: ElementType
  /// The extents, outermost first.
  public var dimensions: [Dimension]

  /// Makes a type of extents that may be symbols.
  public init(_ elementType: ElementType, _ dimensions: [Dimension]) {
    self.elementType = elementType
    self.dimensions = dimensions
  }

  /// Makes a float32 type of extents that may be symbols.
  public init(_ dimensions: [Dimension]) {
    self.init(.float32, dimensions)
  }

  /// Makes the type of a concrete tensor.
  public init(_ elementType: ElementType, _ shape: Shape) {
    self.init(elementType, shape.dimensions.map(Dimension.fixed))
  }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// The concrete shape, or nil while a symbol is left.
  public var shape: Shape? {
    let extents = dimensions.compactMap(\.extent)
    guard extents.count == rank, Shape.elementCount(extents) != nil else { return nil }
    return Shape(extents)
  }

  /// For example `float32 [N, 28, 28, 1]`.
  public var description: String {
    "\(elementType.rawValue) [\(dimensions.map(\.description).joined(separator: ", "))]"
  }

  /// An image batch, channels last: `float32 [N, height, width, channels]`.
  public static func image(height: Int, width: Int, channels: Int) -> TensorType {
    TensorType([.symbol("N"), .fixed(height), .fixed(width), .fixed(channels)])
  }

  /// A batch of feature vectors: `float32 [N, features]`.
  public static func features(_ count: Int) -> TensorType {
    TensorType([.symbol("N"), .fixed(count)])
  }
}
