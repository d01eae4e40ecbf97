/// How an operation computes the same in other layouts.
struct TransposeMove {
  /// Of an operand that is data about axes.
  enum Lookup {
    /// Its elements, one or more for each axis, in another order.
    case reordered([Int])
    /// Its elements, axes, by their new numbers.
    case renumbered([Int])
  }

  /// The operation with its axes renumbered.
  var operation: Operation
  /// For each operand the axes it is read with, nil for an added axis of extent 1; further operands
  /// are read no more.
  var operands: [[Int?]]
  /// What is done to operands that are data about axes.
  var lookups: [Int: Lookup] = [:]
  /// For each result the layout in which it comes.
  var results: [Layout]
  /// For a reshape whose result is a row of another order: that order and the extents it permutes,
  /// which the weights of its readers follow.
  var rows: (extents: [Int], layout: Layout)?
  /// The weights that follow.
  var weights: [Graph.ValueID] = []

  /// The move that follows the layouts of the operands, unless they are those at hand or there is
  /// none.
  init?(
    _ node: Graph.Node, _ graph: Graph, layouts: [Layout], isConstant: [Bool], readers: [[Int]]
  ) {
    let rule = TransposeRule(
      node: node, graph: graph, layouts: layouts, isConstant: isConstant, readers: readers)
    guard let move = try? rule.move(), move.changesLayout else { return nil }
    self = move
    // The type of a deferred operation is what its operands' values say, and follows the rule.
    if case .deferred = operation { return }
    let types = try? operation.outputTypes(
      zip(node.inputs, operands).map { graph.type(of: $0).read(with: $1) })
    guard types == zip(node.outputs, results).map({ graph.type(of: $0).read(with: $1) }) else {
      return nil
    }
  }

  init(_ operation: Operation, _ operands: [[Int?]], result: Layout) {
    self.operation = operation
    self.operands = operands
    results = [result]
  }

  /// Whether an operand or a result comes in another layout.
  private var changesLayout: Bool {
    rows != nil || operands.contains { $0 != Layout.identity($0.count) }
      || results.contains { !$0.isIdentity }
  }
}

extension TensorType {
  /// The type with the given axes, nil for one of extent 1.
  func read(with axes: [Int?]) -> TensorType {
    TensorType(elementType, axes.map { $0.map { dimensions[$0] } ?? .fixed(1) })
  }
}

/// One node and the layouts its operands come in.
struct TransposeRule {
  let node: Graph.Node
  let graph: Graph
  let layouts: [Layout]
  let isConstant: [Bool]
  let readers: [[Int]]

  private func type(_ operand: Int) -> TensorType { graph.type(of: node.inputs[operand]) }

  /// Operands read as they stand.
  private var asTheyStand: [[Int?]] { layouts.indices.map { Layout.identity(type($0).rank) } }

  /// All operands as they stand but the first, which comes in its layout.
  private func firstMoved(_ operation: Operation, result: Layout) -> TransposeMove {
    var operands = asTheyStand
    operands[0] = layouts[0]
    return TransposeMove(operation, operands, result: result)
  }

  /// The move of the node, by its kind.
  func move() throws -> TransposeMove? {
    let x = layouts.first ?? []
    func place(_ axis: Int) throws -> Int { try x.positions[type(0).normalizedAxis(axis)] }
    switch node.operation {
    case .map, .cast, .fill, .dropout: return firstMoved(node.operation, result: x)
    case .combine, .compare, .select: return broadcasting()
    case .concatenate(let concatenate): return try joining(concatenate)
    case .slice(var slice):
      slice.axis = try place(slice.axis)
      return firstMoved(.slice(slice), result: x)
    case .pad(var pad):
      (pad.before, pad.after) = (x.map { pad.before[$0] }, x.map { pad.after[$0] })
      return firstMoved(.pad(pad), result: x)
    case .resize(var resize):
      resize.axis = try place(resize.axis)
      return firstMoved(.resize(resize), result: x)
    case .softmax: return x.last == x.count - 1 ? firstMoved(.softmax, result: x) : nil
    case .reduce(let reduce): return try reducing(reduce)
    case .gather(let gather): return try gathering(gather)
    case .broadcast(let broadcast): return stretching(broadcast)
    case .batchMoments(var moments):
      // Ghost batches are cut along the first axis; a mask has the axes before the channels'.
      guard node.inputs.count == 1, x.first == 0 else { return nil }
      moments.axis = try place(moments.axis) - x.count
      var move = firstMoved(.batchMoments(moments), result: [])
      move.results = [[], [0], [0]]
      return move
    case .normalize(var normalize):
      guard x.first == 0 else { return nil }
      normalize.axis = try place(normalize.axis) - x.count
      return firstMoved(.normalize(normalize), result: x)
    case .matrixMultiply(let multiply): return multiplying(multiply)
    case .reshape, .reshapeLike, .deferred(.reshape): return reshaping()
    case .deferred(let deferred): return try deferring(deferred)
    default: return nil
    }
  }

  /// Operations whose attributes are data: what these say of axes is looked up in the new order.
  private func deferring(_ deferred: Deferred) throws -> TransposeMove? {
    let x = layouts[0]
    var move = firstMoved(.deferred(deferred), result: x)
    switch deferred {
    case .pad: move.lookups[1] = .reordered(x + x.map { $0 + x.count })
    case .tile: move.lookups[1] = .reordered(x)
    case .broadcast where type(1).dimensions == [.fixed(x.count)]:
      move.lookups[1] = .reordered(x)
    case .slice: move.lookups[3] = .renumbered(x.positions)
    case .resize(let axes):
      move.operation = .deferred(
        .resize(
          try axes.map { resize in
            var resize = resize
            resize.axis = try x.positions[type(0).normalizedAxis(resize.axis)]
            return resize
          }))
    default: return nil
    }
    return move
  }

  /// The operand whose layout the others follow: of the activations that do not come as they stand,
  /// the one with the most axes that are more than 1 long.
  private var leader: Int? {
    func long(_ operand: Int) -> Int { type(operand).dimensions.count { $0 != .fixed(1) } }
    return layouts.indices
      .filter { !layouts[$0].isIdentity && !isConstant[node.inputs[$0].index] }
      .max { long($0) < long($1) }
  }

  /// Broadcast operands are aligned at their last axes; missing ones count as axes of extent 1,
  /// which constants then need not have in front.
  private func broadcasting() -> TransposeMove? {
    guard let leader else { return nil }
    let rank = graph.type(of: node.outputs[0]).rank
    let missing = rank - type(leader).rank
    let layout = Layout.identity(missing) + layouts[leader].map { $0 + missing }
    let operands = node.inputs.indices.map { operand -> [Int?] in
      let type = type(operand)
      let axes = layout.map { axis -> Int? in
        let own = axis - (rank - type.rank)
        return own >= 0 ? own : nil
      }
      guard isConstant[node.inputs[operand].index] || type.rank < rank else { return axes }
      return Array(axes.drop { $0.map { type.dimensions[$0] == .fixed(1) } ?? true })
    }
    return TransposeMove(node.operation, operands, result: layout)
  }

  private func joining(_ concatenate: Concatenate) throws -> TransposeMove? {
    guard let leader else { return nil }
    let layout = layouts[leader]
    let axis = try layout.positions[type(leader).normalizedAxis(concatenate.axis)]
    return TransposeMove(
      .concatenate(Concatenate(axis: axis)), node.inputs.map { _ in layout }, result: layout)
  }

  private func reducing(_ reduce: Reduce) throws -> TransposeMove {
    let x = layouts[0]
    let axes = try reduce.normalizedAxes(of: type(0))
    var moved = reduce
    moved.axes = axes.map { x.positions[$0] }.sorted()
    guard !reduce.keepsAxes else { return firstMoved(.reduce(moved), result: x) }
    // The axes that stay are numbered anew.
    let kept = x.filter { !axes.contains($0) }
    return firstMoved(
      .reduce(moved), result: kept.map { axis in axis - axes.count { $0 < axis } })
  }

  /// The axes of the indices take the place of the one that is gathered from.
  private func gathering(_ gather: Gather) throws -> TransposeMove {
    let axis = try type(0).normalizedAxis(gather.axis)
    let added = type(1).rank
    let result = layouts[0].flatMap { old -> [Int] in
      old == axis ? Array(axis..<(axis + added)) : [old > axis ? old + added - 1 : old]
    }
    return firstMoved(.gather(Gather(axis: layouts[0].positions[axis])), result: result)
  }

  /// Added axes stand in front and stay there.
  private func stretching(_ broadcast: Broadcast) -> TransposeMove {
    let rank = max(type(0).rank, broadcast.extents.count)
    let missing = rank - type(0).rank
    let result = Layout.identity(missing) + layouts[0].map { $0 + missing }
    let ones = [Int](repeating: 1, count: rank - broadcast.extents.count)
    let extents = ones + broadcast.extents
    return firstMoved(.broadcast(Broadcast(result.map { extents[$0] })), result: result)
  }

  /// A product reads matrices whose last two axes have changed places as they are.
  private func multiplying(_ multiply: MatrixMultiply) -> TransposeMove {
    var operands = asTheyStand
    var moved = multiply
    func isTurned(_ operand: Int) -> Bool {
      var layout = layouts[operand]
      guard layout.count >= 2 else { return false }
      layout.swapAt(layout.count - 2, layout.count - 1)
      return layout.isIdentity
    }
    if isTurned(0) {
      operands[0] = layouts[0]
      moved.transposesLeft.toggle()
    }
    if isTurned(1) {
      operands[1] = layouts[1]
      moved.transposesRight.toggle()
    }
    return TransposeMove(
      .matrixMultiply(moved), operands,
      result: Layout.identity(graph.type(of: node.outputs[0]).rank))
  }
}
