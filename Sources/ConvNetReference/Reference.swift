public import ConvNetGraph

/// The naive executor: the definition of what every operation means.
///
/// Plain loops in Double, no BLAS, no threads, no cleverness: it is there to be read, and to check the
/// engine against. Values are rounded to their element types at the outputs only.
///
///     let outputs = try Reference(model, mode: .inference).run(inputs: ["input": x])
public struct Reference: Sendable {
  /// What is executed, with the mode resolved.
  public let graph: Graph
  private let constants: [String: ReferenceTensor]
  /// Whether each layer's way of taking batch statistics is decided once shapes are known.
  private let isTraining: Bool

  /// Prepares a model for execution.
  ///
  /// In training the network also takes the input `random key`, int64 `[2]` = (seed, step), where it has
  /// dropout, and `renormalization limits`, float32 `[2]` = (r_max, d_max), where a layer renormalises.
  ///
  /// - Throws: `GraphError` where the mode cannot be resolved.
  public init(_ model: Model, mode: ExecutionMode) throws {
    try self.init(
      ResolveMode(mode).apply(to: model.graph), parameters: model.parameters, state: model.state,
      isTraining: mode == .training)
  }

  /// Prepares a graph, executed as it stands, with parameters and state by name.
  ///
  /// - Throws: `GraphError` where the graph is malformed, or parameters or state are missing,
  ///   unexpected or of another type.
  public init(
    _ graph: Graph, parameters: [String: Tensor] = [:], state: [String: Tensor] = [:]
  ) throws {
    try self.init(graph, parameters: parameters, state: state, isTraining: false)
  }

  private init(
    _ graph: Graph, parameters: [String: Tensor], state: [String: Tensor], isTraining: Bool
  ) throws {
    try graph.verify()
    _ = try Model(graph: graph, parameters: parameters, state: state)
    self.graph = graph
    self.isTraining = isTraining
    constants = parameters.merging(state) { first, _ in first }.mapValues(ReferenceTensor.init)
  }

  /// Prepares a graph whose parameters and state are given with each run, among the inputs.
  package init(unbound graph: Graph) throws {
    try graph.verify()
    self.graph = graph
    isTraining = false
    constants = [:]
  }

  /// Executes the graph.
  ///
  /// A label outside the classes gives a loss of NaN, and no other value stops the run.
  ///
  /// - Parameter inputs: all inputs of the graph by name.
  /// - Returns: all outputs of the graph by name, rounded to their element types.
  /// - Throws: `GraphError` where an input is missing, unexpected or of another type, or where shapes do
  ///   not fit.
  public func run(inputs: [String: Tensor]) throws -> [String: Tensor] {
    try runInDouble(inputs.mapValues(ReferenceTensor.init)).mapValues(\.tensor)
  }

  /// Executes the graph without rounding the outputs.
  ///
  /// - Parameter values: all inputs by name; a parameter or state among them stands in for the one of
  ///   the model.
  package func runInDouble(
    _ values: [String: ReferenceTensor]
  ) throws -> [String: ReferenceTensor] {
    let given = constants.merging(values) { _, new in new }
    let bound =
      graph.parameters.map { Graph.Port(name: $0.name, value: $0.value) }
      + graph.states.map { Graph.Port(name: $0.name, value: $0.value) }
    let inputs = values.filter { name, _ in !bound.contains { $0.name == name } }
    // Renormalisation asks for its limits only where it happens.
    let known = inputs.filter { name, _ in
      !isTraining || name != GraphBuilder.renormalizationLimitsName
    }
    var resolved = try graph.resolved(inputShapes: known.mapValues(\.shape))
    if isTraining { resolved = try resolved.resolvedForTraining(keepsDropout: true) }
    var results = [ReferenceTensor?](repeating: nil, count: resolved.types.count)
    for port in resolved.inputs + bound {
      let expected = resolved.type(of: port.value)
      guard let value = given[port.name] else {
        throw GraphError(.malformedGraph, "needs a value of \(expected)", at: port.name)
      }
      guard value.type == expected else {
        throw GraphError(.invalidShape, "is \(expected), not \(value.type)", at: port.name)
      }
      results[port.value.index] = value
    }
    for node in resolved.nodes {
      let operands = node.inputs.map { Self.value($0, in: results) }
      let made = try evaluate(node.operation, operands, named: node.name)
      for (output, value) in zip(node.outputs, made) { results[output.index] = value }
    }
    let outputs = resolved.outputs.map { ($0.name, Self.value($0.value, in: results)) }
    return Dictionary(outputs) { first, _ in first }
  }

  private static func value(
    _ id: Graph.ValueID, in results: [ReferenceTensor?]
  ) -> ReferenceTensor {
    guard let value = results[id.index] else {
      fatalError("Value \(id.index) of a verified graph is read before it is made.")
    }
    return value
  }
}
