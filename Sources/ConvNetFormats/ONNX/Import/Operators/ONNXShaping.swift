import ConvNetGraph

extension ONNXOperators {
  /// What moves elements and computes nothing.
  static let shaping: [String: ONNXOperator] = [
    "Identity": { node in
      guard node.has(0), let value = node.importer.values[node.node.inputs[0]] else {
        throw node.malformed("operand 0 is missing")
      }
      return [value]
    },
    "Cast": one { try cast($0) },
    "Concat": one { node in
      // Operator sets before 4 joined channels unless told otherwise.
      guard let axis = try node.int("axis") ?? (node.opset < 4 ? 1 : nil) else {
        throw node.malformed("the axis is missing")
      }
      return try node.add(.concatenate(Concatenate(axis: axis)), node.inputs())[0]
    },
    "Dropout": { try dropout($0) },
    "Expand": one { node in try node.deferred(.broadcast, node.input(0), node.extents(1)) },
    "Flatten": one { try flatten($0) },
    "Gather": one { node in
      try node.add(
        .gather(Gather(axis: node.int("axis", default: 0))), node.input(0), node.input(1))
    },
    "Pad": one { try pad($0) },
    "Reshape": one { node in
      let shape =
        try node.ints("shape").map { try node.constant($0) } ?? node.extents(1)
      return try node.deferred(
        .reshape(allowsZero: node.bool("allowzero")), node.input(0), shape)
    },
    "Slice": one { try slice($0) },
    "Split": { try split($0) },
    "Squeeze": one { try squeeze($0) },
    "Tile": one { node in try node.deferred(.tile, node.input(0), node.extents(1)) },
    "Transpose": one { node in
      let x = try node.input(0)
      let order = try node.ints("perm") ?? (0..<node.rank(x)).reversed()
      return try node.add(.transpose(Transpose(order)), x)
    },
    "Unsqueeze": one { try unsqueeze($0) },
    "DepthToSpace": one { try depthToSpace($0) },
    "SpaceToDepth": one { try spaceToDepth($0) },
  ]

  private static func cast(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    guard let number = try node.int("to"), let type = ONNXDataType(rawValue: number) else {
      throw node.malformed("there is no element type to cast to")
    }
    guard let elementType = type.elementType, ONNXDataType(elementType) == type || type == .float16
    else { throw node.unsupported("a cast to \(type)") }
    return try node.add(.cast(elementType), node.input(0))
  }

  /// Elements are dropped in training only; the mask of inference is true everywhere.
  private static func dropout(_ node: ONNXNodeImporter) throws -> [ONNXImporter.Value] {
    let x = try node.input(0)
    let rate = try node.float("ratio") ?? node.number(1) ?? 0.5
    let mask = node.node.outputs.count > 1 ? node.node.outputs[1] : ""
    if node.importer.readerCounts[mask, default: 0] > 0 {
      if try node.has(2) && node.number(2) != 0 && rate != 0 {
        throw node.unsupported("the mask of elements that training drops")
      }
      let extents = try node.deferred(.extents(start: 0, end: nil), x)
      let truth = Constant(integers: [1], shape: [1], elementType: .bool)
      return [.computed(x), .computed(try node.deferred(.fill(truth), extents))]
    }
    guard node.builder.type(of: x).elementType == .float32, rate > 0, rate < 1 else {
      return [.computed(x), .missing]
    }
    let builder = node.builder
    let stream = builder.graph.nodes.count {
      if case .dropout = $0.operation { true } else { false }
    }
    let key = builder.randomKey()
    let dropped = try node.add(.dropout(Dropout(rate: rate, stream: stream)), x, key)
    return [.computed(dropped), .missing]
  }

  /// The axes before one as the first, the others as the second.
  private static func flatten(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let given = try node.int("axis", default: 1)
    let axis = given == type.rank ? given : try node.axis(given, of: type)
    let (first, second) = (type.dimensions[..<axis], type.dimensions[axis...])
    if axis == 1 { return try node.add(.reshape(Reshape([.copy(0), .rest])), x) }
    if let count = Shape.count(first) {
      return try node.add(.reshape(Reshape([.fixed(count), .rest])), x)
    }
    if let count = Shape.count(second) {
      return try node.add(.reshape(Reshape([.rest, .fixed(count)])), x)
    }
    let rows = try (1..<axis).reduce(node.extent(x, 0)) {
      try node.combine(.multiply, $0, node.extent(x, $1))
    }
    let shape = try node.add(.concatenate(Concatenate(axis: 0)), rows, node.constant([-1]))
    return try node.deferred(.reshape(allowsZero: false), x, shape)
  }

  private static func pad(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let rank = node.rank(x)
    let value = try node.float("value") ?? node.number(2) ?? 0
    let mode: Pad.Mode =
      switch try node.string("mode", default: "constant") {
      case "constant": .constant(value)
      case "reflect": .reflect
      case "edge": .edge
      case "wrap": .wrap
      case let other: throw node.malformed("there is no mode \(FileError.quoted(other))")
      }
    if let attribute = try node.ints("pads") ?? node.ints("paddings") {
      return try node.deferred(.pad(mode), x, node.constant(attribute))
    }
    guard let axes = try node.integers(3) else {
      return try node.deferred(.pad(mode), x, node.extents(1))
    }
    let given = try node.integers(1) ?? []
    guard given.count == 2 * axes.count else {
      throw node.malformed("\(given.count) pads do not fit \(axes.count) axes")
    }
    var pads = [Int](repeating: 0, count: 2 * rank)
    for (index, axis) in axes.enumerated() {
      let axis = try node.axis(axis, of: node.builder.type(of: x))
      pads[axis] = given[index]
      pads[rank + axis] = given[axes.count + index]
    }
    return try node.deferred(.pad(mode), x, node.constant(pads))
  }

  private static func slice(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let starts = try node.ints("starts").map { try node.constant($0) } ?? node.extents(1)
    let ends = try node.ints("ends").map { try node.constant($0) } ?? node.extents(2)
    guard let count = node.builder.type(of: starts).shape?.count else {
      throw node.malformed("the number of slices is not known")
    }
    let axes =
      try node.ints("axes").map { try node.constant($0) }
      ?? (node.has(3) ? node.extents(3) : node.constant(Array(0..<count)))
    let steps =
      try node.has(4)
      ? node.extents(4) : node.constant([Int](repeating: 1, count: count))
    return try node.deferred(.slice, x, starts, ends, axes, steps)
  }

  private static func split(_ node: ONNXNodeImporter) throws -> [ONNXImporter.Value] {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let axis = try node.axis(node.int("axis", default: 0), of: type)
    var sizes = try node.ints("split") ?? node.integers(1) ?? []
    if sizes.isEmpty {
      guard let extent = type.dimensions[axis].extent else {
        throw node.unsupported("a split of an open extent in equal parts")
      }
      let count = try node.int("num_outputs") ?? node.node.outputs.count
      guard count >= 1, count <= max(extent, 1), count >= node.node.outputs.count,
        count <= 1 << 16
      else {
        throw node.malformed("an extent of \(extent) in \(count) parts")
      }
      let part = (extent + count - 1) / count
      sizes = (0..<count).map { max(min(part, extent - $0 * part), 0) }
    }
    var start = 0
    return try sizes.map { size in
      guard size >= 0, size <= 1 << 40, start <= 1 << 40 else {
        throw node.malformed("a part of \(size)")
      }
      defer { start += size }
      let slice = Slice(axis: axis, start: start, end: start + size)
      return .computed(try node.add(.slice(slice), x))
    }
  }

  private static func squeeze(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let given = try node.axes(operand: 1)?.map { try node.axis($0, of: type) }
    let removed =
      given.flatMap { $0.isEmpty ? nil : $0 }
      ?? type.dimensions.indices.filter { type.dimensions[$0] == .fixed(1) }
    let kept = type.dimensions.indices.filter { !removed.contains($0) }
    return try node.add(.reshape(Reshape(kept.map { .copy($0) })), x)
  }

  private static func unsqueeze(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    guard let axes = try node.axes(operand: 1) else { throw node.malformed("the axes are missing") }
    let rank = node.rank(x) + axes.count
    let added = Set(axes.map { $0 < 0 ? $0 + rank : $0 })
    guard added.count == axes.count, added.allSatisfy({ (0..<rank).contains($0) }) else {
      throw node.malformed("the axes \(axes) do not fit \(rank) dimensions")
    }
    var next = 0
    let extents = (0..<rank).map { axis -> Reshape.Extent in
      guard !added.contains(axis) else { return .fixed(1) }
      defer { next += 1 }
      return .copy(next)
    }
    return try node.add(.reshape(Reshape(extents)), x)
  }

  // MARK: Depth and space

  private static func depthToSpace(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let (x, block, channels) = try blocks(node)
    guard channels % (block * block) == 0 else {
      throw node.malformed("\(channels) channels do not fill blocks of \(block)")
    }
    let depth = channels / (block * block)
    let isColumnFirst = try node.string("mode", default: "DCR") == "CRD"
    let split = isColumnFirst ? [depth, block, block] : [block, block, depth]
    let shape = [Reshape.Extent.copy(0)] + split.map { .fixed($0) } + [.copy(2), .copy(3)]
    let order = isColumnFirst ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]
    let spread = try node.add(.transpose(Transpose(order)), node.add(.reshape(Reshape(shape)), x))
    let factor = try node.constant([block])
    let spatial = try [2, 3].map {
      try node.combine(.multiply, node.extent(x, $0), factor)
    }
    let target = try node.add(
      .concatenate(Concatenate(axis: 0)),
      [node.extent(x, 0), node.constant([depth]), spatial[0], spatial[1]])[0]
    return try node.deferred(.reshape(allowsZero: false), spread, target)
  }

  private static func spaceToDepth(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let (x, block, channels) = try blocks(node)
    let factor = try node.constant([block])
    let spatial = try [2, 3].map { try node.combine(.divide, node.extent(x, $0), factor) }
    let batch = try node.extent(x, 0)
    let parts = [
      batch, try node.constant([channels]), spatial[0], factor, spatial[1], factor,
    ]
    let split = try node.deferred(
      .reshape(allowsZero: false), x, node.add(.concatenate(Concatenate(axis: 0)), parts)[0])
    let isColumnFirst = try node.string("mode", default: "DCR") == "CRD"
    let order = isColumnFirst ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4]
    let gathered = try node.add(.transpose(Transpose(order)), split)
    let (depth, overflow) = channels.multipliedReportingOverflow(by: block * block)
    guard !overflow else { throw node.malformed("blocks of \(block)") }
    let target = [batch, try node.constant([depth]), spatial[0], spatial[1]]
    return try node.deferred(
      .reshape(allowsZero: false), gathered,
      node.add(.concatenate(Concatenate(axis: 0)), target)[0])
  }

  private static func blocks(
    _ node: ONNXNodeImporter
  ) throws -> (x: Graph.ValueID, block: Int, channels: Int) {
    let x = try node.input(0)
    guard let block = try node.int("blocksize"), (1...4096).contains(block), node.rank(x) == 4,
      let channels = node.builder.type(of: x).dimensions[1].extent
    else { throw node.malformed("needs a block size and images of known channels") }
    return (x, block, channels)
  }
}

extension ONNXNodeImporter {
  /// Adds an operation whose attributes are operands, or what it stands for where they are known.
  func deferred(_ deferred: Deferred, _ inputs: Graph.ValueID...) throws -> Graph.ValueID {
    let value = builder.add(deferred, inputs, name: name)
    if let error = builder.takeError() { throw error }
    return value
  }

  /// One extent of a value, int64 `[1]`.
  func extent(_ x: Graph.ValueID, _ axis: Int) throws -> Graph.ValueID {
    try deferred(.extents(start: axis, end: axis + 1), x)
  }
}

extension Shape {
  /// The product of extents; nil while one is open.
  fileprivate static func count(_ dimensions: some Collection<Dimension>) -> Int? {
    let extents = dimensions.compactMap(\.extent)
    return extents.count == dimensions.count ? (try? Shape(checking: extents))?.count : nil
  }
}
