/// The values of a graph that depend on extents and constants alone, found on a walk along its nodes.
///
/// Arithmetic on shapes, as ONNX models have it, is followed here and not run: with concrete extents it
/// gives constants, before that symbols, from which deferred operations have their types.
struct KnownValues {
  private var values: [Graph.ValueID: KnownTensor] = [:]

  subscript(value: Graph.ValueID) -> KnownTensor? { values[value] }

  /// The types of a node's results; for a deferred operation those of what it stands for.
  func outputTypes(of node: Graph.Node, in graph: Graph) throws -> [TensorType] {
    let inputs = node.inputs.map(graph.type(of:))
    guard case .deferred(let deferred) = node.operation else {
      return try node.operation.outputTypes(inputs)
    }
    return [try deferred.outputType(inputs, known: node.inputs.map { values[$0] })]
  }

  /// Follows a node whose types are in the graph.
  mutating func note(_ node: Graph.Node, in graph: Graph) {
    guard node.outputs.count == 1, let shape = graph.type(of: node.outputs[0]).shape,
      shape.count <= KnownTensor.limit
    else { return }
    let elementType = graph.type(of: node.outputs[0]).elementType
    let inputs = node.inputs.map { values[$0] }
    if let elements = elements(of: node, inputs, shape, graph) {
      values[node.outputs[0]] = KnownTensor(elementType, shape, elements)
    }
  }

  private typealias Element = KnownTensor.Element

  private func elements(
    of node: Graph.Node, _ inputs: [KnownTensor?], _ shape: Shape, _ graph: Graph
  ) -> [Element]? {
    switch node.operation {
    case .constant(let constant): return KnownTensor(constant)?.elements
    case .deferred(.extents(let start, let end)):
      let dimensions = graph.type(of: node.inputs[0]).dimensions
      return dimensions[Deferred.cut(start, end, rank: dimensions.count)].map(Element.init)
    case .fill(let value): return [Element](repeating: .real(value), count: shape.count)
    default: break
    }
    let known = inputs.compactMap { $0 }
    guard known.count == inputs.count, !known.isEmpty else { return nil }
    // Beside an extent of 0 others may be beyond counting.
    guard shape.count > 0 else { return [] }
    let isInteger = known[0].elementType == .int64 || known[0].elementType == .int32
    switch node.operation {
    case .reshape, .reshapeLike, .deferred(.reshape): return known[0].elements
    case .transpose(let transpose):
      let strides = known[0].shape.strides
      return shape.indices(strides: transpose.permutation.map { strides[$0] }).map {
        known[0].elements[$0]
      }
    case .cast(let type): return known[0].elements.map { $0.cast(to: type) }
    case .concatenate(let concatenate): return Self.concatenate(known, concatenate, shape)
    case .gather(let gather): return Self.gather(known[0], known[1], gather, shape)
    case .slice(let slice): return Self.slice(known[0], slice, shape)
    case .deferred(let deferred):
      return deferred.elements(known, shape)
    case .broadcast: return known[0].stretched(to: shape)
    case .combine(let function):
      let (a, b) = (known[0].stretched(to: shape), known[1].stretched(to: shape))
      let combined = zip(a, b).compactMap {
        Element.combine(function, $0, $1, isInteger: isInteger)
      }
      return combined.count == a.count ? combined : nil
    case .map(let function):
      let mapped = known[0].elements.compactMap { $0.map(function) }
      return mapped.count == known[0].elements.count ? mapped : nil
    case .compare(let comparison):
      let (a, b) = (known[0].stretched(to: shape), known[1].stretched(to: shape))
      let compared = zip(a, b).compactMap { comparison.element($0, $1) }
      return compared.count == a.count ? compared : nil
    case .select:
      let parts = known.map { $0.stretched(to: shape) }
      guard !parts[0].contains(where: { $0.number == nil }) else { return nil }
      return parts[0].indices.map { parts[0][$0] == .integer(0) ? parts[2][$0] : parts[1][$0] }
    default: return nil
    }
  }

  private static func concatenate(
    _ known: [KnownTensor], _ concatenate: Concatenate, _ shape: Shape
  ) -> [Element] {
    let axis = concatenate.axis < 0 ? concatenate.axis + shape.rank : concatenate.axis
    let outer = shape.dimensions[..<axis].reduce(1, *)
    var result: [Element] = []
    for index in 0..<outer {
      for part in known {
        let run = part.shape.dimensions[axis...].reduce(1, *)
        result += part.elements[(index * run)..<((index + 1) * run)]
      }
    }
    return result
  }

  private static func gather(
    _ x: KnownTensor, _ indices: KnownTensor, _ gather: Gather, _ shape: Shape
  ) -> [Element]? {
    guard let indices = indices.integers else { return nil }
    let axis = gather.axis < 0 ? gather.axis + x.shape.rank : gather.axis
    let extent = x.shape[axis]
    let run = x.shape.dimensions[(axis + 1)...].reduce(1, *)
    var result: [Element] = []
    for outer in 0..<x.shape.dimensions[..<axis].reduce(1, *) {
      for index in indices {
        let position = index < 0 ? index + extent : index
        guard (0..<extent).contains(position) else { return nil }
        let first = (outer * extent + position) * run
        result += x.elements[first..<(first + run)]
      }
    }
    return result
  }

  private static func slice(_ x: KnownTensor, _ slice: Slice, _ shape: Shape) -> [Element] {
    let axis = slice.axis < 0 ? slice.axis + x.shape.rank : slice.axis
    let run = x.shape.dimensions[(axis + 1)...].reduce(1, *)
    var result: [Element] = []
    for outer in 0..<x.shape.dimensions[..<axis].reduce(1, *) {
      for index in 0..<slice.count {
        let position = slice.start + index * slice.stride
        let first = (outer * x.shape[axis] + position) * run
        result += x.elements[first..<(first + run)]
      }
    }
    return result
  }
}

extension KnownTensor {
  /// The elements stretched to a shape by the rule of `TensorType.broadcast`.
  func stretched(to target: Shape) -> [Element] {
    shape.indices(stretchedTo: target).map { elements[$0] }
  }
}

extension KnownTensor.Element {
  /// The element in another type: integers are cut towards zero.
  fileprivate func cast(to type: ElementType) -> KnownTensor.Element {
    guard let number else { return self }
    if type.isFloatingPoint { return .real(type == .float32 ? Double(Float(number)) : number) }
    if type == .bool { return .integer(number == 0 ? 0 : 1) }
    if case .integer = self { return self }
    return number.isNaN
      ? .integer(0)
      : Int64(exactly: number.rounded(.towardZero))
        .map { .integer($0) } ?? .integer(number < 0 ? .min : .max)
  }

  /// f(x) for what arithmetic on extents uses; rounding leaves a symbol as it is.
  fileprivate func map(_ function: UnaryFunction) -> KnownTensor.Element? {
    switch (function, number) {
    case (.affine(let scale, let offset), let x?): .real(scale * x + offset)
    case (.squareRoot, let x?): .real(x.squareRoot())
    case (.floor, let x?): .real(x.rounded(.down))
    case (.ceiling, let x?): .real(x.rounded(.up))
    case (.round, let x?): .real(x.rounded(.toNearestOrEven))
    case (.floor, nil), (.ceiling, nil), (.round, nil): .symbol("\(function.name)(\(label))")
    default: nil
    }
  }
}

extension Comparison {
  /// The relation of two elements as 0 or 1; nil where a symbol leaves it open.
  fileprivate func element(
    _ a: KnownTensor.Element, _ b: KnownTensor.Element
  ) -> KnownTensor.Element? {
    guard let a = a.number, let b = b.number else {
      guard self == .equal else { return nil }
      if a == b { return .integer(1) }
      // An extent is never negative; a difference of extents may be.
      let (symbol, number) = a.number == nil ? (a, b.number) : (b, a.number)
      let isNegative = number.map { $0 < 0 } ?? false
      return isNegative && !symbol.label.contains("subtract") ? .integer(0) : nil
    }
    let holds =
      switch self {
      case .equal: a == b
      case .less: a < b
      case .lessOrEqual: a <= b
      case .greater: a > b
      case .greaterOrEqual: a >= b
      case .and: a != 0 && b != 0
      case .or: a != 0 || b != 0
      case .exclusiveOr: (a != 0) != (b != 0)
      }
    return .integer(holds ? 1 : 0)
  }
}
