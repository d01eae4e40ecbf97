package import ConvNetGraph

/// Inputs in the order of the graph, of types that it declares, and the outputs wanted of them.
package struct PredictorRequest: Sendable {
  package let inputs: [Tensor]
  let shapes: [Shape]
  /// Indices of outputs, in the order they are wanted.
  let wanted: [Int]

  package init(inputs: [Tensor], wanted: [Int]) {
    self.inputs = inputs
    shapes = inputs.map(\.shape)
    self.wanted = wanted
  }
}

/// What a graph takes and gives, to check what callers bring.
struct PredictorInterface: Sendable {
  private let inputs: [(name: String, type: TensorType)]
  let outputs: [String]

  init(_ graph: Graph) {
    inputs = graph.inputs.map { ($0.name, graph.type(of: $0.value)) }
    outputs = graph.outputs.map(\.name)
  }

  /// The request for inputs by name; all outputs where none are named.
  func request(_ tensors: [String: Tensor], outputs names: [String]?) throws -> PredictorRequest {
    try request(ordered(tensors), outputs: names)
  }

  /// The request for the only input and one output, the only one where it is not named.
  func request(_ tensor: Tensor, output: String?) throws -> PredictorRequest {
    guard inputs.count == 1 else {
      throw mismatch("one tensor was given for these inputs: \(inputList)", at: "")
    }
    guard output != nil || outputs.count == 1 else {
      throw mismatch("one of these outputs has to be named: \(outputList)", at: "")
    }
    return try request([tensor], outputs: output.map { [$0] })
  }

  /// Checks shapes by name and puts them in the order of the graph.
  func shapes(_ shapes: [String: Shape]) throws -> [Shape] {
    let shapes = try ordered(shapes)
    var symbols: [String: Int] = [:]
    for (index, shape) in shapes.enumerated() {
      try check(shape, inputs[index].type.elementType, index, &symbols)
    }
    return shapes
  }

  private func request(_ tensors: [Tensor], outputs names: [String]?) throws -> PredictorRequest {
    var symbols: [String: Int] = [:]
    for (index, tensor) in tensors.enumerated() {
      try check(tensor.shape, tensor.elementType, index, &symbols)
    }
    let wanted = try names.map { try $0.map(index) } ?? Array(outputs.indices)
    return PredictorRequest(inputs: tensors, wanted: wanted)
  }

  private func ordered<Value>(_ values: [String: Value]) throws -> [Value] {
    if let unknown = values.keys.sorted().first(where: { key in
      !inputs.contains { $0.name == key }
    }) {
      throw mismatch("there is no input of this name; there are: \(inputList)", at: unknown)
    }
    return try inputs.map { input in
      if let value = values[input.name] { return value }
      throw mismatch("is missing; the inputs are: \(inputList)", at: input.name)
    }
  }

  /// Checks what was given against the declaration, where a symbol is the same number in all inputs.
  private func check(
    _ shape: Shape, _ elementType: ElementType, _ index: Int, _ symbols: inout [String: Int]
  ) throws {
    let (name, declared) = inputs[index]
    let earlier = symbols
    var fits = elementType == declared.elementType && shape.rank == declared.rank
    for axis in 0..<shape.rank where fits {
      switch declared.dimensions[axis] {
      case .fixed(let extent): fits = shape[axis] == extent
      case .symbol(let symbol):
        fits = symbols.updateValue(shape[axis], forKey: symbol) ?? shape[axis] == shape[axis]
      }
    }
    guard fits else {
      let bound = earlier.sorted { $0.key < $1.key }.map { " where \($0.key) is \($0.value)" }
      throw mismatch(
        "is \(declared)\(bound.joined()), not \(TensorType(elementType, shape))", at: name)
    }
  }

  private func index(_ output: String) throws -> Int {
    guard let index = outputs.firstIndex(of: output) else {
      throw mismatch("there is no output of this name; there are: \(outputList)", at: output)
    }
    return index
  }

  private var inputList: String {
    inputs.map { "\($0.name) \($0.type)" }.joined(separator: ", ")
  }

  private var outputList: String { outputs.joined(separator: ", ") }

  private func mismatch(_ reason: String, at place: String) -> PlanError {
    PlanError(.mismatchedData, reason, at: place)
  }
}
