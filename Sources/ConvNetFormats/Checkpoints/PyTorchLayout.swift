import ConvNetGraph

/// How a checkpoint of PyTorch holds the parameters and the state of a graph.
///
/// Names are those of the graph. Filters are `[filters, channels/groups, kernel…]`, depthwise ones
/// `[channels, 1, kernel…]`, dense weights `[out, in]`; features that are flattened maps are channels
/// first. What is read by which operation decides, not names.
struct PyTorchLayout {
  /// One tensor of the checkpoint.
  struct Entry {
    let name: String
    /// What it is in the model.
    let type: TensorType
    /// Its extents in the file.
    var shape: Shape
    /// Its elements in the file, with as many axes as their order in the model takes.
    var array: StoredArray
    let isState: Bool
    /// Whether it counts the updates of running statistics.
    let isCounter: Bool

    /// The extents in the model.
    var modelShape: Shape { type.shape ?? [] }

    fileprivate mutating func store(as shape: Shape, _ extents: [Int], permutation: [Int]) {
      self.shape = shape
      array = StoredArray(array.type, Shape(extents), permutation: permutation)
    }
  }

  /// Parameters, then state, in the order of the graph.
  private(set) var entries: [Entry]

  init(_ graph: Graph) {
    let parameters = graph.parameters.map {
      Self.entry($0.name, graph.type(of: $0.value), isState: false)
    }
    let states = graph.states.map {
      Self.entry(
        $0.name, graph.type(of: $0.value), isState: true, isCounter: $0.role == .updateCount)
    }
    entries = parameters + states
    let numbers = (graph.parameters.map(\.value) + graph.states.map(\.value)).enumerated()
    let indices = Dictionary(numbers.map { ($1, $0) }) { first, _ in first }
    let maps = FlattenedMaps(graph)
    for node in graph.nodes {
      guard let x = node.inputs.first else { continue }
      let map = maps.channelsFirstExtents(of: x)
      let operands = node.inputs.dropFirst().compactMap { indices[$0] }
      switch node.operation {
      case .convolution, .transposedConvolution:
        if let index = operands.first { storeFilter(index) }
      case .matrixMultiply(let product):
        if let index = operands.first, node.inputs.count > 1, indices[node.inputs[1]] == index {
          storeMatrix(index, isTransposed: product.transposesRight, map)
        }
      case .normalize, .combine:
        if let map { operands.forEach { storeVector($0, map) } }
      case .batchMoments(let moments):
        if let map, let running = moments.running {
          let names = [running.mean, running.variance]
          for index in entries.indices where names.contains(entries[index].name) {
            storeVector(index, map)
          }
        }
      default: break
      }
    }
  }

  private static func entry(
    _ name: String, _ type: TensorType, isState: Bool, isCounter: Bool = false
  ) -> Entry {
    let shape = type.shape ?? []
    return Entry(
      name: name, type: type, shape: shape, array: StoredArray(StoredType(type.elementType), shape),
      isState: isState, isCounter: isCounter)
  }

  /// `[kernel…, channels/groups, filters]` is `[filters, channels/groups, kernel…]` there; the filter of a
  /// transposed convolution is that of the convolution it is the adjoint of, on both sides.
  private mutating func storeFilter(_ index: Int) {
    let extents = entries[index].modelShape.dimensions
    guard extents.count > 2 else { return }
    let stored = Array(extents.suffix(2).reversed() + extents.dropLast(2))
    entries[index].store(
      as: Shape(stored), stored, permutation: Array(2..<extents.count) + [1, 0])
  }

  /// `[in, out]` is `[out, in]` there, and the features of a map are channels first.
  private mutating func storeMatrix(_ index: Int, isTransposed: Bool, _ map: [Int]?) {
    let extents = entries[index].modelShape.dimensions
    guard extents.count == 2 else { return }
    let (features, units) = isTransposed ? (extents[1], extents[0]) : (extents[0], extents[1])
    let map = map ?? [features]
    let rows = Array(map.indices.dropFirst().map { $0 + 1 } + [1])
    entries[index].store(
      as: [units, features], [units] + map, permutation: isTransposed ? [0] + rows : rows + [0])
  }

  /// A number for each feature of a map.
  private mutating func storeVector(_ index: Int, _ map: [Int]) {
    let shape = entries[index].modelShape
    guard shape.rank == 1, shape.count == map.reduce(1, *) else { return }
    entries[index].store(as: shape, map, permutation: Array(map.indices.dropFirst()) + [0])
  }
}
