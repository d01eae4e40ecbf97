import ConvNetGraph

/// Makes a model of an ONNX graph, node after node.
///
/// What a node reads is computed by an earlier one, an input, or stored: an initialiser or constant,
/// whose data stay in the file until an operator says in which layout it wants them.
final class ONNXImporter {
  /// Constants of so few numbers are followed: scales of a resize may be computed from them.
  private static let constantLimit = 8

  /// What a name stands for.
  enum Value {
    /// A value of the graph.
    case computed(Graph.ValueID)
    /// Data in the file.
    case stored(ONNXTensor)
    /// The result of a node that could not be imported; its readers are passed over in silence.
    case missing
  }

  /// Problems named in one message; the rest is counted.
  private static let problemLimit = 20
  let source: ONNXModel
  let builder: GraphBuilder
  /// The version of ONNX's own operators.
  let opset: Int
  var values: [String: Value] = [:]
  /// The parameters' data by name.
  var parameters: [String: Tensor] = [:]
  /// The states' data by name.
  var state: [String: Tensor] = [:]
  /// Values of inputs, for operators that have to know them before a run.
  private(set) var given: [String: Tensor] = [:]
  /// The inputs whose values were built in.
  var builtIn: Set<String> = []
  /// Parameters and constants made of stored tensors, by name and layout.
  var madeOfStored: [String: Graph.ValueID] = [:]
  /// The names of the initialisers.
  let initializerNames: Set<String>
  /// How often each name is read.
  private(set) var readerCounts: [String: Int] = [:]
  /// Whether a batch-norm layer of the file normalises by its batch.
  let isTrainingForm: Bool
  private var problems: [String] = []

  init(_ source: ONNXModel) throws {
    self.source = source
    guard let version = source.opsetImports[""] else {
      let domains = source.opsetImports.keys.sorted().joined(separator: ", ")
      throw FileError(
        .unsupported, "the model uses operators of \(domains), none of ONNX's own", at: source.path)
    }
    guard version >= 1 else {
      throw FileError(.malformed, "there is no operator set \(version)", at: source.path)
    }
    opset = Int(clamping: version)
    // Parameters keep their names, whatever nodes are called.
    builder = GraphBuilder(Graph(), reserving: source.graph.initializers.map(\.name))
    let opset = opset
    isTrainingForm = source.graph.nodes.contains {
      $0.opType == "BatchNormalization" && $0.normalizesByBatch(opset: opset)
    }
    initializerNames = Set(source.graph.initializers.map(\.name))
    for name in source.graph.nodes.flatMap(\.inputs) + source.graph.outputs.map(\.name) {
      readerCounts[name, default: 0] += 1
    }
  }

  /// The model, channels first as in the file.
  ///
  /// - Parameters:
  ///   - inputShapes: shapes that fix open extents of inputs.
  ///   - given: values of inputs, built in where an operator has to know them before a run.
  ///   - buildsIntegersIn: whether all given integers and truth values are built in.
  /// - Throws: `FileError` listing everything that is not supported.
  func model(
    inputShapes: [String: Shape], values given: [String: Tensor], buildsIntegersIn: Bool = false
  ) throws -> Model {
    for name in inputShapes.keys.sorted() + given.keys.sorted()
    where !source.graph.inputs.contains(where: { $0.name == name }) {
      throw FileError(
        .mismatched, "the model has no input of this name", at: source.path, place: name)
    }
    for name in source.graph.sparseInitializers {
      note("the initialiser \(FileError.quoted(name)) is sparse", at: "")
    }
    for tensor in source.graph.initializers { values[tensor.name] = .stored(tensor) }
    self.given = given
    var inputs: Set<String> = []
    for input in source.graph.inputs {
      guard inputs.insert(input.name).inserted else {
        note("the input is given twice", at: FileError.quoted(input.name))
        continue
      }
      if let tensor = given[input.name], buildsIntegersIn, !tensor.elementType.isFloatingPoint {
        values[input.name] = .stored(ONNXTensor(input.name, tensor))
      } else {
        add(input, shape: inputShapes[input.name])
      }
    }
    for node in source.graph.nodes { add(node) }
    var names: Set<String> = []
    for output in source.graph.outputs {
      guard names.insert(output.name).inserted else {
        note("the output is given twice", at: FileError.quoted(output.name))
        continue
      }
      addOutput(output)
    }
    guard problems.isEmpty else { throw unsupported() }
    do {
      var graph = try withoutBuiltInInputs(builder.finish())
      var metadata = source.metadata
      try ONNXTrainingState(metadata, path: source.path)?.restore(&graph, &state)
      metadata[ONNXTrainingState.key] = nil
      try graph.verify()
      return try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
    } catch let error as GraphError {
      throw FileError(.malformed, "\(error)", at: source.path)
    }
  }

  /// Inputs whose values were built in and that nothing else reads are none any more.
  private func withoutBuiltInInputs(_ graph: Graph) -> Graph {
    guard !builtIn.isEmpty else { return graph }
    var graph = graph
    let readers = graph.readers
    graph.inputs.removeAll { builtIn.contains($0.name) && readers[$0.value.index].isEmpty }
    return graph
  }

  private func unsupported() -> FileError {
    let shown = problems.prefix(Self.problemLimit)
    let rest = problems.count - shown.count
    let more = rest > 0 ? "; and \(rest) more" : ""
    return FileError(
      .unsupported, "the model cannot be imported: " + shown.joined(separator: "; ") + more,
      at: source.path)
  }

  private func note(_ reason: String, at place: String) {
    problems.append(place.isEmpty ? reason : "\(place): \(reason)")
  }

  // MARK: Inputs and outputs

  private func add(_ input: ONNXValueInfo, shape: Shape?) {
    // Before version 4 of the format initialisers are inputs, too; later they are defaults.
    if values[input.name] != nil { return }
    let place = "input \(FileError.quoted(input.name))"
    guard input.name != GraphBuilder.randomKeyName else {
      values[input.name] = .missing
      return note("has the name that the key of dropout has here", at: place)
    }
    guard case .tensor(let dataType, let extents) = input.type else {
      values[input.name] = .missing
      return note("is no tensor", at: place)
    }
    guard let elementType = dataType.elementType else {
      values[input.name] = .missing
      return note("elements of type \(dataType) are not read", at: place)
    }
    let declared = extents.map { extents in
      extents.enumerated().map { axis, extent -> Dimension in
        switch extent {
        case .fixed(let number): .fixed(number)
        case .symbol(let name): .symbol(name)
        case .unknown: .symbol("\(input.name).\(axis)")
        }
      }
    }
    if let shape, let declared {
      let fits = zip(declared, shape.dimensions).allSatisfy { $0.extent == nil || $0 == .fixed($1) }
      guard fits, declared.count == shape.rank else {
        values[input.name] = .missing
        return note("is \(TensorType(elementType, declared)), not \(shape)", at: place)
      }
    }
    guard let dimensions = shape.map({ $0.dimensions.map(Dimension.fixed) }) ?? declared else {
      values[input.name] = .missing
      return note("the number of its dimensions is not said; give its shape", at: place)
    }
    values[input.name] = .computed(
      builder.addInput(input.name, TensorType(elementType, dimensions)))
    guard let error = builder.takeError() else { return }
    values[input.name] = .missing
    note(error.reason, at: place)
  }

  private func addOutput(_ output: ONNXValueInfo) {
    do {
      guard let value = try computed(output.name) else { return }
      builder.addOutput(output.name, value)
    } catch {
      note(Self.reason(error), at: "output \(FileError.quoted(output.name))")
    }
  }

  // MARK: Nodes

  private func add(_ node: ONNXNode) {
    let wanted = node.outputs.filter { !$0.isEmpty }
    do {
      for (index, output) in wanted.enumerated()
      where values[output] != nil || wanted[..<index].contains(output) {
        throw FileError(
          .malformed, "makes \(FileError.quoted(output)) for the second time", at: source.path)
      }
      for input in node.inputs where !input.isEmpty {
        guard let value = values[input] else {
          throw FileError(
            .malformed, "reads \(FileError.quoted(input)), which no node before it makes",
            at: source.path)
        }
        if case .missing = value {
          for output in wanted { values[output] = .missing }
          return
        }
      }
      guard node.domain.isEmpty, let operation = ONNXOperators.table[node.opType] else {
        let domain = node.domain.isEmpty ? "" : "\(node.domain)."
        throw FileError(
          .unsupported, "the operator \(domain)\(node.opType) is not supported", at: source.path)
      }
      let results = try operation(ONNXNodeImporter(self, node))
      if let error = builder.takeError() { throw error }
      guard results.count >= node.outputs.lastIndex(where: { !$0.isEmpty }).map({ $0 + 1 }) ?? 0
      else {
        throw FileError(
          .unsupported, "only \(results.count) of its results are supported", at: source.path)
      }
      for (name, value) in zip(node.outputs, results) where !name.isEmpty { values[name] = value }
    } catch {
      _ = builder.takeError()
      for output in wanted where values[output] == nil { values[output] = .missing }
      note(Self.reason(error), at: "\(node.place) (\(node.opType))")
    }
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case let error as FileError:
      error.place.isEmpty ? error.reason : "\(error.place): \(error.reason)"
    case let error as GraphError: error.reason
    default: "\(error)"
    }
  }

  // MARK: Values

  /// A name as a value of the graph; nil where its node could not be imported.
  ///
  /// Stored float32 tensors become parameters, others constants of the graph.
  func computed(
    _ name: String, role: ParameterRole = .constant, permutedBy axes: [Int]? = nil
  ) throws -> Graph.ValueID? {
    switch values[name] {
    case nil:
      throw FileError(
        .malformed, "there is no value \(FileError.quoted(name))", at: source.path)
    case .missing: return nil
    case .computed(let value):
      return axes.map { builder.add(.transpose(Transpose($0)), value) } ?? value
    case .stored(let tensor): return try make(tensor, name, role: role, permutedBy: axes)
    }
  }

  private func make(
    _ tensor: ONNXTensor, _ name: String, role: ParameterRole, permutedBy axes: [Int]?
  ) throws -> Graph.ValueID {
    let isIdentity = axes.map { $0 == Array($0.indices) } ?? true
    guard axes.map({ $0.count == tensor.shape.rank }) ?? true else {
      throw FileError(
        .malformed,
        "\(FileError.quoted(name)) of shape \(tensor.shape) is to have other dimensions",
        at: source.path)
    }
    let key = isIdentity ? name : "\(name)|\(axes ?? [])"
    if let known = madeOfStored[key] { return known }
    let data = try tensor.read(permutedBy: isIdentity ? nil : axes)
    let value: Graph.ValueID
    let isConstant =
      role == .constant && data.count <= Self.constantLimit
      && (data.shape.rank == 0 || !initializerNames.contains(name))
    if data.elementType == .float32, !isConstant {
      let own = parameterName(name, key)
      // What a node of the file holds was never a parameter of the network.
      let role = initializerNames.contains(name) ? role : .constant
      value = builder.addParameter(own, data.shape, role: role, isReserved: true)
      parameters[own] = data
    } else {
      let constant =
        data.elementType.isFloatingPoint
        ? Constant(numbers: data.doubles, shape: data.shape, elementType: data.elementType)
        : Constant(integers: data.integers, shape: data.shape, elementType: data.elementType)
      value = builder.add(.constant(constant), [], name: builder.uniqueName(key))[0]
    }
    madeOfStored[key] = value
    return value
  }

  /// The initialiser's own name for its first layout.
  func parameterName(_ name: String, _ key: String) -> String {
    let isTaken = parameters[name] != nil || state[name] != nil
    let isReserved = initializerNames.contains(name)
    return isTaken || !isReserved ? builder.uniqueName(isTaken ? key : name) : name
  }
}

extension Tensor {
  /// The elements as integers: numbers with a fraction are cut towards zero, NaN is 0.
  var integers: [Int64] {
    if elementType == .int64 { return elements(of: Int64.self) }
    return doubles.map { number in
      if number.isNaN { return 0 }
      return Int64(exactly: number.rounded(.towardZero)) ?? (number < 0 ? .min : .max)
    }
  }
}

extension ONNXNode {
  /// Whether a batch normalisation uses its batch: before operator set 14 statistics among the results say
  /// so, then an attribute.
  func normalizesByBatch(opset: Int) -> Bool {
    guard opset >= 14 else { return outputs.dropFirst().contains { !$0.isEmpty } }
    guard case .int(let mode)? = self["training_mode"] else { return false }
    return mode != 0
  }
}
