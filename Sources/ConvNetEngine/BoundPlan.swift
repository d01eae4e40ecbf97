import ConvNetGraph
import Synchronization

/// A plan that reads tensors where they are and writes its results straight into new ones.
///
/// One workspace is kept for the next run; simultaneous runs make further ones. Inputs must not be
/// handed out as outputs, as no copy is made of either.
final class BoundPlan: Sendable {
  private let plan: Plan
  private let model: Model
  private let spare = Mutex<Workspace?>(nil)

  /// Plans a graph of concrete input shapes and no parameters.
  init(_ graph: Graph, lanes: Lanes, options: PlanOptions) throws {
    model = try Model(graph: graph, parameters: [:], state: [:])
    plan = try Plan(graph, inputShapes: [:], lanes: lanes, options: options, bindsPorts: true)
  }

  /// Runs once.
  ///
  /// - Parameter inputs: all inputs by name.
  /// - Returns: the outputs, in the order of the graph.
  /// - Throws: `PlanError` where an input is missing or of another type or shape.
  func run(_ inputs: [String: Tensor?]) throws -> [Tensor] {
    var workspace = spare.withLock { $0.take() } ?? plan.makeWorkspace(for: ParameterStore(model))
    var bound: [Tensor] = []
    for input in model.graph.inputs {
      let (port, tensor) = (try plan.input(input.name), inputs[input.name] ?? nil)
      guard let tensor, tensor.shape == port.shape, tensor.elementType == port.elementType else {
        let found = tensor.map { "\($0.elementType.rawValue) \($0.shape)" } ?? "missing"
        throw PlanError(
          .mismatchedData, "is \(found), not \(port.elementType.rawValue) \(port.shape)",
          at: input.name)
      }
      workspace.setPointer(port.buffer.index, to: tensor.storage.base)
      bound.append(tensor)
    }
    let results = try model.graph.outputs.map { output in
      let port = try plan.output(output.name)
      return Tensor(zeros: port.shape, elementType: port.elementType)
    }
    for (output, result) in zip(model.graph.outputs, results) {
      // Nobody else has seen the new tensor yet.
      workspace.setPointer(try plan.output(output.name).buffer.index, to: result.storage.base)
    }
    withExtendedLifetime((bound, results)) { plan.run(in: &workspace) }
    var returned: Workspace? = consume workspace
    spare.withLock { swap(&$0, &returned) }
    return results
  }
}
