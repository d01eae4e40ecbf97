package import ConvNetGraph

/// A model of a graph with evenly distributed parameters, γ and variances between ½ and 3⁄2.
package func randomModel(_ graph: Graph, seed: UInt64) throws -> Model {
  var parameters: [String: Tensor] = [:]
  for (index, parameter) in graph.parameters.enumerated() {
    let shape = graph.type(of: parameter.value).shape ?? []
    let range: ClosedRange<Float> = parameter.role == .normalizationScale ? 0.5...1.5 : -0.5...0.5
    parameters[parameter.name] = TestData.uniform(shape, in: range, seed: seed + UInt64(index))
  }
  var state = Model.initialState(of: graph)
  for (index, entry) in graph.states.enumerated() where entry.role != .updateCount {
    let shape = graph.type(of: entry.value).shape ?? []
    let range: ClosedRange<Float> = entry.role == .runningVariance ? 0.5...1.5 : -0.5...0.5
    state[entry.name] = TestData.uniform(shape, in: range, seed: seed + 1000 + UInt64(index))
  }
  return try Model(graph: graph, parameters: parameters, state: state)
}
