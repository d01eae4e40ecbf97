/// Batch renormalisation (Ioffe 2017, arXiv 1702.03275, algorithm 1) out of existing operations.
///
/// Pattern: `Normalize(x, BatchMoments(x), γ, β)` of a layer that renormalises becomes
/// `Normalize(x, BatchMoments(x), γ·r, γ·d + β)` with `(r, d) = Renormalize(moments, running, limits)`,
/// the limits (r_max, d_max) being an input that the trainer sets. Taken before the gradient.
///
/// Proof: γ·(x̂·r + d) + β = (γ·r)·x̂ + (γ·d + β). `Renormalize` passes no gradient on, as the paper's
/// “treated as constant” asks, so dx is that of batch norm with γ·r as its scale, dγ = Σ dy·(x̂·r + d)
/// and dβ = Σ dy follow from the products.
struct ExpandRenormalization: GraphPass {
  var name: String { "expand renormalisation" }

  func apply(to graph: Graph) throws -> Graph {
    var layers: [Graph.ValueID: RunningStatistics] = [:]
    var limits: Graph.ValueID?
    return try graph.rewritten { node, builder in
      switch node.operation {
      case .batchMoments(let moments):
        guard moments.statistics.renormalizes, let running = moments.running else { return nil }
        // Done once: the same graph may pass here again.
        var plain = moments
        plain.statistics.renormalizes = false
        let outputs = builder.add(.batchMoments(plain), node.inputs, name: node.name)
        layers[outputs[0]] = running
        return outputs
      case .normalize(let normalize) where normalize.source == .batch:
        guard let running = layers[node.inputs[1]], let mean = graph.value(named: running.mean),
          let variance = graph.value(named: running.variance)
        else { return nil }
        let bounds = limits ?? builder.renormalizationLimits()
        limits = bounds
        return [expand(node, normalize, [mean, variance, bounds], builder)]
      default: return nil
      }
    }
  }

  private func expand(
    _ node: Graph.Node, _ normalize: Normalize, _ constants: [Graph.ValueID],
    _ builder: GraphBuilder
  ) -> Graph.ValueID {
    let factors = builder.add(
      .renormalize(Renormalize(epsilon: normalize.epsilon)), node.inputs[1...3] + constants,
      name: builder.uniqueName("\(node.name).renormalize"))
    var (scale, shift) = (factors[0], factors[1])
    func add(
      _ function: BinaryFunction, _ a: Graph.ValueID, _ b: Graph.ValueID, _ name: String
    ) -> Graph.ValueID {
      builder.add(.combine(function), a, b, name: builder.uniqueName("\(node.name).\(name)"))
    }
    if let index = normalize.scaleIndex {
      let gamma = node.inputs[index]
      scale = add(.multiply, scale, gamma, "scale")
      shift = add(.multiply, shift, gamma, "scaledShift")
    }
    if let index = normalize.shiftIndex {
      shift = add(.add, shift, node.inputs[index], "shift")
    }
    var whole = normalize
    (whole.hasScale, whole.hasShift) = (true, true)
    return builder.add(
      .normalize(whole), node.inputs[...3] + [scale, shift], name: node.name)[0]
  }
}

extension GraphBuilder {
  /// The input with the bounds of batch renormalisation: float32 `[2]` = (r_max, d_max).
  package static let renormalizationLimitsName = "renormalization limits"

  /// The input with the bounds of batch renormalisation, declared when first needed.
  func renormalizationLimits() -> Graph.ValueID {
    let name = GraphBuilder.renormalizationLimitsName
    return graph.inputs.first { $0.name == name }?.value
      ?? addInput(name, TensorType(.float32, [2] as Shape))
  }
}
