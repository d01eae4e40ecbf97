/// Moves transposes through operations and cancels them.
///
/// Networks that come channels first have a transpose before and after every convolution, pooling
/// and resize; between convolutions none is left, and what remains keeps the layout of inputs and
/// outputs or serves an operation that truly needs another order of axes. Taken on the unfused
/// graph, before or after `ResolveMode` and before the gradient; shapes may be symbols.
///
/// Pattern: values that are transposes of one another are one *family* and any of its *layouts* can
/// be made of any other. An operation that computes the same from an operand in another layout,
/// with its axes renumbered (`TransposeMove`), may do so and gives its own result in another
/// layout; for each that can, one such way is noted, following the layouts that values have anyway.
/// Then the ways are chosen (`LayoutChoice`) and layouts that someone reads but nobody makes come
/// by one transpose each (`LayoutWriter`).
///
/// Proof: let P be the permutation of a layout. Every way satisfies f′(P₁x₁, P₂x₂, …) = P f(x₁, x₂,
/// …) element by element: elementwise functions act alike on all elements and broadcasting aligns
/// axes one by one, so that permuting those of all operands permutes those of the result;
/// concatenation, slices, padding, gathering and resizing act along named axes; a reduction sums
/// the same elements, in another order; a reshape keeps the order of elements within the groups of
/// axes that it merges or splits. Dropout drops as many elements, but others. The graph's ports
/// read their own layouts. Moving axes of extent 1 keeps the order of elements in memory: that is a
/// reshape and costs nothing.
///
/// What a choice costs is the number of elements that its transposes move: for each family its size
/// times the layouts that are read and not made by its operation. Every change of the choice lowers
/// that, or keeps it while nodes go one way; so it ends, and where it ends above the cost of no
/// moves at all, none is made.
package struct MoveTransposes: GraphPass {
  /// Whether what is computed from parameters alone is free, as after constant folding at
  /// inference; otherwise it counts as activations do, and a dense layer's weights stay in their
  /// order.
  package var foldsConstants: Bool

  package init(foldsConstants: Bool = true) { self.foldsConstants = foldsConstants }

  package var name: String { "move transposes" }

  package func apply(to graph: Graph) throws -> Graph {
    let hasTransposes = graph.nodes.contains {
      if case .transpose = $0.operation { true } else { false }
    }
    guard hasTransposes else { return graph }
    var choice = LayoutChoice(LayoutFamilies(graph, foldsConstants: foldsConstants))
    choice.optimize()
    var writer = LayoutWriter(choice)
    return writer.write()
  }

  /// The model with the changed graph, and the same parameters and state.
  package func apply(to model: Model) throws -> Model {
    try Model(
      graph: apply(to: model.graph), parameters: model.parameters, state: model.state,
      metadata: model.metadata)
  }
}

extension Graph {
  /// The transposes of values that depend on an input: those that a run has to make.
  ///
  /// One that moves only axes of extent 1 moves nothing in memory and is not counted.
  package var transposeCount: Int {
    var active = Set(inputs.map(\.value))
    var count = 0
    for node in nodes where node.inputs.contains(where: active.contains) {
      active.formUnion(node.outputs)
      guard case .transpose(let transpose) = node.operation else { continue }
      let dimensions = type(of: node.inputs[0]).dimensions
      let moved = transpose.permutation.filter { dimensions[$0] != .fixed(1) }
      if moved != moved.sorted() { count += 1 }
    }
    return count
  }
}

/// An order of axes: axis j of the layout is axis `layout[j]` of the value.
typealias Layout = [Int]

extension Layout {
  static func identity(_ rank: Int) -> Layout { Array(0..<rank) }

  /// Where each axis of the value stands.
  var positions: [Int] { Transpose(self).inverse.permutation }

  var isIdentity: Bool { self == Layout.identity(count) }
}

/// The values of a graph by family, and for each node the way to compute it in other layouts.
struct LayoutFamilies {
  let graph: Graph
  /// For every value the one that it is a transpose of; itself, unless a transpose made it.
  private(set) var roots: [Graph.ValueID]
  /// For every value the layout of its root that it is.
  private(set) var layouts: [Layout]
  /// For every root the elements that a transpose of it moves.
  private(set) var sizes: [Double]
  /// For every node the other way to compute it, if there is one.
  private(set) var moves: [TransposeMove?]
  /// For every root the layout in which it is made if all nodes take their moves.
  private var planned: [Layout]
  /// For every value whether it depends on no input.
  private(set) var isConstant: [Bool]

  init(_ graph: Graph, foldsConstants: Bool) {
    self.graph = graph
    roots = graph.types.indices.map { Graph.ValueID($0) }
    layouts = graph.types.map { Layout.identity($0.rank) }
    planned = layouts
    isConstant = [Bool](repeating: false, count: graph.types.count)
    sizes = Self.elementCounts(graph)
    moves = []
    for value in graph.parameters.map(\.value) + graph.states.map(\.value) {
      isConstant[value.index] = true
    }
    for node in graph.nodes where node.inputs.allSatisfy({ isConstant[$0.index] }) {
      for output in node.outputs { isConstant[output.index] = true }
    }
    let readers = graph.readers
    for node in graph.nodes {
      if case .transpose(let transpose) = node.operation {
        let (x, y) = (node.inputs[0].index, node.outputs[0].index)
        roots[y] = roots[x]
        layouts[y] = transpose.permutation.map { layouts[x][$0] }
        moves.append(nil)
        continue
      }
      var move: TransposeMove?
      if !node.outputs.allSatisfy({ isConstant[$0.index] }) {
        move = TransposeMove(
          node, graph, layouts: node.inputs.map(plannedLayout), isConstant: isConstant,
          readers: readers)
      }
      if let move {
        for (output, layout) in zip(node.outputs, move.results) { planned[output.index] = layout }
      }
      moves.append(move)
    }
    if foldsConstants {
      for index in sizes.indices where isConstant[index] { sizes[index] = 0 }
    }
  }

  /// The layout of a value, in its own axes, that its family is planned to be made in.
  private func plannedLayout(_ value: Graph.ValueID) -> Layout {
    let positions = layouts[value.index].positions
    return planned[roots[value.index].index].map { positions[$0] }
  }

  /// The order of the axes of the root, without those of extent 1, when a value is read with these
  /// axes: equal orders are equal in memory.
  func order(_ value: Graph.ValueID, _ axes: [Int?]) -> Layout {
    let root = graph.type(of: roots[value.index]).dimensions
    return axes.compactMap { $0.map { layouts[value.index][$0] } }.filter { root[$0] != .fixed(1) }
  }

  /// The order of a value as it stands in the graph.
  func order(_ value: Graph.ValueID) -> Layout {
    order(value, Layout.identity(layouts[value.index].count))
  }

  /// The elements of every value, symbols taken for a common extent of images.
  private static func elementCounts(_ graph: Graph) -> [Double] {
    let nominal = 224
    let shapes = graph.inputs.compactMap { port in
      (try? Shape(checking: graph.type(of: port.value).dimensions.map { $0.extent ?? nominal }))
        .map { (port.name, $0) }
    }
    let concrete = try? graph.resolved(
      inputShapes: Dictionary(shapes, uniquingKeysWith: { first, _ in first }))
    // Values keep their numbers when shapes become concrete; there may be more of them then.
    return (concrete?.types ?? graph.types).prefix(graph.types.count).map {
      $0.dimensions.reduce(1) { $0 * Double($1.extent ?? nominal) }
    }
  }
}
