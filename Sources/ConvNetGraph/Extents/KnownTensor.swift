/// A small tensor whose elements are known before a run: numbers, or extents that still are symbols.
struct KnownTensor: Hashable {
  /// One element.
  enum Element: Hashable {
    case integer(Int64)
    case real(Double)
    /// An extent that has no number yet, or arithmetic on one, spelled out.
    case symbol(String)

    init(_ dimension: Dimension) {
      switch dimension {
      case .fixed(let extent): self = .integer(Int64(extent))
      case .symbol(let name): self = .symbol(name)
      }
    }

    /// The element as a number; nil for a symbol.
    var number: Double? {
      switch self {
      case .integer(let value): Double(value)
      case .real(let value): value
      case .symbol: nil
      }
    }

    /// The element as an integer; nil for a symbol and for what is none.
    var integer: Int? {
      switch self {
      case .integer(let value): Int(value)
      case .real(let value): Int(exactly: value)
      case .symbol: nil
      }
    }

    /// How the element stands in the name of a symbol.
    var label: String {
      switch self {
      case .integer(let value): String(value)
      case .real(let value): "\(value)"
      case .symbol(let name): name
      }
    }

    /// The element as an extent; nil for a negative number.
    var dimension: Dimension? {
      if case .symbol(let name) = self { return .symbol(name) }
      guard let integer, integer >= 0 else { return nil }
      return .fixed(integer)
    }
  }

  /// The most elements that are followed: extents are few, and data are not to be computed twice.
  static let limit = 1 << 12

  var elementType: ElementType
  var shape: Shape
  var elements: [Element]

  /// A tensor, unless it has more elements than are followed.
  init?(_ elementType: ElementType, _ shape: Shape, _ elements: [Element]) {
    guard elements.count == shape.count, elements.count <= KnownTensor.limit,
      KnownTensor.hasShortNames(elements)
    else { return nil }
    self.elementType = elementType
    self.shape = shape
    self.elements = elements
  }

  /// Names that arithmetic makes longer and longer are not followed, nor many copies of a long one.
  private static func hasShortNames(_ elements: [Element]) -> Bool {
    var byteCount = 0
    for case .symbol(let name) in elements {
      byteCount += name.utf8.count
      guard byteCount <= Graph.symbolLimit else { return false }
    }
    return true
  }

  init?(_ constant: Constant) {
    guard constant.words.count <= KnownTensor.limit else { return nil }
    self.init(
      constant.elementType, constant.shape,
      constant.elementType.isFloatingPoint
        ? constant.numbers.map(Element.real) : constant.words.map(Element.integer))
  }

  /// The tensor as a constant of a graph; nil while a symbol is left.
  var constant: Constant? {
    let numbers = elements.compactMap(\.number)
    guard numbers.count == elements.count else { return nil }
    if elementType.isFloatingPoint {
      return Constant(numbers: numbers, shape: shape, elementType: elementType)
    }
    let integers = elements.map { element -> Int64 in
      if case .integer(let value) = element { value } else { 0 }
    }
    return Constant(integers: integers, shape: shape, elementType: elementType)
  }

  /// The elements as integers; nil while a symbol is left.
  var integers: [Int]? {
    let integers = elements.compactMap(\.integer)
    return integers.count == elements.count ? integers : nil
  }
}

extension KnownTensor.Element {
  typealias Element = KnownTensor.Element

  /// f(a, b) of numbers, or a symbol that spells it out.
  static func combine(
    _ function: BinaryFunction, _ a: Element, _ b: Element, isInteger: Bool
  ) -> Element? {
    if case .integer(let left) = a, case .integer(let right) = b, isInteger {
      return function.integer(left, right).map(Element.integer)
    }
    if let left = a.number, let right = b.number {
      return function.number(left, right).map(Element.real)
    }
    let whole = [a, b].map { $0.integer.map { .integer(Int64($0)) } ?? $0 }
    let dimensions = whole.compactMap(\.dimension)
    switch function {
    case .add where dimensions.count == 2: return Element(.sum(dimensions))
    case .multiply where dimensions.count == 2: return Element(.product(dimensions))
    case .subtract where whole[1] == .integer(0): return whole[0]
    case .divide where whole[1] == .integer(1): return whole[0]
    case .subtract where a == b: return .integer(0)
    case .divide where a == b: return .integer(1)
    case .add, .multiply, .subtract, .divide, .maximum, .minimum:
      return .symbol("\(function.name)(\(a.label),\(b.label))")
    default: return nil
    }
  }
}

extension BinaryFunction {
  /// f(a, b) of integers, wrapping around; nil where it has no value.
  fileprivate func integer(_ a: Int64, _ b: Int64) -> Int64? {
    switch self {
    case .add: a &+ b
    case .subtract: a &- b
    case .multiply: a &* b
    case .divide: b == 0 || (b == -1 && a == .min) ? nil : a / b
    case .maximum: max(a, b)
    case .minimum: min(a, b)
    case .power, .equal, .greater, .derivative: nil
    }
  }

  /// f(a, b) of numbers; nil where extents have no use for it.
  fileprivate func number(_ a: Double, _ b: Double) -> Double? {
    switch self {
    case .add: a + b
    case .subtract: a - b
    case .multiply: a * b
    case .divide: a / b
    case .maximum: a.isNaN || a >= b ? a : b
    case .minimum: a.isNaN || a <= b ? a : b
    case .power, .equal, .greater, .derivative: nil
    }
  }
}
