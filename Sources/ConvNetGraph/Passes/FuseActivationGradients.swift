/// Lets the gradient of a normalisation recompute which elements its activation let through.
///
/// Pattern: `g = derivative(f)(dz, n)` of equal shapes with `n = Normalize(x, moments, γ, β)`, f one of ReLU,
/// ReLU6 and clip, whose only readers are the gradient's two steps on the same x and moments. These then
/// take dz for g, with f and the normalisation as their prologue. Only channels last, over batch moments
/// without a mask: what the engine has loops for.
///
/// Proof: the prologue is the same operations on the same operands in each of its readers, which read g
/// nowhere else; n is a function of x, the moments, γ and β, none of which a graph changes. g is no
/// longer stored, n and f(n) no longer read: 2 + 3 passes over memory for 3 + 2 + 3.
package struct FuseActivationGradients: GraphPass {
  package init() {}

  package var name: String { "fuse activation gradients" }

  package func apply(to graph: Graph) throws -> Graph {
    let (readers, producers) = (graph.readers, graph.producers)
    var nodes: [Graph.Node?] = graph.nodes
    for (index, node) in graph.nodes.enumerated() {
      guard case .combine(.derivative(let function)) = node.operation, Self.gates(function),
        let producer = producers[node.inputs[1].index],
        case .normalize(let normalize) = graph.nodes[producer].operation,
        graph.type(of: node.inputs[0]) == graph.type(of: node.inputs[1])
      else {
        continue
      }
      let operands = graph.nodes[producer].inputs
      let gradient = node.outputs[0]
      let own = readers[gradient.index]
      guard try Self.isPlain(normalize, operands, in: graph, producers), !own.isEmpty,
        own.allSatisfy({
          $0 >= 0 && Self.differentiates(graph.nodes[$0], gradient, normalize, operands)
        })
      else {
        continue
      }
      for reader in own {
        var fused = graph.nodes[reader]
        let prologue = Fused.Prologue(normalize: normalize, function: function)
        fused.operation = .fused(
          Fused(
            prologue: prologue, anchor: fused.operation, anchorInputCount: fused.inputs.count,
            epilogue: []))
        fused.inputs[0] = node.inputs[0]
        fused.inputs += operands[(1 + normalize.statisticsCount)...]
        nodes[reader] = fused
      }
      nodes[index] = nil
    }
    var result = graph
    result.nodes = nodes.compactMap { $0 }
    return result
  }

  /// Whether a derivative is 0 up to one corner and from the other on, and 1 between them.
  private static func gates(_ function: UnaryFunction) -> Bool {
    switch function {
    case .relu, .relu6: true
    case .clip(let low, let high): low < high
    default: false
    }
  }

  /// Channels last, by batch moments over all positions.
  private static func isPlain(
    _ normalize: Normalize, _ operands: [Graph.ValueID], in graph: Graph, _ producers: [Int?]
  ) throws -> Bool {
    guard normalize.source == .batch, let moments = producers[operands[1].index],
      case .batchMoments = graph.nodes[moments].operation, graph.nodes[moments].inputs.count == 1
    else {
      return false
    }
    let type = graph.type(of: operands[0])
    return try type.normalizedAxis(normalize.axis) == type.rank - 1
  }

  /// Whether a node is a step of the gradient of just this normalisation and reads g as that of its y only.
  private static func differentiates(
    _ node: Graph.Node, _ gradient: Graph.ValueID, _ normalize: Normalize,
    _ operands: [Graph.ValueID]
  ) -> Bool {
    let attributes: NormalizeGradient
    switch node.operation {
    case .normalizeGradientSums(let a), .normalizeGradientInput(let a): attributes = a
    default: return false
    }
    return attributes.axis == normalize.axis && attributes.epsilon == normalize.epsilon
      && attributes.source == normalize.source && !attributes.hasMask
      && node.inputs[0] == gradient && !node.inputs.dropFirst().contains(gradient)
      && node.inputs[1..<(2 + normalize.statisticsCount)]
        == operands[...normalize.statisticsCount]
  }
}
