/// Which nodes take their moves, and what that costs.
struct LayoutChoice {
  let families: LayoutFamilies
  /// For every node whether it takes its move.
  private(set) var isMoved: [Bool]
  /// For every root the orders in which it is read, and by how many.
  private var reads: [[Layout: Int]]
  /// For every root the order in which it is made.
  private var made: [Layout]

  private var graph: Graph { families.graph }

  init(_ families: LayoutFamilies) {
    self.families = families
    isMoved = families.moves.map { $0 != nil }
    reads = families.graph.types.map { _ in [:] }
    made = families.graph.types.indices.map { families.order(Graph.ValueID($0)) }
    for output in graph.outputs {
      reads[families.roots[output.value.index].index][families.order(output.value), default: 0] += 1
    }
    for node in graph.nodes.indices { count(node, by: 1) }
  }

  /// Lowers the cost as far as changes of single nodes do.
  ///
  /// First nodes that gain nothing by their moves give them up, from the last to the first, until
  /// that changes nothing; then those that lose nothing take theirs, from the first to the last:
  /// transposes end as late as they can, and what follows a convolution may be fused to it.
  mutating func optimize() {
    let most = 16
    for _ in 0..<most {
      var changes = 0
      for node in isMoved.indices.reversed() where families.moves[node] != nil {
        let gain = change(node)
        if gain > 0 || (gain == 0 && !isMoved[node]) { changes += 1 } else { change(node) }
      }
      if changes == 0 { break }
    }
    var still = self
    for node in isMoved.indices where isMoved[node] { still.change(node) }
    if still.cost < cost { self = still }
    for node in isMoved.indices where families.moves[node] != nil && !isMoved[node] {
      if change(node) < 0 { change(node) }
    }
  }

  /// The elements that all transposes move.
  var cost: Double {
    var cost = 0.0
    for root in made.indices { cost += self.cost(root) }
    for (node, move) in families.moves.enumerated() where isMoved[node] {
      cost += weightCost(move)
    }
    return cost
  }

  private func cost(_ root: Int) -> Double {
    let others = reads[root].count - (reads[root][made[root]] == nil ? 0 : 1)
    return others == 0 ? 0 : Double(others) * families.sizes[root]
  }

  /// Weights that follow the rows they are multiplied with are transposed, too.
  private func weightCost(_ move: TransposeMove?) -> Double {
    move?.weights.reduce(0) { $0 + families.sizes[$1.index] } ?? 0
  }

  /// Changes whether a node takes its move; the result is how much lower the cost is.
  @discardableResult private mutating func change(_ index: Int) -> Double {
    let node = graph.nodes[index]
    let roots = Set((node.inputs + node.outputs).map { families.roots[$0.index].index })
    let before = roots.reduce(0) { $0 + cost($1) }
    count(index, by: -1)
    isMoved[index].toggle()
    count(index, by: 1)
    let weights = weightCost(families.moves[index])
    return before - roots.reduce(0) { $0 + cost($1) } + (isMoved[index] ? -weights : weights)
  }

  /// Counts what a node reads, and notes in which order it makes its results.
  private mutating func count(_ index: Int, by number: Int) {
    let node = graph.nodes[index]
    switch node.operation {
    case .transpose, .deferred(.extents): return
    default: break
    }
    let move = isMoved[index] ? families.moves[index] : nil
    for (operand, value) in node.inputs.prefix(move?.operands.count ?? .max).enumerated() {
      let order = move.map { families.order(value, $0.operands[operand]) } ?? families.order(value)
      let root = families.roots[value.index].index
      let sum = reads[root][order, default: 0] + number
      reads[root][order] = sum == 0 ? nil : sum
    }
    for (result, value) in node.outputs.enumerated() {
      made[value.index] =
        move.map { families.order(value, $0.results[result]) } ?? families.order(value)
    }
  }
}
