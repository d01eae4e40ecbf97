package import ConvNetGraph

/// Computes once what a model would compute alike in every run.
///
/// Pattern: operations that read parameters, running statistics, constants and one another, but nothing
/// that comes from an input. What others read of their float32 results becomes parameters with names of
/// their own.
///
/// Proof: operations are functions of their operands, so these give the same bits in every run of a plan;
/// parameters and statistics do not change in inference.
package struct FoldConstants: ModelPass {
  /// Makes the pass.
  package init() {}

  /// The pass's name in reports.
  package var name: String { "fold constants" }

  /// The model in inference form with constants computed; a model without any is returned as it is.
  ///
  /// - Throws: `GraphError` or `PlanError` where the model cannot be brought into inference form or the
  ///   engine cannot compute a constant.
  package func apply(to model: Model) throws -> Model {
    var graph = try ResolveMode(.inference).apply(to: model.graph)
    let constants = Self.constants(of: graph)
    guard !constants.isEmpty else { return model }
    let values = try compute(constants, of: graph, model)

    var parameters = model.parameters
    var replaced: [Graph.ValueID: Graph.ValueID] = [:]
    for (value, tensor) in zip(constants, values) {
      let name = "value\(value.index)|constant"
      graph.types.append(TensorType(tensor.elementType, tensor.shape))
      let parameter = Graph.ValueID(graph.types.count - 1)
      graph.parameters.append(
        Graph.Parameter(name: name, value: parameter, role: .bias, isTrainable: false))
      parameters[name] = tensor
      replaced[value] = parameter
    }
    for index in graph.nodes.indices {
      graph.nodes[index].inputs = graph.nodes[index].inputs.map { replaced[$0] ?? $0 }
    }
    for index in graph.outputs.indices {
      let value = graph.outputs[index].value
      graph.outputs[index].value = replaced[value] ?? value
    }
    return try Self.reduced(graph, parameters, of: model)
  }

  /// What a graph's outputs need of a model.
  private static func reduced(
    _ graph: Graph, _ parameters: [String: Tensor], of model: Model
  ) throws -> Model {
    var graph = try RemoveUnused().apply(to: graph)
    let read = Set(graph.nodes.flatMap(\.inputs) + graph.outputs.map(\.value))
    graph.parameters.removeAll { !read.contains($0.value) }
    graph.states.removeAll { !read.contains($0.value) }
    try graph.verify()
    let names = Set(graph.parameters.map(\.name) + graph.states.map(\.name))
    return try Model(
      graph: graph, parameters: parameters.filter { names.contains($0.key) },
      state: model.state.filter { names.contains($0.key) }, metadata: model.metadata)
  }

  /// Constant float32 results that are handed out or read by something that is not constant.
  private static func constants(of graph: Graph) -> [Graph.ValueID] {
    var known = Set(graph.parameters.map(\.value) + graph.states.map(\.value))
    var results: [Graph.ValueID] = []
    var wanted = Set(graph.outputs.map(\.value))
    for node in graph.nodes {
      // A constant of the graph is one already.
      if case .constant = node.operation {
        known.formUnion(node.outputs)
      } else if !node.inputs.isEmpty, node.inputs.allSatisfy(known.contains) {
        known.formUnion(node.outputs)
        results += node.outputs
      } else {
        wanted.formUnion(node.inputs)
      }
    }
    return results.filter { wanted.contains($0) && graph.type(of: $0).elementType == .float32 }
  }

  /// Runs the part of the graph that needs no input.
  private func compute(
    _ values: [Graph.ValueID], of graph: Graph, _ model: Model
  ) throws -> [Tensor] {
    var closed = graph
    closed.inputs = []
    closed.outputs = values.map { Graph.Port(name: "\($0.index)", value: $0) }
    // The store copies parameters: only those that constants are made of.
    let constants = try Self.reduced(closed, model.parameters, of: model)
    let plan = try Plan(constants.graph, inputShapes: [:])
    var workspace = plan.makeWorkspace(for: ParameterStore(constants))
    plan.run(in: &workspace)
    return try closed.outputs.map { try workspace.output($0.name) }
  }
}
