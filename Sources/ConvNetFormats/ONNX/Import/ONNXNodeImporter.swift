import ConvNetGraph

/// One node on its way into the graph: its operands, its attributes, and operations named after it.
struct ONNXNodeImporter {
  let importer: ONNXImporter
  let node: ONNXNode
  /// What its operations are named after.
  let name: String

  init(_ importer: ONNXImporter, _ node: ONNXNode) {
    self.importer = importer
    self.node = node
    let given = node.name.isEmpty ? node.outputs.first { !$0.isEmpty } ?? node.opType : node.name
    // A leading slash, as PyTorch writes it, says nothing.
    let trimmed = String(given.drop { $0 == "/" })
    name = trimmed.isEmpty ? node.opType : trimmed
  }

  var builder: GraphBuilder { importer.builder }
  /// The version of ONNX's own operators.
  var opset: Int { importer.opset }

  func unsupported(_ reason: String) -> FileError {
    FileError(.unsupported, reason, at: importer.source.path)
  }

  func malformed(_ reason: String) -> FileError {
    FileError(.malformed, reason, at: importer.source.path)
  }

  // MARK: Operands

  /// Whether an operand is given.
  func has(_ index: Int) -> Bool {
    node.inputs.indices.contains(index) && !node.inputs[index].isEmpty
  }

  /// An operand as a value of the graph.
  ///
  /// - Parameters:
  ///   - role: what the operand is for, where it is stored.
  ///   - axes: the operand's axes in the order that is wanted; stored data are read in it.
  func input(
    _ index: Int, role: ParameterRole = .constant, permutedBy axes: [Int]? = nil
  ) throws -> Graph.ValueID {
    guard has(index) else { throw malformed("operand \(index) is missing") }
    guard let value = try importer.computed(node.inputs[index], role: role, permutedBy: axes) else {
      fatalError("A node that reads a missing value is passed over.")
    }
    return value
  }

  /// All operands.
  func inputs() throws -> [Graph.ValueID] { try node.inputs.indices.map { try input($0) } }

  /// The operand's data, where they are stored; they are read at every call.
  func stored(_ index: Int) throws -> Tensor? {
    guard has(index), case .stored(let tensor)? = importer.values[node.inputs[index]] else {
      return nil
    }
    return try tensor.read()
  }

  /// The most elements of an operand that stands for attributes: many nodes may name one, and each
  /// reads it.
  private static let attributeLimit = 1 << 16

  /// The operand's data, where they are stored, or were given for the input that it is.
  private func known(_ index: Int) throws -> Tensor? {
    if has(index), let count = try type(index).shape?.count, count > Self.attributeLimit {
      throw malformed("operand \(index) of \(count) elements is too long for attributes")
    }
    if let tensor = try stored(index) { return tensor }
    guard has(index), let tensor = importer.given[node.inputs[index]],
      case .computed(let value)? = importer.values[node.inputs[index]],
      builder.graph.inputs.contains(where: { $0.value == value })
    else { return nil }
    importer.builtIn.insert(node.inputs[index])
    return tensor
  }

  /// Whether an operand is stored and nobody else reads it.
  func isOwn(_ index: Int) -> Bool {
    guard has(index), case .stored? = importer.values[node.inputs[index]] else { return false }
    return importer.readerCounts[node.inputs[index]] == 1
  }

  /// An operand of extents or indices that operations are to follow, as int64.
  func extents(_ index: Int) throws -> Graph.ValueID {
    if has(index), importer.given[node.inputs[index]] != nil, let tensor = try known(index) {
      return try add(
        .constant(Constant(integers: tensor.integers, shape: tensor.shape)), [])[0]
    }
    let value = try input(index)
    guard builder.type(of: value).elementType != .int64 else { return value }
    return try add(.cast(.int64), value)
  }

  /// The operand's type.
  func type(_ index: Int) throws -> TensorType {
    if has(index), case .stored(let tensor)? = importer.values[node.inputs[index]],
      let elementType = tensor.elementType
    {
      return TensorType(elementType, tensor.shape)
    }
    return builder.type(of: try input(index))
  }

  /// An operand that has to be known before a run, as integers; nil where it is not given.
  func integers(_ index: Int) throws -> [Int]? {
    guard has(index) else { return nil }
    guard let integers = try knownIntegers(index) else {
      throw unsupported(
        "\(FileError.quoted(node.inputs[index])) has to be known before a run; give its value")
    }
    return integers
  }

  /// An operand as integers, where it is known before a run.
  func knownIntegers(_ index: Int) throws -> [Int]? {
    if let tensor = try known(index) { return tensor.integers.map { Int($0) } }
    return builder.knownIntegers(of: try input(index))
  }

  /// An operand of one number that has to be known before a run; nil where it is not given.
  func number(_ index: Int) throws -> Double? {
    guard has(index) else { return nil }
    let numbers = try numbers(index)
    guard numbers.count == 1 else { throw malformed("operand \(index) is not one number") }
    return numbers[0]
  }

  /// An operand that has to be known before a run, as numbers.
  func numbers(_ index: Int) throws -> [Double] {
    if let tensor = try known(index) { return tensor.doubles }
    guard let numbers = builder.knownNumbers(of: try input(index)) else {
      throw unsupported(
        "\(FileError.quoted(node.inputs[index])) has to be known before a run; give its value")
    }
    return numbers
  }

  // MARK: Attributes

  func has(attribute: String) -> Bool { node[attribute] != nil }

  func int(_ name: String) throws -> Int? {
    guard let value = node[name] else { return nil }
    guard case .int(let number) = value else { throw wrongKind(name, value, "an integer") }
    return Int(number)
  }

  func int(_ name: String, default value: Int) throws -> Int { try int(name) ?? value }

  /// A truth value, which ONNX writes as 0 or 1.
  func bool(_ name: String, default value: Bool = false) throws -> Bool {
    try int(name).map { $0 != 0 } ?? value
  }

  func ints(_ name: String) throws -> [Int]? {
    guard let value = node[name] else { return nil }
    guard case .ints(let numbers) = value else { throw wrongKind(name, value, "integers") }
    return numbers.map { Int($0) }
  }

  func float(_ name: String) throws -> Double? {
    guard let value = node[name] else { return nil }
    guard case .float(let number) = value else { throw wrongKind(name, value, "a float") }
    return Double(shortest: number)
  }

  func float(_ name: String, default value: Double) throws -> Double { try float(name) ?? value }

  func floats(_ name: String) throws -> [Double]? {
    guard let value = node[name] else { return nil }
    guard case .floats(let numbers) = value else { throw wrongKind(name, value, "floats") }
    return numbers.map { Double(shortest: $0) }
  }

  func string(_ name: String, default standard: String) throws -> String {
    guard let value = node[name] else { return standard }
    guard case .string(let text) = value else { throw wrongKind(name, value, "a string") }
    return text
  }

  func tensor(_ name: String) throws -> ONNXTensor? {
    guard let value = node[name] else { return nil }
    guard case .tensor(let tensor) = value else { throw wrongKind(name, value, "a tensor") }
    return tensor
  }

  private func wrongKind(_ name: String, _ value: ONNXAttribute.Value, _ kind: String) -> FileError
  {
    malformed("the attribute \(FileError.quoted(name)) is \(value.kind), not \(kind)")
  }

  /// An axis of an operand, counted from the front.
  func axis(_ axis: Int, of type: TensorType) throws -> Int { try type.normalizedAxis(axis) }

  /// Axes from an attribute of older operator sets, or from an operand of newer ones.
  func axes(operand index: Int) throws -> [Int]? { try ints("axes") ?? integers(index) }

  // MARK: Operations

  /// Adds an operation; the first of a node bears the node's own name.
  func add(_ operation: Operation, _ inputs: [Graph.ValueID]) throws -> [Graph.ValueID] {
    let results = builder.add(operation, inputs, name: builder.uniqueName(name))
    if let error = builder.takeError() { throw error }
    return results
  }

  /// Adds an operation with one result.
  func add(_ operation: Operation, _ inputs: Graph.ValueID...) throws -> Graph.ValueID {
    try add(operation, inputs)[0]
  }

  func map(_ function: UnaryFunction, _ x: Graph.ValueID) throws -> Graph.ValueID {
    try add(.map(function), x)
  }

  func combine(
    _ function: BinaryFunction, _ a: Graph.ValueID, _ b: Graph.ValueID
  ) throws -> Graph.ValueID {
    try add(.combine(function), a, b)
  }

  /// Integers as a value of the graph.
  func constant(_ integers: [Int]) throws -> Graph.ValueID {
    try add(
      .constant(Constant(integers: integers.map(Int64.init), shape: [integers.count])), [])[0]
  }

  /// One number as a value of the graph.
  func constant(_ number: Double, _ elementType: ElementType = .float32) throws -> Graph.ValueID {
    let constant =
      elementType.isFloatingPoint
      ? Constant(numbers: [number], shape: [], elementType: elementType)
      : Constant(integers: [Int64(saturating: number)], shape: [], elementType: elementType)
    return try add(.constant(constant), [])[0]
  }

  func rank(_ value: Graph.ValueID) -> Int { builder.type(of: value).rank }

  /// `[N, C, …]` as `[N, …, C]`.
  func channelsLast(_ x: Graph.ValueID) throws -> Graph.ValueID {
    let rank = rank(x)
    guard rank > 2 else { return x }
    return layout(x, [0] + Array(2..<rank) + [1], "channelsLast")
  }

  /// `[N, …, C]` as `[N, C, …]`.
  func channelsFirst(_ x: Graph.ValueID) throws -> Graph.ValueID {
    let rank = rank(x)
    guard rank > 2 else { return x }
    return layout(x, [0, rank - 1] + Array(1..<(rank - 1)), "channelsFirst")
  }

  /// A transpose with a name of its own, which leaves the node's to what it does.
  private func layout(_ x: Graph.ValueID, _ axes: [Int], _ suffix: String) -> Graph.ValueID {
    builder.add(
      .transpose(Transpose(axes)), [x], name: builder.uniqueName("\(name).\(suffix)"))[0]
  }
}

/// What imports an operator: gives its results.
typealias ONNXOperator = @Sendable (ONNXNodeImporter) throws -> [ONNXImporter.Value]

/// All operators that are imported.
enum ONNXOperators {
  static let table: [String: ONNXOperator] =
    [elementwise, convolution, normalization, pooling, shaping, extents, reduction, matrix]
    .reduce(into: [:]) { $0.merge($1) { first, _ in first } }

  /// An operator with one result that is a value of the graph.
  static func one(_ make: @escaping @Sendable (ONNXNodeImporter) throws -> Graph.ValueID)
    -> ONNXOperator
  {
    { [.computed(try make($0))] }
  }
}

extension Double {
  /// The number that a float32 was written for: 1e-5 and not 9.99999974737875e-6.
  fileprivate init(shortest number: Float) { self = Double("\(number)") ?? Double(number) }
}
