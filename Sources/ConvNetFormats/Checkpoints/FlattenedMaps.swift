import ConvNetGraph

/// Which values `[N, features]` of a graph are flattened maps, and of which extents.
///
/// This package flattens positions first, then channels; a framework that holds channels first has the
/// same features in another order: of a map `[N, H, W, C]` feature (h·W + w)·C + c here is feature
/// (c·H + h)·W + w there. What reads such features, the rows of a dense layer or the vectors of a batch
/// normalisation, has to be permuted alike. The graph tells, names do not.
struct FlattenedMaps {
  /// The extents of a sample's map, channels last, by flattened value.
  private var maps: [Graph.ValueID: [Int]] = [:]
  /// Maps that a transposition has put into the order of the others, to be flattened so.
  private var channelsFirst: Set<Graph.ValueID> = []

  init(_ graph: Graph) {
    for node in graph.nodes {
      guard let first = node.inputs.first, let result = node.outputs.first else { continue }
      let (from, to) = (graph.type(of: first), graph.type(of: result))
      switch node.operation {
      case .transpose(let transpose):
        let channelsFirst = [0, from.rank - 1] + Array(0..<from.rank).dropFirst().dropLast()
        if from.rank > 2, transpose.permutation == channelsFirst {
          self.channelsFirst.insert(result)
        }
      case .reshape:
        let extents = from.dimensions.dropFirst().compactMap(\.extent)
        if from == to {
          inherit(result, from: node.inputs.prefix(1))
        } else if from.rank > 2, to.rank == 2, from.dimensions[0] == to.dimensions[0],
          extents.count == from.rank - 1, !channelsFirst.contains(first)
        {
          maps[result] = extents
        }
      case .map, .combine, .dropout, .cast, .normalize:
        inherit(result, from: node.inputs.filter { graph.type(of: $0).dimensions == to.dimensions })
      default: break
      }
    }
  }

  /// Elementwise operations keep the order.
  private mutating func inherit(
    _ result: Graph.ValueID, from inputs: some Sequence<Graph.ValueID>
  ) {
    for input in inputs {
      if maps[result] == nil { maps[result] = maps[input] }
      if channelsFirst.contains(input) { channelsFirst.insert(result) }
    }
  }

  /// The extents of a sample's map, channels first, where a value is a flattened map of more than one
  /// position.
  func channelsFirstExtents(of value: Graph.ValueID) -> [Int]? {
    guard let map = maps[value], let channels = map.last,
      map.dropLast().contains(where: { $0 != 1 })
    else { return nil }
    return [channels] + map.dropLast()
  }
}
