import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Graphs of random operations on whole numbers, where every order of sums gives the same bits.
@Suite struct MoveTransposesRandomTests {
  /// Draws operations.
  private struct Describer {
    let random: Philox
    var draws: UInt64 = 0
    var values: [Graph.Value]

    mutating func number(_ count: Int) -> Int {
      draws += 1
      return Int(random.word(draws) % UInt32(count))
    }

    mutating func permutation(_ count: Int) -> [Int] {
      var axes = Array(0..<count)
      for index in axes.indices.dropFirst() { axes.swapAt(index, number(index + 1)) }
      return axes
    }

    func extents(_ x: Graph.Value) -> [Int] { x.type.dimensions.map { $0.extent ?? 0 } }

    mutating func add() {
      let x = values[number(values.count)]
      let rank = x.type.rank
      let axis = number(rank)
      switch number(12) {
      case 0...3: values.append(x.transposed(permutation(rank)))
      case 4: values.append(x.relu())
      case 5: values.append(x.map(.affine(scale: -1, offset: 1)))
      case 6, 7: combine(x)
      case 8:
        if extents(x).reduce(1, *) < 400 {
          values.append(x.concatenated(with: x.map(.absolute), axis: axis))
        }
      case 9: values.append(x.sliced(axis: axis, 0..<((extents(x)[axis] + 1) / 2)))
      case 10 where rank > 2:
        values.append(x.reduced(.maximum, axes: [axis], keepsAxes: number(2) == 0))
      default: reshape(x, axis)
      }
    }

    /// With every other value that fits, or with a parameter of some of the axes.
    private mutating func combine(_ x: Graph.Value) {
      let others = values.filter {
        $0.id != x.id && (try? Operation.combine(.add).outputTypes([x.type, $0.type])) != nil
      }
      if !others.isEmpty, number(3) > 0 {
        let y = others[number(others.count)]
        values.append(number(2) == 0 ? x + y : y.maximum(x))
      } else {
        let shape = extents(x).map { number(2) == 0 ? 1 : $0 }
        values.append(
          x.scaled(
            by: "parameter\(draws)", Shape(Array(shape.dropFirst(number(2)))), .add,
            parameterFirst: number(2) == 0))
      }
    }

    /// Splits an axis in two or merges it with the next one.
    private mutating func reshape(_ x: Graph.Value, _ axis: Int) {
      var shape = extents(x).map { Reshape.Extent.fixed($0) }
      if extents(x)[axis] % 2 == 0, shape.count < 5 {
        shape.replaceSubrange(axis...axis, with: [.fixed(extents(x)[axis] / 2), .fixed(2)])
      } else if axis + 1 < shape.count, shape.count > 2 {
        shape.replaceSubrange(
          axis...(axis + 1), with: [.fixed(extents(x)[axis] * extents(x)[axis + 1])])
      } else {
        shape.insert(.fixed(1), at: axis)
      }
      if shape.count <= 5 { values.append(x.apply(.reshape(Reshape(shape)))) }
    }
  }

  private func graph(seed: UInt64) throws -> Graph {
    let builder = GraphBuilder()
    let inputs = [TensorType([2, 3, 4, 1]), TensorType([4, 3, 2])].enumerated().map {
      Graph.Value(builder: builder, id: builder.addInput("x\($0)", $1))
    }
    var describer = Describer(random: Philox(seed: seed, stream: 5), values: inputs)
    for _ in 0..<24 { describer.add() }
    for (index, value) in describer.values.suffix(2 + Int(seed % 3)).enumerated() {
      builder.addOutput("y\(index)", value.transposed(describer.permutation(value.type.rank)).id)
    }
    return try RemoveUnused().apply(to: builder.finish())
  }

  @Test(arguments: 0..<200) func same(_ seed: UInt64) throws {
    let graph = try graph(seed: seed)
    let moved = try MoveTransposes(foldsConstants: seed % 2 == 0).apply(to: graph)
    try moved.verify()
    #expect(moved.outputViews.map(\.type) == graph.outputViews.map(\.type))
    #expect(moved.transposedElementCount <= graph.transposedElementCount, "seed \(seed)")
    var values: [String: ReferenceTensor] = [:]
    let ports = graph.inputs + graph.parameters.map { Graph.Port(name: $0.name, value: $0.value) }
    for (index, port) in ports.enumerated() {
      let shape = graph.type(of: port.value).shape ?? []
      values[port.name] = ReferenceTensor(TestData.integers(shape, seed: seed + UInt64(index)))
    }
    let expected = try Reference(unbound: graph).runInDouble(values)
    let found = try Reference(unbound: moved).runInDouble(values)
    for (name, expected) in expected {
      #expect(found[name]?.values == expected.values, "seed \(seed), \(name)")
    }
  }
}
