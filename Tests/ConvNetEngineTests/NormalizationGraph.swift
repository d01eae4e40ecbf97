import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What the reference makes of batch normalisation: y, dx, dγ and dβ of Σ dy·y, in Double.
struct NormalizationReference {
  var axis: Int
  var epsilon = 1e-5
  var source: StatisticsSource

  /// - Parameter inputs: `x` and `dy`; `scale` and `shift` where there are γ and β; `mean` and `variance`
  ///   for running statistics.
  /// - Returns: `y`, `dx`, and `dscale` and `dshift` where there are γ and β.
  func callAsFunction(_ inputs: [String: Tensor]) throws -> [String: ReferenceTensor] {
    let builder = GraphBuilder()
    func input(_ name: String) -> Graph.ValueID? {
      inputs[name].map { builder.addInput(name, TensorType($0.elementType, $0.shape)) }
    }
    let x = try #require(input("x"))
    let dy = try #require(input("dy"))
    let (scale, shift) = (input("scale"), input("shift"))
    let statistics =
      source == .batch
      ? builder.add(.batchMoments(BatchMoments(axis: axis)), [x])
      : [input("mean"), input("variance")].compactMap { $0 }
    let normalize = Normalize(
      axis: axis, epsilon: epsilon, source: source, hasScale: scale != nil, hasShift: shift != nil)
    let operands = [x] + statistics + [scale, shift].compactMap { $0 }
    let y = builder.add(.normalize(normalize), operands)[0]
    builder.addOutput("y", y)
    let axes = Array(0..<builder.type(of: x).rank)
    let weighted = builder.add(.combine(.multiply), y, dy)
    builder.addOutput("loss", builder.add(.reduce(Reduce(.sum, axes: axes)), weighted))
    let wanted = ["x", "scale", "shift"].filter { inputs[$0] != nil }
    let graph = try builder.finish().gradient(of: "loss", withRespectTo: wanted)
    let results = try Reference(unbound: graph).runInDouble(
      inputs.filter { name, _ in graph.inputs.contains { $0.name == name } }
        .mapValues(ReferenceTensor.init))
    var named = ["y": try #require(results["y"])]
    for name in wanted { named["d\(name)"] = results["gradient/\(name)"] }
    return named
  }
}
