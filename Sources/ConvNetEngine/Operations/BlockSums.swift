import CConvNetLoops
import ConvNetGraph

/// Sums for batch norm that a step takes of its result block by block, while the block is in cache.
///
/// This is the fission and fusion of batch norm by Jung et al., "Restructuring Batch Normalization to
/// Accelerate CNN Training" (MLSys 2019).
///
/// Pattern: a result y whose reader is the moments of y, or the sums of a normalisation's gradient at y.
/// Proof: every row of y is in one part of the step's result. The sums of a part are taken by the same
/// loops as those of a range of rows, kept apart, and merged in the order of parts; parts depend on geometry
/// alone. y is read once less from memory.
struct BlockSums: Sendable {
  enum Kind: Sendable {
    /// Mean and M2 of y.
    case moments
    /// Σ y and Σ y·(x − μ), y the gradient of a normalisation of x or what its gate makes of y.
    case gradient(x: Buffer, mean: Buffer, gate: Gate?)
  }

  let kind: Kind
  /// Floats from row to row.
  let channels: Int
  /// Per part a row of means or Σ y, and one of M2 or Σ y·(x − μ).
  let parts: Buffer

  /// Channels whose sums stay in registers.
  static let width = 64
  /// A row of doubles, and three of floats.
  static let scratchByteCount = 5 * width * 4

  /// What is read besides the result.
  var reads: [Buffer] {
    guard case .gradient(let x, let mean, let gate) = kind else { return [] }
    return [x, mean] + [gate?.coefficients].compactMap { $0 }
  }

  /// Takes the sums of some columns of a part.
  func run(
    _ y: Buffer, part: Int, columns: Range<Int>, scratch: UnsafeMutablePointer<Float>,
    in context: Context, rows: PieceRows
  ) {
    var column = columns.lowerBound
    while column < columns.upperBound {
      let width = min(Self.width, columns.upperBound - column)
      let y = context.floats(y) + column
      let first = context.doubles(parts) + part * 2 * channels + column
      switch kind {
      case .moments:
        BlockMoments(channels: channels, strategy: .fused).run(
          y, width: width, mean: first, m2: first + channels, scratch: scratch, rows: rows)
      case .gradient(let x, let mean, let gate):
        first.update(repeating: 0, count: width)
        (first + channels).update(repeating: 0, count: width)
        let (m, sumG, sumGX) = (scratch, scratch + Self.width, scratch + 2 * Self.width)
        cnl_to_float(m, context.doubles(mean) + column, width)
        let x = context.floats(x) + column
        let coefficients = gate.map { $0.rows(channels, in: context) }
        rows.forEachBlock { row, count in
          let at = row * channels
          if let gate, let (m, a, b) = coefficients {
            cnl_gated_gradient_sums_block(
              sumG, sumGX, y + at, x + at, channels, m + column, a + column, b + column, gate.low,
              gate.high, count, width)
          } else {
            cnl_gradient_sums_block(sumG, sumGX, y + at, x + at, channels, m, count, width)
          }
          cnl_accumulate_doubles(first, sumG, width)
          cnl_accumulate_doubles(first + channels, sumGX, width)
        }
      }
      column += width
    }
  }
}

/// Rows of a result that one piece of a step makes.
enum PieceRows {
  case range(Range<Int>)
  /// The pixels under a range of tiles.
  case tiles(Range<Int>, WinogradTiles)

  /// Calls a closure for every range of neighbouring rows, in order.
  func forEach(_ body: (Range<Int>) -> Void) {
    switch self {
    case .range(let rows): body(rows)
    case .tiles(let range, let tiles): tiles.forEachRows(range, body)
    }
  }

  /// Calls a closure for every block of at most `most` rows.
  func forEachBlock(
    most: Int = ChannelLayout.blockRows, _ body: (_ row: Int, _ count: Int) -> Void
  ) {
    forEach { range in
      var row = range.lowerBound
      while row < range.upperBound {
        let count = min(most, range.upperBound - row)
        body(row, count)
        row += count
      }
    }
  }
}

extension [BlockSums] {
  /// The scratch that a step needs behind its own.
  var scratchByteCount: Int { isEmpty ? 0 : BlockSums.scratchByteCount }

  /// What a step that takes these sums reads and writes for them.
  var reads: [Buffer] { flatMap(\.reads) }
  var writes: [Buffer] { map(\.parts) }

  /// Takes all sums of some columns of a part; `own` is the scratch in front, in bytes.
  func run(
    _ y: Buffer, part: Int, columns: Range<Int>, lane: Int, behind own: Int, in context: Context,
    rows: PieceRows
  ) {
    let scratch = context.scratch(lane: lane) + (own + 63) / 64 * 16
    // Iterators of these allocate in debug builds.
    for index in 0..<count {
      self[index].run(y, part: part, columns: columns, scratch: scratch, in: context, rows: rows)
    }
  }
}

extension PlanCompiler {
  /// Sums that another step has taken or will take.
  struct PartialSums {
    var parts: Buffer
    /// The rows of each part.
    var counts: [Int]
  }

  /// Rows below which merging a part takes longer than reading it again would.
  private static let leastRows = 32

  /// What those who read the node's result want summed up, for a step that makes it in parts of so many rows.
  ///
  /// The parts are counted only for a result that the machine has room for.
  mutating func blockSums(counts: @autoclosure () -> [Int]) -> [BlockSums] {
    let value = node.outputs[0]
    guard takesSums, options.fusesEpilogues, options.batchNormalization == .fused,
      readers.indices.contains(value.index), !readers[value.index].isEmpty,
      graph.type(of: value).elementType == .float32, (try? byteCount(of: value)) != nil
    else { return [] }
    let counts = counts()
    let shape = shape(value)
    let (rows, channels) = (counts.reduce(0, +), shape.dimensions.last ?? 1)
    guard rows > 1, rows >= Self.leastRows * counts.count else { return [] }
    var sums: [BlockSums] = []
    for index in readers[value.index] where index >= 0 {
      let reader = graph.nodes[index]
      guard let (kind, axis) = sumsKind(reader, of: value),
        case .rows(rows, channels) = ChannelLayout(shape, axis: axis)
      else { continue }
      let parts = temporary(doubles: counts.count * 2 * channels)
      partialSums[reader.outputs[0]] = PartialSums(parts: parts, counts: counts)
      sums.append(BlockSums(kind: kind, channels: channels, parts: parts))
    }
    return sums
  }

  /// What a node sums up of a value, if that is all it does and everything else it reads exists by now.
  private mutating func sumsKind(
    _ reader: Graph.Node, of value: Graph.ValueID
  ) -> (kind: BlockSums.Kind, axis: Int)? {
    if case .batchMoments(let a) = reader.operation, reader.inputs.count == 1 {
      return (.moments, a.axis)
    }
    var (operation, prologue): (Operation, Fused.Prologue?) = (reader.operation, nil)
    if case .fused(let fused) = operation, fused.epilogue.isEmpty {
      (operation, prologue) = (fused.anchor, fused.prologue)
    }
    let others = reader.inputs.dropFirst()
    guard case .normalizeGradientSums(let a) = operation, a.source == .batch, !a.hasMask,
      reader.inputs[0] == value, others.allSatisfy({ $0 != value && isMade($0) }),
      shape(reader.inputs[1]) == shape(value)
    else { return nil }
    var gate: Gate?
    if let prologue {
      gate = self.gate(
        prologue,
        operands: prologue.normalizeInputs(
          reader.inputs, anchorInputCount: 2 + a.statisticsCount))
      if gate == nil { return nil }
    }
    // A batch's statistics are count, mean and M2.
    return (
      .gradient(x: buffer(reader.inputs[1]), mean: buffer(reader.inputs[3]), gate: gate), a.axis
    )
  }
}
