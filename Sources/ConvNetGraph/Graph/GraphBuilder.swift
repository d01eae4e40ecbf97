/// Adds operations to a graph while it is described.
///
/// Describing does not need `try` at every step: the first mistake is kept, everything after it becomes
/// a placeholder, and the initialiser of `Graph` throws it.
package final class GraphBuilder {
  package private(set) var graph: Graph
  package private(set) var firstError: GraphError?
  private var names: Set<String> = []
  private var counters: [String: Int] = [:]
  private var scope: [String] = []
  private var known = KnownValues()
  /// For every value the index of the node that makes it.
  private var producers: [Int?]

  /// Starts from a graph; names that are to come later can be kept from being taken.
  package init(_ graph: Graph = Graph(), reserving reserved: [String] = []) {
    self.graph = graph
    producers = graph.producers
    names = Set(graph.nodes.map(\.name) + reserved)
    names.formUnion(graph.inputs.map(\.name))
    names.formUnion(graph.parameters.map(\.name))
    names.formUnion(graph.states.map(\.name))
    for node in graph.nodes { known.note(node, in: graph) }
  }

  /// The graph, or the first mistake in its description.
  package func finish() throws -> Graph {
    if let firstError { throw firstError }
    return graph
  }

  package func type(of value: Graph.ValueID) -> TensorType { graph.type(of: value) }

  /// Whether a value's elements are known without a run, and the elements as numbers.
  package func knownNumbers(of value: Graph.ValueID) -> [Double]? {
    guard let known = known[value] else { return nil }
    let numbers = known.elements.compactMap(\.number)
    return numbers.count == known.elements.count ? numbers : nil
  }

  /// Whether a value's elements are known without a run, and the elements as integers.
  package func knownIntegers(of value: Graph.ValueID) -> [Int]? { known[value]?.integers }

  /// Gives the first mistake away and goes on without it, for those who collect several.
  package func takeError() -> GraphError? {
    defer { firstError = nil }
    return firstError
  }

  /// Keeps the first mistake.
  package func fail(_ error: GraphError) {
    if firstError == nil { firstError = error }
  }

  // MARK: Names

  /// A name nobody has: `base` itself, or with a number, inside the current scope.
  package func uniqueName(_ base: String, numbersFirst: Bool = false) -> String {
    let prefix = (scope + [base]).joined(separator: ".")
    if !numbersFirst, names.insert(prefix).inserted { return prefix }
    var number = counters[prefix, default: 0]
    var name: String
    repeat {
      number += 1
      name = "\(prefix)\(number)"
    } while !names.insert(name).inserted
    counters[prefix] = number
    return name
  }

  /// The name of a layer: what the user gave, inside the scope, or `base` with a number.
  package func layerName(_ given: String?, base: String) -> String {
    guard let given else { return uniqueName(base, numbersFirst: true) }
    let name = (scope + [given]).joined(separator: ".")
    if !names.insert(name).inserted {
      fail(GraphError(.malformedGraph, "the name is taken by another layer", at: name))
    }
    return name
  }

  package func withScope<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    scope.append(name)
    defer { scope.removeLast() }
    return try body()
  }

  // MARK: Values

  private func addValue(_ type: TensorType) -> Graph.ValueID {
    graph.types.append(type)
    producers.append(nil)
    return Graph.ValueID(graph.types.count - 1)
  }

  /// The node that makes a value; nil for inputs, parameters and state.
  package func producer(of value: Graph.ValueID) -> Graph.Node? {
    producers[value.index].map { graph.nodes[$0] }
  }

  package func addInput(_ name: String, _ type: TensorType) -> Graph.ValueID {
    var type = type
    do { try type.check() } catch {
      fail(Self.place(error, at: name))
      type.dimensions = []
    }
    let value = addValue(type)
    claim(name)
    graph.inputs.append(Graph.Port(name: name, value: value))
    return value
  }

  package func addOutput(_ name: String, _ value: Graph.ValueID) {
    graph.outputs.append(Graph.Port(name: name, value: value))
  }

  package func removeOutputs() {
    graph.outputs = []
  }

  /// Adds a parameter; `isReserved` says that its name was reserved, or is one of `uniqueName`.
  package func addParameter(
    _ name: String, _ shape: Shape, role: ParameterRole, isReserved: Bool = false
  ) -> Graph.ValueID {
    let value = addValue(TensorType(.float32, shape))
    if !isReserved { claim(name) }
    graph.parameters.append(
      Graph.Parameter(name: name, value: value, role: role, isTrainable: role != .constant))
    return value
  }

  /// Adds a parameter of extents that come from whoever describes the network; where they make no shape the
  /// builder fails.
  package func addParameter(_ name: String, _ extents: [Int], role: ParameterRole) -> Graph.ValueID
  {
    do {
      return addParameter(name, try Shape(checking: extents), role: role)
    } catch {
      fail(GraphBuilder.place(error, at: name))
      return addParameter(name, Shape(extents.map { _ in 1 }), role: role)
    }
  }

  /// Adds a state; `isReserved` says that its name was reserved, or is one of `uniqueName`.
  package func addState(
    _ name: String, _ type: TensorType, role: StateRole, isReserved: Bool = false
  ) -> Graph.ValueID {
    let value = addValue(type)
    if !isReserved { claim(name) }
    graph.states.append(Graph.State(name: name, value: value, role: role))
    return value
  }

  /// Adds an operation and gives its results.
  package func add(
    _ operation: Operation, _ inputs: [Graph.ValueID], name: String? = nil
  ) -> [Graph.ValueID] {
    let name = name ?? uniqueName(operation.name, numbersFirst: true)
    do {
      var node = Graph.Node(name: name, operation: operation, inputs: inputs, outputs: [])
      guard inputs.count <= Graph.operandLimit else {
        throw GraphError(.malformedGraph, "\(inputs.count) operands are too many")
      }
      let types = try known.outputTypes(of: node, in: graph)
      for type in types { try type.check() }
      node.outputs = types.map(addValue)
      for output in node.outputs { producers[output.index] = graph.nodes.count }
      graph.nodes.append(node)
      known.note(node, in: graph)
      return node.outputs
    } catch {
      fail(Self.place(error, at: name))
      return (0..<operation.resultCount).map { _ in addValue(TensorType([Dimension]())) }
    }
  }

  /// Adds a deferred operation, or at once what it stands for where that is known; what cannot be
  /// although nothing is open is a mistake.
  package func add(
    _ deferred: Deferred, _ inputs: [Graph.ValueID], name: String
  ) -> Graph.ValueID {
    let types = inputs.map(graph.type(of:))
    let values = inputs.map { known[$0] }
    let lowering: Deferred.Lowering
    do { lowering = try deferred.lowered(types, known: values) } catch {
      let isOpen =
        types.contains { $0.shape == nil }
        || values.contains { $0?.elements.contains { $0.number == nil } ?? false }
      if !isOpen { fail(Self.place(error, at: name)) }
      return add(.deferred(deferred), inputs, name: uniqueName(name))[0]
    }
    var operands = lowering.takesOperand ? [inputs[0]] : []
    for operation in lowering.operations {
      operands = add(operation, operands, name: uniqueName(name))
    }
    return operands[0]
  }

  /// Adds an operation with one result.
  package func add(
    _ operation: Operation, _ inputs: Graph.ValueID..., name: String? = nil
  ) -> Graph.ValueID {
    add(operation, inputs, name: name)[0]
  }

  private func claim(_ name: String) {
    if !names.insert(name).inserted {
      fail(GraphError(.malformedGraph, "the name is given twice", at: name))
    }
  }

  static func place(_ error: any Error, at name: String) -> GraphError {
    guard var error = error as? GraphError else {
      return GraphError(.malformedGraph, "\(error)", at: name)
    }
    if error.place.isEmpty { error.place = name }
    return error
  }
}

extension TensorType {
  /// Refuses what no tensor can be, and names of extents longer than any graph may have.
  func check() throws {
    guard Shape.elementCount(dimensions.map { $0.extent ?? 1 }) != nil else {
      throw GraphError(.invalidShape, "no tensor can be \(self)")
    }
    for case .symbol(let name) in dimensions where name.utf8.count > Graph.symbolLimit {
      throw GraphError(.invalidShape, "the name of an open extent has become too long")
    }
  }
}

extension Operation {
  /// How many results an operation has.
  package var resultCount: Int {
    switch self {
    case .batchMoments, .covariance: 3
    case .normalizeGradientSums, .renormalize: 2
    case .fused(let fused): fused.anchor.resultCount
    default: 1
    }
  }
}
