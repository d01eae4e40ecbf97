extension TransposeRule {
  /// Axes of an operand that become axes of the result, in order; one side may be empty.
  struct AxisGroup {
    var from: Range<Int>
    var to: Range<Int>
  }

  /// A reshape merges and splits groups of neighbouring axes; the groups may stand in any order,
  /// while within one the order stays.
  ///
  /// The groups follow the layout of the operand; where it tears a group apart, as between the two
  /// halves of a channel shuffle, the operand must be transposed for it.
  func reshaping() -> TransposeMove? {
    let (x, y) = (graph.type(of: node.inputs[0]), graph.type(of: node.outputs[0]))
    guard !layouts[0].isIdentity, let groups = Self.groups(x.dimensions, y.dimensions) else {
      return nil
    }
    let ordered = order(groups, x)
    if let move = flattening(groups, ordered) { return move }
    let operand = ordered.flatMap(\.from)
    return Self.reshape(x.read(with: operand), ordered, y.dimensions).map {
      TransposeMove(.reshape($0), [operand], result: ordered.flatMap(\.to))
    }
  }

  /// The smallest groups of equal products; nil where a symbol hides them, or there are too many
  /// axes to try.
  static func groups(_ from: [Dimension], _ to: [Dimension]) -> [AxisGroup]? {
    guard max(from.count, to.count) <= 8 else { return nil }
    var groups: [AxisGroup] = []
    var (i, j) = (0, 0)
    while i < from.count || j < to.count {
      // One axis that stays comes before axes of extent 1 that come or go, and these before the
      // rest.
      let (most, other) = (from.count - i, to.count - j)
      let counts =
        [(1, 1), (1, 0), (0, 1)]
        + (1...max(most, 1)).flatMap { a in
          (1...max(other, 1)).map { (a, $0) }
        }.sorted { $0.0 + $0.1 < $1.0 + $1.1 }
      guard
        let (a, b) = counts.first(where: { a, b in
          a <= most && b <= other
            && Dimension.product(from[i..<(i + a)]) == Dimension.product(to[j..<(j + b)])
        })
      else { return nil }
      groups.append(AxisGroup(from: i..<(i + a), to: j..<(j + b)))
      (i, j) = (i + a, j + b)
    }
    return groups
  }

  /// The groups as their first axes stand in the operand's layout; what comes from nothing stays
  /// behind the group before it.
  private func order(_ groups: [AxisGroup], _ x: TensorType) -> [AxisGroup] {
    let positions = layouts[0].positions
    var place = -1
    return groups.map { group in
      let long = group.from.filter { x.dimensions[$0] != .fixed(1) }
      place = (long.isEmpty ? Array(group.from) : long).map { positions[$0] }.min() ?? place
      return (place, group)
    }.enumerated().sorted { ($0.element.0, $0.offset) < ($1.element.0, $1.offset) }
      .map(\.element.1)
  }

  /// The reshape of an operand in the order of the groups.
  private static func reshape(
    _ x: TensorType, _ groups: [AxisGroup], _ y: [Dimension]
  ) -> Reshape? {
    var axis = 0
    var extents: [Reshape.Extent] = []
    for group in groups {
      if group.from.count == 1, group.to.count == 1 {
        extents.append(.copy(axis))
      } else {
        extents += group.to.map { y[$0].extent.map(Reshape.Extent.fixed) ?? .rest }
      }
      axis += group.from.count
    }
    return extents.count { $0 == .rest } <= 1 ? Reshape(extents) : nil
  }

  /// Flattening before dense layers: rows in the order of the operand's layout.
  ///
  /// The weights of the readers, which nobody else reads, follow: Σᵢ x(i)·w(i, o) is the same sum
  /// in another order.
  private func flattening(_ groups: [AxisGroup], _ ordered: [AxisGroup]) -> TransposeMove? {
    let x = graph.type(of: node.inputs[0])
    guard groups.map(\.from) == ordered.map(\.from), let last = groups.last, last.to == 1..<2,
      last.from.count > 1
    else { return nil }
    let extents = last.from.compactMap { x.dimensions[$0].extent }
    let inside = layouts[0].filter(last.from.contains)
    guard extents.count == last.from.count, inside != Array(last.from),
      let weights = followingWeights(), !weights.isEmpty
    else { return nil }
    let operand = ordered.dropLast().flatMap(\.from) + inside
    guard
      let reshape = Self.reshape(
        x.read(with: operand), ordered, graph.type(of: node.outputs[0]).dimensions)
    else { return nil }
    var move = TransposeMove(.reshape(reshape), [operand], result: [0, 1])
    move.rows = (extents, inside.map { $0 - last.from.lowerBound })
    move.weights = weights
    return move
  }

  /// The weights of all readers, if these are products of the result's rows with weights of their
  /// own.
  private func followingWeights() -> [Graph.ValueID]? {
    var weights: [Graph.ValueID] = []
    for reader in readers[node.outputs[0].index] {
      guard reader >= 0, case .matrixMultiply(let multiply) = graph.nodes[reader].operation,
        !multiply.transposesLeft
      else { return nil }
      let operands = graph.nodes[reader].inputs
      guard operands[0] == node.outputs[0], !operands.dropFirst().contains(operands[0]),
        isConstant[operands[1].index], readers[operands[1].index].count == 1
      else { return nil }
      weights.append(operands[1])
    }
    return weights
  }
}
