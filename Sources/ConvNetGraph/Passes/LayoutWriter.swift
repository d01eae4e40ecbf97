/// Writes a graph with the layouts that were chosen; values that stand in it as before keep their
/// numbers.
struct LayoutWriter {
  /// A value in one of its layouts.
  private struct Form: Hashable {
    var root: Graph.ValueID
    var layout: Layout
  }

  private let choice: LayoutChoice
  private let families: LayoutFamilies
  private let source: Graph
  private var graph: Graph
  /// The names that nodes have.
  private var names: Set<String>
  /// The values that there are by now.
  private var values: [Form: Graph.ValueID] = [:]
  /// A layout of each order of axes that there is by now.
  private var ordered: [Form: Layout] = [:]
  /// The layout in which each root is made.
  private var made: [Graph.ValueID: Layout] = [:]
  /// The number and name that each layout has in the source, where it stands there.
  private var known: [Form: (value: Graph.ValueID, name: String)] = [:]
  /// The names of what makes each value.
  private var makers: [Graph.ValueID: String] = [:]
  /// How weights follow the rows of a value.
  private var rows: [Graph.ValueID: (extents: [Int], layout: Layout)] = [:]

  init(_ choice: LayoutChoice) {
    self.choice = choice
    families = choice.families
    source = families.graph
    graph = source
    graph.nodes = []
    names = Set(source.nodes.map(\.name))
    for port in source.inputs { makers[port.value] = port.name }
    for parameter in source.parameters { makers[parameter.value] = parameter.name }
    for state in source.states { makers[state.value] = state.name }
    for value in makers.keys {
      add(value, to: value, in: Layout.identity(source.type(of: value).rank))
    }
    for node in source.nodes {
      for output in node.outputs { makers[output] = node.name }
      guard case .transpose = node.operation else { continue }
      let form = form(node.outputs[0], Layout.identity(source.type(of: node.outputs[0]).rank))
      if known[form] == nil { known[form] = (node.outputs[0], node.name) }
    }
  }

  /// The graph.
  mutating func write() -> Graph {
    for (index, node) in source.nodes.enumerated() {
      switch node.operation {
      case .transpose: break
      case .deferred(.extents(let start, let end)): writeExtents(node, start, end)
      default: write(node, move: choice.isMoved[index] ? families.moves[index] : nil)
      }
    }
    writeOutputs()
    return graph
  }

  private mutating func write(_ node: Graph.Node, move: TransposeMove?) {
    var written = node
    let axes = move?.operands ?? node.inputs.map { Layout.identity(source.type(of: $0).rank) }
    written.inputs = zip(node.inputs, axes).map { read($0, with: $1) }
    if let move {
      written.operation = move.operation
      for (operand, lookup) in move.lookups.sorted(by: { $0.key < $1.key }) {
        written.inputs[operand] = look(up: written.inputs[operand], lookup, for: node.name)
      }
    }
    if let rows = node.inputs.first.flatMap({ self.rows[$0] }) { follow(rows, in: &written) }
    for (result, value) in node.outputs.enumerated() {
      let layout = move?.results[result] ?? Layout.identity(source.type(of: value).rank)
      written.outputs[result] = number(value, in: layout).value
      add(written.outputs[result], to: value, in: layout)
    }
    if let move, let rows = move.rows { self.rows[node.outputs[0]] = rows }
    graph.nodes.append(written)
  }

  /// A port keeps a value apart from inputs, parameters and other outputs.
  private mutating func writeOutputs() {
    var taken = Set(
      (source.inputs.map(\.value) + source.parameters.map(\.value)) + source.states.map(\.value))
    for (index, output) in source.outputs.enumerated() {
      let axes = Layout.identity(source.type(of: output.value).rank)
      var value = read(output.value, with: axes)
      if value != output.value, taken.contains(value) {
        value = append(
          .reshape(Reshape(axes.map(Reshape.Extent.copy))), value, to: output.value,
          name: makers[output.value] ?? uniqueName(output.name))
      }
      taken.insert(value)
      graph.outputs[index].value = value
    }
  }

  // MARK: Forms

  private func form(_ value: Graph.ValueID, _ layout: Layout) -> Form {
    Form(
      root: families.roots[value.index], layout: layout.map { families.layouts[value.index][$0] })
  }

  private mutating func add(_ value: Graph.ValueID, to root: Graph.ValueID, in layout: Layout) {
    values[Form(root: root, layout: layout)] = value
    let order = Form(root: root, layout: families.order(root, layout))
    if ordered[order] == nil { ordered[order] = layout }
    if made[root] == nil { made[root] = layout }
  }

  /// The number of a root in a layout, and a name for the operation that brings it there.
  private mutating func number(
    _ root: Graph.ValueID, in layout: Layout
  ) -> (value: Graph.ValueID, name: String?) {
    if layout.isIdentity { return (root, nil) }
    if let known = known[Form(root: root, layout: layout)] { return known }
    graph.types.append(source.type(of: root).read(with: layout))
    return (Graph.ValueID(graph.types.count - 1), nil)
  }

  /// The value read with the given axes: at hand, or transposed, or reshaped where only axes of
  /// extent 1 stand elsewhere, come or go.
  private mutating func read(_ value: Graph.ValueID, with axes: [Int?]) -> Graph.ValueID {
    let root = families.roots[value.index]
    let type = source.type(of: root)
    let own = axes.map { $0.map { families.layouts[value.index][$0] } }
    let isWhole = own.count == type.rank && !own.contains(nil)
    let layout = own.compactMap(\.self)
    if isWhole, let value = values[Form(root: root, layout: layout)] { return value }
    let order = families.order(value, axes)
    guard let nearest = ordered[Form(root: root, layout: order)] else {
      let short = Layout.identity(type.rank).filter { !order.contains($0) }
      transpose(root, to: isWhole ? layout : short + order)
      return read(value, with: axes)
    }
    guard let source = values[Form(root: root, layout: nearest)] else {
      fatalError("The layout \(nearest) of value \(root.index) is noted and not there.")
    }
    let extents = own.map { axis -> Reshape.Extent in
      guard let axis, isWhole || order.contains(axis), let place = nearest.firstIndex(of: axis)
      else { return .fixed(1) }
      return .copy(place)
    }
    if !isWhole, type.read(with: nearest) == type.read(with: own) { return source }
    let (number, name) = isWhole ? number(root, in: layout) : (nil, nil)
    let result = append(
      .reshape(Reshape(extents)), source, to: number ?? new(type.read(with: own)),
      name: name ?? uniqueName("\(makers[root] ?? "value").reshape"))
    if isWhole { add(result, to: root, in: layout) }
    return result
  }

  /// Brings a root into a layout.
  private mutating func transpose(_ root: Graph.ValueID, to layout: Layout) {
    guard let from = made[root], let value = values[Form(root: root, layout: from)] else {
      fatalError("Value \(root.index) is read before it is made.")
    }
    let positions = from.positions
    let (number, name) = number(root, in: layout)
    let result = append(
      .transpose(Transpose(layout.map { positions[$0] })), value, to: number,
      name: name ?? uniqueName("\(makers[root] ?? "value").transpose"))
    add(result, to: root, in: layout)
  }

  /// A name nobody has: `base` itself, or with a number.
  private mutating func uniqueName(_ base: String) -> String {
    var name = base
    var number = 0
    while !names.insert(name).inserted {
      number += 1
      name = "\(base)\(number)"
    }
    return name
  }

  private mutating func new(_ type: TensorType) -> Graph.ValueID {
    graph.types.append(type)
    return Graph.ValueID(graph.types.count - 1)
  }

  private mutating func append(
    _ operation: Operation, _ inputs: Graph.ValueID..., to output: Graph.ValueID, name: String
  ) -> Graph.ValueID {
    graph.nodes.append(
      Graph.Node(name: name, operation: operation, inputs: inputs, outputs: [output]))
    return output
  }

  // MARK: What follows

  /// Brings the inner axis of a product's weights into the order of the rows they are multiplied
  /// with.
  private mutating func follow(
    _ rows: (extents: [Int], layout: Layout), in node: inout Graph.Node
  ) {
    guard case .matrixMultiply(let multiply) = node.operation else { return }
    // The inner axis is split into the axes that were flattened, these change places and are merged
    // again.
    let weights = node.inputs[1]
    let type = graph.type(of: weights)
    let inner = rows.extents.map(Reshape.Extent.fixed)
    let (split, merged, axes): ([Reshape.Extent], [Reshape.Extent], Layout) =
      multiply.transposesRight
      ? ([.copy(0)] + inner, [.copy(0), .rest], [0] + rows.layout.map { $0 + 1 })
      : (inner + [.copy(1)], [.rest, .copy(inner.count)], rows.layout + [inner.count])
    let apart = TensorType(
      type.elementType,
      split.map {
        if case .fixed(let extent) = $0 {
          .fixed(extent)
        } else {
          type.dimensions[multiply.transposesRight ? 0 : 1]
        }
      })
    var value = weights
    for (operation, type) in [
      (Operation.reshape(Reshape(split)), apart),
      (.transpose(Transpose(axes)), apart.read(with: axes)), (.reshape(Reshape(merged)), type),
    ] {
      value = append(
        operation, value, to: new(type), name: uniqueName("\(node.name).weights"))
    }
    node.inputs[1] = value
  }

  /// Extents are read from any layout and put into the order of the axes that are asked for.
  private mutating func writeExtents(_ node: Graph.Node, _ start: Int, _ end: Int?) {
    var node = node
    defer { add(node.outputs[0], to: node.outputs[0], in: [0]) }
    let (value, rank) = (node.inputs[0], source.type(of: node.inputs[0]).rank)
    let root = families.roots[value.index]
    let asked = form(value, Layout.identity(rank))
    if let value = values[asked] {
      node.inputs = [value]
      return graph.nodes.append(node)
    }
    guard let from = made[root], let there = values[Form(root: root, layout: from)] else {
      fatalError("Value \(root.index) is read before it is made.")
    }
    func bound(_ position: Int) -> Int {
      min(max(position < 0 ? position + rank : position, 0), rank)
    }
    let (first, last) = (bound(start), bound(end ?? rank))
    let positions = from.positions
    let extents = append(
      .deferred(.extents(start: 0, end: nil)), there, to: new(TensorType(.int64, [.fixed(rank)])),
      name: uniqueName("\(node.name).extents"))
    _ = append(
      .gather(Gather(axis: 0)), extents,
      constant(asked.layout[first..<max(first, last)].map { positions[$0] }, for: node.name),
      to: node.outputs[0], name: node.name)
  }

  /// Data about axes, looked up in their new order.
  private mutating func look(
    up value: Graph.ValueID, _ lookup: TransposeMove.Lookup, for name: String
  ) -> Graph.ValueID {
    let result = new(graph.type(of: value))
    switch lookup {
    case .reordered(let order):
      return append(
        .gather(Gather(axis: 0)), value, constant(order, for: name), to: result,
        name: uniqueName("\(name).axes"))
    case .renumbered(let numbers):
      return append(
        .gather(Gather(axis: 0)), constant(numbers, for: name), value, to: result,
        name: uniqueName("\(name).axes"))
    }
  }

  private mutating func constant(_ numbers: [Int], for name: String) -> Graph.ValueID {
    let constant = Constant(integers: numbers.map(Int64.init), shape: [numbers.count])
    return append(
      .constant(constant), to: new(TensorType(.int64, constant.shape)),
      name: uniqueName("\(name).order"))
  }
}
