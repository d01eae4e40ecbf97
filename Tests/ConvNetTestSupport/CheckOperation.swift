package import ConvNetEngine
package import ConvNetGraph
import ConvNetReference
package import Testing

/// Expects the engine to compute what the reference computes: an operation's results and its gradients, in
/// every given way, with the same bits on 1, 2 and 3 lanes.
///
/// - Parameters:
///   - operation: the operation.
///   - operands: its operands. Float32 ones get gradients unless they lend only their shape.
///   - parameters: which operands are a model's parameters, so that their packed form is used.
///   - options: the ways to plan it; each is checked.
///   - differentiates: whether gradients are checked too.
///   - seed: of the weights w in the loss Σ w·y; whole numbers, so that exact data stay exact.
///   - tolerance: how far a result may be from the reference, by output name (`y0`, `gradient/x1`).
package func checkOperation(
  _ operation: Operation, _ operands: [Tensor], parameters: Set<Int> = [],
  options: [PlanOptions] = [PlanOptions()], differentiates: Bool = true, seed: UInt64 = 11,
  tolerance: (String) -> Double = { _ in 0 }, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let data = CheckCase(operation, operands, parameters: parameters, seed: seed)
  let graph = try data.graph(differentiates: differentiates)
  for option in options {
    try checkGraph(
      graph, data.values(graph), options: option, sourceLocation: sourceLocation,
      tolerance: tolerance)
  }
}

/// Lanes that all tests share: starting threads is slow, and more lanes than processors must work too.
package enum TestLanes {
  package static let all: [Lanes] = (1...3).map { count in
    do { return try Lanes(count: count) } catch { fatalError("\(error)") }
  }
}

/// One operation with data, ready for both executors.
private struct CheckCase {
  let operation: Operation
  let operands: [String: Tensor]
  let types: [TensorType]
  let parameters: Set<String>
  let seed: UInt64

  init(_ operation: Operation, _ operands: [Tensor], parameters: Set<Int>, seed: UInt64) {
    self.operation = operation
    self.operands = Dictionary(uniqueKeysWithValues: operands.enumerated().map { ("x\($0)", $1) })
    types = operands.map { TensorType($0.elementType, $0.shape) }
    self.parameters = Set(parameters.map { "x\($0)" })
    self.seed = seed
  }

  func graph(differentiates: Bool) throws -> Graph {
    var graph = try operationGraph(operation, types)
    if differentiates {
      let wanted = types.indices.filter {
        types[$0].elementType == .float32 && !operation.shapeOnlyInputs.contains($0)
      }
      graph = try graph.gradient(of: "loss", withRespectTo: wanted.map { "x\($0)" })
    } else {
      graph.outputs.removeAll { $0.name == "loss" }
      graph = try RemoveUnused().apply(to: graph)
      graph.inputs.removeAll { $0.name.hasPrefix("w") }
    }
    for port in graph.inputs where parameters.contains(port.name) {
      graph.parameters.append(
        Graph.Parameter(name: port.name, value: port.value, role: .convolutionFilter))
    }
    graph.inputs.removeAll { parameters.contains($0.name) }
    return graph
  }

  /// Operands and weights of the results.
  func values(_ graph: Graph) -> [String: Tensor] {
    var values = operands
    for input in graph.inputs where input.name.hasPrefix("w") {
      guard let shape = graph.type(of: input.value).shape else { continue }
      values[input.name] = TestData.integers(shape, in: -3...3, seed: seed)
    }
    return values
  }
}

/// Runs a graph in the engine: all inputs given by name, all outputs by name.
package func runEngine(
  _ graph: Graph, _ inputs: [String: Tensor], options: PlanOptions = PlanOptions(), lanes: Lanes
) throws -> [String: Tensor] {
  let model = try Model(
    graph: graph,
    parameters: inputs.filter { name, _ in graph.parameters.contains { $0.name == name } },
    state: [:])
  let plan = try Plan(graph, inputShapes: [:], lanes: lanes, options: options)
  var workspace = plan.makeWorkspace(for: ParameterStore(model))
  for input in graph.inputs {
    guard let value = inputs[input.name] else { continue }
    try workspace.setInput(input.name, to: value)
  }
  plan.run(in: &workspace)
  // A second run must not depend on what the first left behind.
  plan.run(in: &workspace)
  var results: [String: Tensor] = [:]
  for output in graph.outputs { results[output.name] = try workspace.output(output.name) }
  return results
}

/// Expects the engine to compute what the reference computes from a graph, with the same bits on any lanes.
package func checkGraph(
  _ graph: Graph, _ inputs: [String: Tensor], options: PlanOptions = PlanOptions(),
  sourceLocation: SourceLocation = #_sourceLocation, tolerance: (String) -> Double
) throws {
  let expected = try Reference(unbound: graph).runInDouble(inputs.mapValues(ReferenceTensor.init))
  var bits: [String: Tensor] = [:]
  for lanes in TestLanes.all {
    let results = try runEngine(graph, inputs, options: options, lanes: lanes)
    for (name, result) in results.sorted(by: { $0.key < $1.key }) where name != "loss" {
      let label = "\(name), \(lanes.count) lanes, \(options)"
      if let first = bits[name] {
        #expect(
          first == result, "\(label): other bits than on one lane", sourceLocation: sourceLocation)
      } else if let reference = expected[name] {
        bits[name] = result
        expectClose(
          result, reference, tolerance: tolerance(name), label, sourceLocation: sourceLocation)
      }
    }
  }
}
