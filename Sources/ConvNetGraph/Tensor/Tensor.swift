/// A dense, row-major array of numbers: a value, copied when written to while shared.
///
/// Images are channels last, `[N, H, W, C]`. The elements are reached through a closure:
///
///     let x = Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
///     let sum = x.withElements { (values: Span<Float>) in
///       values.indices.reduce(Float(0)) { $0 + values[$1] } }
///
/// Copying a tensor costs no allocation; the first write to a shared one allocates a copy.
public struct Tensor: Sendable {
  /// The extents, outermost first.
  public private(set) var shape: Shape
  /// The type of the elements.
  public let elementType: ElementType
  package private(set) var storage: TensorStorage

  /// Makes a tensor of zeros.
  ///
  /// More memory than the system gives stops the program.
  public init(zeros shape: Shape, elementType: ElementType = .float32) {
    self.shape = shape
    self.elementType = elementType
    storage = TensorStorage(byteCount: shape.count * elementType.byteCount)
  }

  /// Makes a tensor with a copy of an array's values, in row-major order.
  ///
  /// A shape with another number of elements stops the program.
  public init<Element: TensorElement>(_ values: [Element], shape: Shape) {
    guard values.count == shape.count else {
      fatalError("\(values.count) values cannot fill a tensor of shape \(shape).")
    }
    Element.checkSize()
    self.init(zeros: shape, elementType: Element.elementType)
    unsafe values.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      unsafe storage.base.copyMemory(from: start, byteCount: source.count)
    }
  }

  /// Makes a tensor of one dimension with a copy of an array's values.
  public init<Element: TensorElement>(_ values: [Element]) {
    self.init(values, shape: [values.count])
  }

  /// Makes a tensor without dimensions.
  public init<Element: TensorElement>(scalar value: Element) {
    self.init([value], shape: [])
  }

  /// Makes a tensor in which every element is the same.
  public init<Element: TensorElement>(repeating value: Element, shape: Shape) {
    self.init([Element](repeating: value, count: shape.count), shape: shape)
  }

  /// The number of elements.
  public var count: Int { shape.count }

  /// The number of bytes the elements take.
  public var byteCount: Int { count * elementType.byteCount }

  /// Calls a closure with the elements, in row-major order.
  ///
  /// Asking for another type than `elementType` stops the program.
  ///
  /// - Throws: what `body` throws.
  public func withElements<Element: TensorElement, Result: ~Copyable, Failure: Error>(
    _ body: (Span<Element>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    checkElement(Element.self)
    let pointer = unsafe storage.base.assumingMemoryBound(to: Element.self)
    return try unsafe body(Span(_unsafeStart: pointer, count: count))
  }

  /// Calls a closure with the elements, to be changed in place; copies them first where shared.
  ///
  /// Asking for another type than `elementType` stops the program.
  ///
  /// - Throws: what `body` throws.
  public mutating func withMutableElements<
    Element: TensorElement, Result: ~Copyable, Failure: Error
  >(
    _ body: (inout MutableSpan<Element>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    checkElement(Element.self)
    makeUnique()
    let pointer = unsafe storage.base.assumingMemoryBound(to: Element.self)
    var span = unsafe MutableSpan(_unsafeStart: pointer, count: count)
    return try body(&span)
  }

  /// A copy of the elements as an array, in row-major order.
  public func elements<Element: TensorElement>(of type: Element.Type = Element.self) -> [Element] {
    withElements { (span: Span<Element>) in
      unsafe [Element](unsafeUninitializedCapacity: span.count) { buffer, count in
        for index in span.indices { unsafe buffer.initializeElement(at: index, to: span[index]) }
        count = span.count
      }
    }
  }

  /// The same elements under another shape.
  ///
  /// - Throws: `GraphError` where the number of elements differs.
  public func reshaped(to shape: Shape) throws -> Tensor {
    guard shape.count == count else {
      throw GraphError(.invalidShape, "a tensor of shape \(self.shape) cannot become \(shape)")
    }
    var result = self
    result.shape = shape
    return result
  }

  /// Calls a closure with the bytes of the elements.
  package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows
    -> Result
  {
    try unsafe body(UnsafeRawBufferPointer(start: storage.base, count: byteCount))
  }

  /// Calls a closure with the bytes of the elements, to be changed in place.
  package mutating func withMutableBytes<Result>(
    _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    makeUnique()
    return try unsafe body(UnsafeMutableRawBufferPointer(start: storage.base, count: byteCount))
  }

  private mutating func makeUnique() {
    if !isKnownUniquelyReferenced(&storage) { storage = TensorStorage(copying: storage) }
  }

  private func checkElement<Element: TensorElement>(_: Element.Type) {
    guard Element.elementType == elementType else {
      fatalError(
        "A tensor of \(elementType.rawValue) \(shape) was asked for \(Element.elementType.rawValue)."
      )
    }
    Element.checkSize()
  }
}

extension Tensor: Equatable {
  /// Whether type, shape and every bit of the elements are the same (NaN equals the same NaN).
  public static func == (left: Tensor, right: Tensor) -> Bool {
    guard left.elementType == right.elementType, left.shape == right.shape else { return false }
    return unsafe left.withBytes { a in
      unsafe right.withBytes { b in unsafe a.elementsEqual(b) }
    }
  }
}
