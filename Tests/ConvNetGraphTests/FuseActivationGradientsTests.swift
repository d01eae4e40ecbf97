import ConvNetGraph
import Foundation
import Testing

@Suite struct FuseActivationGradientsTests {
  private func fused(
    training: Bool = true, _ layers: (Graph.Value) -> Graph.Value
  ) throws -> Graph {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 3)) {
      layers($0).reduced(.sum, axes: [0, 1, 2, 3])
    }
    let resolved = try ResolveMode(training ? .training : .inference).apply(to: graph)
    let gradient = try resolved.gradient(
      of: "output", withRespectTo: ["input"] + resolved.parameters.map(\.name))
    let result = try FuseActivationGradients().apply(to: gradient)
    try result.verify()
    return result
  }

  /// The functions of all prologues, in order, and the derivatives that stand by themselves.
  private func prologues(_ graph: Graph) -> [UnaryFunction] {
    graph.nodes.compactMap {
      if case .fused(let fused) = $0.operation { fused.prologue?.function } else { nil }
    }
  }

  private func derivatives(_ graph: Graph) -> Int {
    graph.nodes.count {
      if case .combine(.derivative) = $0.operation { true } else { false }
    }
  }

  @Test(arguments: [UnaryFunction.relu, .relu6, .clip(low: -1, high: 2)])
  func fusesBothStepsOfTheGradient(_ function: UnaryFunction) throws {
    let graph = try fused { $0.batchNormalization().map(function) }
    #expect(prologues(graph) == [function, function])
    #expect(derivatives(graph) == 0)
    let scale = try #require(graph.parameters.first { $0.role == .normalizationScale }).value
    for node in graph.nodes {
      guard case .fused(let fused) = node.operation else { continue }
      #expect(node.inputs[fused.anchorInputCount] == scale)
      #expect(node.inputs.count == fused.anchorInputCount + 2)
    }
  }

  @Test func leavesWhatOthersRead() throws {
    // The sum's other branch reads g as well.
    let residual = try fused { x in (x.batchNormalization() + x).relu() }
    #expect(prologues(residual).isEmpty && derivatives(residual) == 1)
    let squashed = try fused { $0.batchNormalization().map(.leakyRelu(slope: 0.1)) }
    #expect(prologues(squashed).isEmpty && derivatives(squashed) == 1)
    let first = try fused { $0.batchNormalization(axis: 1).relu() }
    #expect(prologues(first).isEmpty && derivatives(first) == 1)
    let running = try fused(training: false) { $0.batchNormalization().relu() }
    #expect(prologues(running).isEmpty && derivatives(running) == 1)
    // The gradients of both readers of n are added before the normalisation's.
    let twice = try fused { x in
      let n = x.batchNormalization()
      return n.relu() * n.map(.exp)
    }
    #expect(prologues(twice).isEmpty && derivatives(twice) == 2)
  }

  @Test func checksPrologues() throws {
    let graph = try fused { $0.batchNormalization().relu() }
    let data = try JSONEncoder().encode(graph)
    #expect(try JSONDecoder().decode(Graph.self, from: data) == graph)
    let index = try #require(graph.nodes.firstIndex { $0.operation.name.hasPrefix("fused") })
    guard case .fused(let sums) = graph.nodes[index].operation else { return }
    func refuses(_ change: (inout Fused, inout Graph.Node) -> Void) {
      var (graph, fused) = (graph, sums)
      change(&fused, &graph.nodes[index])
      graph.nodes[index].operation = .fused(fused)
      #expect(throws: GraphError.self) { try graph.verify() }
    }
    refuses { _, node in node.inputs.removeLast() }
    refuses { _, node in node.inputs[0] = node.inputs[2] }
    refuses { fused, _ in fused.prologue?.normalize.source = .running }
    refuses { fused, _ in fused.prologue?.normalize.hasShift = false }
    refuses { fused, _ in fused.anchor = .map(.exp) }
  }
}
