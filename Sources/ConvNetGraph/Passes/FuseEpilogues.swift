/// Fuses an addition and a clamp into the operation before them, so that they happen while its result is
/// in cache.
///
/// Pattern: a convolution, the gradient of its input (which a residual join adds to another), a matrix
/// product or a normalisation whose result has one reader; that reader, if it adds a value of the same
/// shape that exists by then, and after it, or instead, a ReLU, ReLU6 or clip with no other reader
/// between.
///
/// Proof: the members are the same operations in the same order on the same operands; only the
/// intermediate results, which nobody else reads, are no longer stored.
package struct FuseEpilogues: GraphPass {
  package init() {}

  package var name: String { "fuse epilogues" }

  package func apply(to graph: Graph) throws -> Graph {
    var fuser = Fuser(graph)
    for index in graph.nodes.indices { fuser.fuse(at: index) }
    return fuser.result
  }
}

private struct Fuser {
  private let graph: Graph
  private let readers: [[Int]]
  private let producers: [Int?]
  private var nodes: [Graph.Node?]

  init(_ graph: Graph) {
    self.graph = graph
    readers = graph.readers
    producers = graph.producers
    nodes = graph.nodes
  }

  var result: Graph {
    var result = graph
    result.nodes = nodes.compactMap { $0 }
    return result
  }

  mutating func fuse(at index: Int) {
    guard let anchor = nodes[index], Self.isAnchor(anchor.operation) else { return }
    var steps: [Fused.Step] = []
    var operands: [Graph.ValueID] = []
    var members: [Int] = []
    var value = anchor.outputs[0]
    if let next = onlyReader(value), let other = addend(next, to: value) {
      steps.append(.combine(.add))
      operands.append(other)
      members.append(next)
      value = graph.nodes[next].outputs[0]
    }
    if let next = onlyReader(value), case .map(let function) = graph.nodes[next].operation,
      Self.clamps(function)
    {
      steps.append(.map(function))
      members.append(next)
      value = graph.nodes[next].outputs[0]
    }
    guard let last = members.last else { return }
    // The fused node stands where its last member stood, so that every operand exists by then.
    for member in members { nodes[member] = nil }
    nodes[index] = nil
    nodes[last] = Graph.Node(
      name: anchor.name,
      operation: .fused(
        Fused(
          anchor: anchor.operation, anchorInputCount: anchor.inputs.count, epilogue: steps)),
      inputs: anchor.inputs + operands, outputs: [value])
  }

  /// The node that alone reads a value which the graph does not hand out.
  private func onlyReader(_ value: Graph.ValueID) -> Int? {
    let all = readers[value.index]
    // A reader that another anchor has taken already is no longer the node it was.
    guard all.count == 1, let reader = all.first, reader >= 0, nodes[reader] == graph.nodes[reader]
    else {
      return nil
    }
    return reader
  }

  /// The other operand of an addition of equal shapes.
  private func addend(_ index: Int, to value: Graph.ValueID) -> Graph.ValueID? {
    let node = graph.nodes[index]
    guard case .combine(.add) = node.operation else { return nil }
    let other = node.inputs[0] == value ? node.inputs[1] : node.inputs[0]
    guard other != value, graph.type(of: other) == graph.type(of: value) else { return nil }
    return other
  }

  private static func isAnchor(_ operation: Operation) -> Bool {
    switch operation {
    case .convolution, .convolutionInputGradient, .matrixMultiply, .normalize: true
    default: false
    }
  }

  private static func clamps(_ function: UnaryFunction) -> Bool {
    switch function {
    case .relu, .relu6: true
    case .clip(let low, let high): low <= high
    default: false
    }
  }
}
