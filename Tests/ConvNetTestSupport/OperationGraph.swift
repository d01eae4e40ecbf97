package import ConvNetGraph

/// A graph with one operation, and a scalar made of its results to take gradients of.
///
/// Inputs `x0`, `x1`, … are the operands, `w0`, `w1`, … the weights of the results, as inputs of the same
/// types; outputs `y0`, `y1`, … are the results and `loss` = Σ w·y over the float32 ones.
package func operationGraph(_ operation: Operation, _ operands: [TensorType]) throws -> Graph {
  let builder = GraphBuilder()
  let inputs = operands.enumerated().map { builder.addInput("x\($0)", $1) }
  let results = builder.add(operation, inputs, name: "operation")
  var loss: Graph.ValueID?
  for (index, result) in results.enumerated() {
    builder.addOutput("y\(index)", result)
    let type = builder.type(of: result)
    guard type.elementType == .float32 else { continue }
    let weight = builder.addInput("w\(index)", type)
    let weighted = builder.add(.combine(.multiply), result, weight)
    let sum = builder.add(.reduce(Reduce(.sum, axes: Array(0..<type.rank))), weighted)
    loss = loss.map { builder.add(.combine(.add), $0, sum) } ?? sum
  }
  if let loss { builder.addOutput("loss", loss) }
  let graph = try builder.finish()
  try graph.verify()
  return graph
}
