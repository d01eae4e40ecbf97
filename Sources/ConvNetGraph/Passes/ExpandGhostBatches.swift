/// Normalises ghost batches each with its own statistics.
///
/// After Hoffer, Hubara & Soudry 2017, algorithm 1.
///
/// Pattern, for n samples in groups of g < n along axis 0, the last group ragged:
/// `Normalize(x, BatchMoments(x), γ, β)` becomes
/// `Concatenate(Normalize(xᵢ, BatchMoments(xᵢ), γ, β) …)` with `xᵢ = Slice(x)`, and a mask is cut alike.
/// Layers whose statistics are the running ones stay. Taken on concrete shapes, before the gradient.
///
/// Proof: by definition, ghost batch norm is batch norm of each group with shared γ and β; slices along
/// axis 0 are disjoint and cover the batch. γ and β have several readers then, whose gradients add up:
/// dγ = Σᵢ dγᵢ. By the formula of Chan, which is exact, the merged triples of the groups are the triple
/// of the whole batch; so running statistics are those of plain batch norm over the same input.
package struct ExpandGhostBatches: GraphPass {
  package init() {}

  package var name: String { "expand ghost batches" }

  package func apply(to graph: Graph) throws -> Graph {
    var expanded: [Graph.ValueID: (moments: BatchMoments, node: Graph.Node, group: Int)] = [:]
    let result = try graph.rewritten { node, builder in
      switch node.operation {
      case .batchMoments(let moments):
        guard let group = try groupSize(moments, builder.type(of: node.inputs[0]), at: node.name)
        else { return nil }
        // Whoever else may read the moments of the whole batch still gets them; the layer's running
        // statistics belong to the groups from now on.
        let whole = BatchMoments(axis: moments.axis)
        let outputs = builder.add(.batchMoments(whole), node.inputs, name: node.name)
        expanded[outputs[0]] = (moments, node, group)
        return outputs
      case .normalize(let normalize) where normalize.source == .batch:
        guard let layer = expanded[node.inputs[1]] else { return nil }
        return [expand(node, normalize, layer, builder)]
      default: return nil
      }
    }
    return try expanded.isEmpty ? graph : RemoveUnused().apply(to: result)
  }

  /// The samples of a group, where there is more than one group.
  private func groupSize(
    _ moments: BatchMoments, _ x: TensorType, at name: String
  ) throws -> Int? {
    guard let group = moments.statistics.ghostBatchSize, moments.running?.source != .running else {
      return nil
    }
    guard let samples = x.dimensions[0].extent, try x.normalizedAxis(moments.axis) != 0 else {
      throw GraphError(
        .invalidShape, "ghost batches need a known number of samples along axis 0 of \(x)",
        at: name)
    }
    return group < samples ? group : nil
  }

  private func expand(
    _ node: Graph.Node, _ normalize: Normalize,
    _ layer: (moments: BatchMoments, node: Graph.Node, group: Int), _ builder: GraphBuilder
  ) -> Graph.ValueID {
    let samples = builder.type(of: node.inputs[0]).dimensions[0].extent ?? 0
    var attributes = layer.moments
    attributes.statistics.ghostBatchSize = nil
    var groups: [Graph.ValueID] = []
    for start in stride(from: 0, to: samples, by: layer.group) {
      let slice = Slice(axis: 0, start: start, end: min(start + layer.group, samples))
      func part(_ value: Graph.ValueID, _ name: String) -> Graph.ValueID {
        builder.add(.slice(slice), value, name: builder.uniqueName("\(name).ghost"))
      }
      let x = part(node.inputs[0], "\(node.name).input")
      let mask = layer.node.inputs.dropFirst().map { part($0, "\(node.name).mask") }
      let moments = builder.add(
        .batchMoments(attributes), [x] + mask,
        name: builder.uniqueName("\(layer.node.name).ghost"))
      groups.append(
        builder.add(
          .normalize(normalize), [x] + moments + node.inputs.dropFirst(4),
          name: builder.uniqueName("\(node.name).ghost"))[0])
    }
    return builder.add(.concatenate(Concatenate(axis: 0)), groups, name: node.name)[0]
  }
}
