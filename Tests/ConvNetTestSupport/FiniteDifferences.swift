package import ConvNetGraph
package import ConvNetReference
package import Testing

/// Expects the gradient of a scalar output to agree with central differences, both in Double.
///
/// (f(x + h) − f(x − h))/2h is off the derivative by h²·|f‴|/6 and by the rounding of f, some n·2⁻⁵³·|f|/h
/// for n operations one after another: with h = 1e-5 that is 2e-11·|f‴| + 1e-11·n·|f|. The tolerance,
/// 1e-8 times the largest of 1, |f| and the gradient's elements, leaves room for n and |f‴| of hundreds.
/// Data must keep away from corners by more than h.
///
/// - Parameters:
///   - graph: a graph with its mode resolved.
///   - values: all inputs, parameters and state by name.
///   - output: the scalar output, float32 by declaration.
///   - names: with respect to which float32 inputs and parameters; every element of each is moved.
package func finiteDifferenceCheck(
  _ graph: Graph, _ values: [String: ReferenceTensor], of output: String = "loss",
  withRespectTo names: [String], h: Double = 1e-5,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let gradient = try graph.gradient(of: output, withRespectTo: names)
  let results = try Reference(unbound: gradient).runInDouble(values)
  let loss = try #require(results[output], sourceLocation: sourceLocation).values[0]
  // Only what the loss needs is computed again and again.
  var lossGraph = graph
  lossGraph.outputs = graph.outputs.filter { $0.name == output }
  let reference = try Reference(unbound: RemoveUnused().apply(to: lossGraph))
  let values = values.filter { reference.graph.value(named: $0.key) != nil }
  for name in names {
    let analytic = try #require(results["gradient/\(name)"], sourceLocation: sourceLocation)
    let value = try #require(values[name], sourceLocation: sourceLocation)
    #expect(analytic.type == value.type, sourceLocation: sourceLocation)
    var numeric: [Double] = []
    for index in value.values.indices {
      var (above, below) = (value, value)
      above.values[index] += h
      below.values[index] -= h
      let losses = try [above, below].map { moved in
        try reference.runInDouble(values.merging([name: moved]) { $1 })[output]?.values[0] ?? .nan
      }
      numeric.append((losses[0] - losses[1]) / (above.values[index] - below.values[index]))
    }
    let scale = analytic.values.map(abs).reduce(max(1, abs(loss)), max)
    expectClose(
      analytic.values, numeric, tolerance: 1e-8 * scale,
      "gradient/\(name) of \(value.shape) by finite differences", sourceLocation: sourceLocation)
  }
}

/// Expects the gradient rule of one operation to agree with central differences in every operand that is
/// float32 and wanted; the results are weighted with numbers of the seed.
package func checkGradient(
  of operation: Operation, _ operands: [ReferenceTensor], wanted: [Int]? = nil, seed: UInt64 = 7,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let graph = try operationGraph(operation, operands.map(\.type))
  var values: [String: ReferenceTensor] = [:]
  for (index, operand) in operands.enumerated() { values["x\(index)"] = operand }
  for input in graph.inputs where input.name.hasPrefix("w") {
    let shape = try #require(graph.type(of: input.value).shape, sourceLocation: sourceLocation)
    values[input.name] = TestData.doubles(shape, in: 0.5...1.5, seed: seed)
  }
  let wanted =
    wanted
    ?? operands.indices.filter {
      operands[$0].elementType == .float32 && !operation.shapeOnlyInputs.contains($0)
    }
  try finiteDifferenceCheck(
    graph, values, withRespectTo: wanted.map { "x\($0)" }, sourceLocation: sourceLocation)
}

/// The unrounded results of one operation.
package func evaluateInReference(
  _ operation: Operation, _ operands: ReferenceTensor...
) throws -> [ReferenceTensor] {
  let graph = try operationGraph(operation, operands.map(\.type))
  var onlyResults = graph
  onlyResults.outputs.removeAll { $0.name == "loss" }
  onlyResults = try RemoveUnused().apply(to: onlyResults)
  onlyResults.inputs.removeAll { $0.name.hasPrefix("w") }
  let values = operands.enumerated().map { ("x\($0)", $1) }
  let results = try Reference(unbound: onlyResults)
    .runInDouble(Dictionary(uniqueKeysWithValues: values))
  return try results.keys.sorted().map { try #require(results[$0]) }
}
