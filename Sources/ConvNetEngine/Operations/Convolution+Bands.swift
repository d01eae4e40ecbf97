import ConvNetGraph

/// An expand → depthwise → project that one step computes, by the graph's nodes.
struct ConvolutionBand {
  /// The name under which a band is reported and can be forced.
  static let name = "banded"

  /// One of the convolutions, with what follows it.
  struct Member {
    var node: Graph.Node
    var convolution: Convolution
    var epilogue: Epilogue

    /// Nil where the node is no convolution, or one with more behind it than an epilogue.
    init?(_ node: Graph.Node) {
      self.node = node
      switch node.operation {
      case .convolution(let convolution): (self.convolution, epilogue) = (convolution, .none)
      case .fused(let fused):
        guard case .convolution(let convolution) = fused.anchor,
          let epilogue = Epilogue(fused, firstOperand: fused.anchorInputCount),
          epilogue.low <= epilogue.high
        else { return nil }
        (self.convolution, self.epilogue) = (convolution, epilogue)
      default: return nil
      }
    }

    /// The operand that is the bias.
    var bias: Graph.ValueID? {
      epilogue.residual == 2 || node.inputs.count < 3 ? nil : node.inputs[2]
    }
  }

  var expand: Member?
  var depthwise: Member
  var project: Member

  /// The members in order.
  var members: [Member] { [expand, depthwise, project].compactMap { $0 } }
}

extension PlanCompiler {
  /// The bands of a graph by the index of their last node, and the other nodes in them.
  ///
  /// Pattern: a 1×1 convolution, a depthwise one and another 1×1, each the only reader of the result
  /// before; without the first where its map is read by others too. Only the last may add a residual.
  func findBands() throws -> (bands: [Int: ConvolutionBand], covered: Set<Int>) {
    var (bands, covered): ([Int: ConvolutionBand], Set<Int>) = ([:], [])
    guard options.fusesBands, options.convolution.map({ $0 == ConvolutionBand.name }) ?? true
    else { return (bands, covered) }
    let (readers, producers) = (graph.readers, graph.producers)
    for (index, node) in graph.nodes.enumerated() {
      guard let depthwise = try bandMember(node, .depthwise), depthwise.epilogue.residual == nil,
        let last = readers[node.outputs[0].index].first, last >= 0,
        readers[node.outputs[0].index].count == 1,
        graph.nodes[last].inputs[0] == node.outputs[0],
        let project = try bandMember(graph.nodes[last], .pointwise)
      else { continue }
      var band = ConvolutionBand(expand: nil, depthwise: depthwise, project: project)
      if let first = producers[node.inputs[0].index], readers[node.inputs[0].index] == [index],
        bands[first] == nil,
        let expand = try bandMember(graph.nodes[first], .pointwise), expand.epilogue.residual == nil
      {
        band.expand = expand
      }
      guard try options.convolution != nil || isWorthwhile(band) else { continue }
      bands[last] = band
      covered.insert(index)
      if band.expand != nil, let first = producers[node.inputs[0].index] { covered.insert(first) }
    }
    return (bands, covered)
  }

  private func bandMember(
    _ node: Graph.Node, _ strategy: ConvolutionStrategy
  ) throws -> ConvolutionBand.Member? {
    guard let member = ConvolutionBand.Member(node), member.convolution.window.rank < 3,
      ConvolutionStrategy.choose(try shape(of: member), options: options) == strategy
    else { return nil }
    if let residual = member.epilogue.residual,
      shape(node.inputs[residual]) != shape(node.outputs[0])
    {
      return nil
    }
    return member
  }

  private func shape(of member: ConvolutionBand.Member) throws -> ConvolutionShape {
    try convolutionShape(
      member.convolution, input: member.node.inputs[0], filter: member.node.inputs[1])
  }

  /// Whether the map between leaves the second-level cache (1 MiB) when it is made whole.
  ///
  /// Measured: of MobileNet-V2's maps those above half of it gain, once all images' fill it. The number of
  /// images decides about time alone, not about bits.
  private func isWorthwhile(_ band: ConvolutionBand) throws -> Bool {
    let shape = try shape(of: band.depthwise)
    let bytes = 4 * shape.height * shape.width * shape.channels
    return bytes > 512 << 10 && bytes * shape.images > 1 << 20
  }

  /// Emits the one step of a band; the node at work is its last.
  mutating func emitBand(_ band: ConvolutionBand) throws {
    var products: [BandedConvolution.Pointwise] = []
    var reads: [Buffer] = []
    for member in [band.expand, band.project].compactMap({ $0 }) {
      let shape = try shape(of: member)
      let packed = packedFilter(shape, of: member.node.inputs[1])
      let product = PanelProduct(
        depth: shape.depth, columns: shape.filters, kernels: kernels, epilogue: member.epilogue,
        hasBias: member.bias != nil)
      let bias = bias(of: member, filters: shape.filters)
      products.append(.init(product: product, packed: packed, bias: bias))
      reads += [packed, bias]
    }
    let shape = try shape(of: band.depthwise)
    let depthwise = BandedConvolution.Depthwise(
      shape: shape, filter: buffer(band.depthwise.node.inputs[1]),
      bias: bias(of: band.depthwise, filters: shape.filters), low: band.depthwise.epilogue.low,
      high: band.depthwise.epilogue.high)
    let x = buffer(band.members[0].node.inputs[0])
    let residual = band.project.epilogue.residual.map { input($0) }
    let y = try output()
    emit(
      BandedConvolution(
        expand: band.expand == nil ? nil : products[0], depthwise: depthwise,
        project: products[products.count - 1], x: x, residual: residual, y: y),
      reads: reads + [x, depthwise.filter, depthwise.bias] + [residual].compactMap { $0 },
      writes: [y])
    try noteBand(band)
  }

  private mutating func bias(of member: ConvolutionBand.Member, filters: Int) -> Buffer {
    member.bias.map { buffer($0) } ?? zeros(filters)
  }

  private mutating func noteBand(_ band: ConvolutionBand) throws {
    bands[node.name] = band.members.map(\.node)
    for member in band.members {
      let shape = try shape(of: member)
      let alone = ConvolutionStrategy.choose(shape, options: options)
      choices.append(
        ConvolutionChoice(
          layer: member.node.name, chosen: ConvolutionBand.name,
          declined: [(alone.rawValue, "its map would not stay in the second-level cache")]
            + alone.declined(shape, options: options)))
    }
  }
}
