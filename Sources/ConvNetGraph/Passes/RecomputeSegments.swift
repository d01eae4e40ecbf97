/// Computes the activations of whole segments of a network again in the backward pass instead of keeping
/// them from the forward pass.
///
/// Checkpointing: Chen, Xu, Zhang & Guestrin 2016, "Training deep nets with sublinear memory cost".
///
/// Pattern: a forward pass, the nodes that lead to an output other than a gradient, before all other
/// nodes. It is cut into segments. What a later segment reads is kept, and so is what the graph hands out
/// and all that is not float32. Of each segment but the last, the nodes that lead from there to anything
/// else the backward pass reads are repeated right before its first reader, and all readers from there on
/// read the repetition.
///
/// Proof: a repetition is the same operation on the same operands, kept ones or repetitions of the same
/// bits, so its bits are the same; that goes for dropout, too, whose elements are a function of its key.
/// Statistics are Float64 and so are kept: moments are taken once, and nothing updates running statistics
/// twice. What is repeated is not alive between the passes.
///
/// Where to cut follows from sizes. For a limit P of bytes, a segment may end where what was kept before
/// it and what its own backward pass reads stay below P; of these cuts the least is kept (dynamic
/// programming). The last segment, which is not repeated, is the longest below P: the late layers of an
/// image network are small and cost as much to repeat as the early ones. Of a series of limits the one is
/// taken after which the least memory is alive at any moment, or, within 1/16 of it, that which repeats
/// the fewest products. No cut at all is among them, so memory never grows.
package struct RecomputeSegments: GraphPass {
  package init() {}

  package var name: String { "recompute segments" }

  package func apply(to graph: Graph) throws -> Graph {
    guard let forward = ForwardPass(graph) else { return graph }
    var candidates = [(graph: graph, alive: try alive(graph), products: graph.multiplyAddCount)]
    var tried: Set<[Int]> = [[]]
    var limit = forward.byteCount
    while let cuts = forward.cuts(limit: limit) {
      limit -= max(limit / 12, 1)
      guard tried.insert(cuts).inserted else { continue }
      let cut = forward.repeated(in: graph, cuts: cuts)
      candidates.append((cut, try alive(cut), cut.multiplyAddCount))
    }
    let least = candidates.map(\.alive).min() ?? 0
    let good = candidates.filter { $0.alive <= least + least / 16 }
    return good.min { ($0.products, $0.alive) < ($1.products, $1.alive) }?.graph ?? graph
  }

  /// The most bytes alive at one time when the activations that are cheap to repeat are, too.
  private func alive(_ graph: Graph) throws -> Int {
    try RecomputeActivations().apply(to: graph).aliveByteCount
  }
}

/// The forward pass of a training step: its nodes, and who reads their results.
private struct ForwardPass {
  /// A result of a node.
  private struct Value {
    let id: Graph.ValueID
    let byteCount: Int
    /// The last node of the forward pass that reads its data; −1 without one.
    let lastForward: Int
    /// The first node of the backward pass that reads its data.
    let firstBackward: Int?
  }

  /// The results that are not kept in any case, by node.
  private let values: [[Value]]
  /// The bytes of what the backward pass reads of them.
  let byteCount: Int

  init?(_ graph: Graph) {
    var isForward = [Bool](repeating: false, count: graph.nodes.count)
    var needed = Set(graph.outputs.filter { !$0.name.hasPrefix("gradient/") }.map(\.value))
    for (index, node) in graph.nodes.enumerated().reversed()
    where node.outputs.contains(where: needed.contains) {
      isForward[index] = true
      needed.formUnion(node.inputs)
    }
    let count = isForward.firstIndex(of: false) ?? isForward.count
    guard 0 < count, count < isForward.count, !isForward[count...].contains(true) else {
      return nil
    }
    let readers = graph.dataReaders
    values = graph.nodes[..<count].map { node in
      node.outputs.compactMap { id in
        let (all, type) = (readers[id.index], graph.type(of: id))
        guard type.elementType == .float32, !all.contains(-1) else { return nil }
        return Value(
          id: id, byteCount: type.byteCount, lastForward: all.last { $0 < count } ?? -1,
          firstBackward: all.first { $0 >= count })
      }
    }
    byteCount = values.joined().reduce(0) { $0 + ($1.firstBackward == nil ? 0 : $1.byteCount) }
  }

  /// The first nodes of all segments but the first, such that no more than so many bytes are kept before
  /// a segment and read by its backward pass; nil where that cannot be.
  func cuts(limit: Int) -> [Int]? {
    // By the end of a segment: the least bytes kept up to there, and the start of that segment.
    var best: [(kept: Int, start: Int)?] = [(0, 0)]
    for end in 1...values.count {
      var (kept, read) = (0, 0)
      var found: (kept: Int, start: Int)?
      for start in (0..<end).reversed() {
        for value in values[start] {
          if value.lastForward >= end {
            kept += value.byteCount
          } else if value.firstBackward != nil {
            read += value.byteCount
          }
        }
        guard read <= limit else { break }
        guard let before = best[start], before.kept + read <= limit else { continue }
        // The last segment is the longest possible, any other the one that keeps least.
        if end == values.count || before.kept + kept < found?.kept ?? .max {
          found = (before.kept + kept, start)
        }
      }
      best.append(found)
    }
    guard var start = best[values.count]?.start else { return nil }
    var cuts: [Int] = []
    while start > 0, let before = best[start] {
      cuts.append(start)
      start = before.start
    }
    return cuts.reversed()
  }

  /// The graph with all segments but the last repeated.
  func repeated(in graph: Graph, cuts: [Int]) -> Graph {
    var result = graph
    var repetitions: [Int: [Graph.Node]] = [:]
    for (start, end) in zip([0] + cuts, cuts) {
      let own = values[start..<end].joined().filter { $0.lastForward < end }
      guard let first = own.compactMap(\.firstBackward).min() else { continue }
      var wanted = Set(own.filter { $0.firstBackward != nil }.map(\.id))
      let free = Set(own.map(\.id))
      var again: [Graph.ValueID: Graph.ValueID] = [:]
      var nodes: [Graph.Node] = []
      for node in graph.nodes[start..<end].reversed()
      where node.outputs.contains(where: wanted.contains) {
        wanted.formUnion(free.intersection(node.inputs))
        nodes.append(node)
      }
      repetitions[first, default: []] += nodes.reversed().map { node in
        var node = node
        node.name += ".again"
        node.inputs = node.inputs.map { again[$0] ?? $0 }
        node.outputs = node.outputs.map { output in
          result.types.append(graph.type(of: output))
          let copy = Graph.ValueID(result.types.count - 1)
          again[output] = copy
          return copy
        }
        return node
      }
      for reader in first..<graph.nodes.count {
        result.nodes[reader].inputs = result.nodes[reader].inputs.map { again[$0] ?? $0 }
      }
    }
    result.insert(repetitions)
    return result
  }
}

extension Graph {
  /// Puts nodes right before others, given by their indices.
  mutating func insert(_ inserted: [Int: [Node]]) {
    nodes = nodes.enumerated().flatMap { (inserted[$0.offset] ?? []) + [$0.element] }
  }

  /// For every value the nodes that read its data, in order, and before them −1 where it is handed out;
  /// operands that lend only their shape don't count.
  package var dataReaders: [[Int]] {
    var readers = [[Int]](repeating: [], count: types.count)
    for output in outputs { readers[output.value.index].append(-1) }
    for (index, node) in nodes.enumerated() {
      let shapeOnly = node.operation.shapeOnlyInputs
      for (operand, input) in node.inputs.enumerated() where !shapeOnly.contains(operand) {
        readers[input.index].append(index)
      }
    }
    return readers
  }

  /// The most bytes of results of nodes alive at one time, in a graph of concrete shapes: each from the
  /// node that makes it to the last that reads it, and to the end where it is handed out.
  package var aliveByteCount: Int {
    let readers = dataReaders
    var changes = [Int](repeating: 0, count: nodes.count + 1)
    for (index, node) in nodes.enumerated() {
      for output in node.outputs {
        let all = readers[output.index]
        let end = all.first == -1 ? nodes.count : (all.last ?? index) + 1
        changes[index] += type(of: output).byteCount
        changes[end] -= type(of: output).byteCount
      }
    }
    var (now, most) = (0, 0)
    for change in changes {
      now += change
      most = max(most, now)
    }
    return most
  }
}

extension TensorType {
  /// The bytes of a tensor of known shape; 0 otherwise.
  fileprivate var byteCount: Int { (shape?.count ?? 0) * elementType.byteCount }
}
