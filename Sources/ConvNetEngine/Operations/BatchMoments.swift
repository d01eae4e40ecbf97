import CConvNetLoops
import ConvNetGraph

/// The layout of a batch-normalised tensor: where its channels are.
package enum ChannelLayout: Sendable {
  /// Channels last: `rows` rows of `channels`.
  case rows(rows: Int, channels: Int)
  /// Channels in the middle: `outer` times `channels` planes of `inner`.
  case planes(outer: Int, channels: Int, inner: Int)

  init(_ shape: Shape, axis: Int) {
    let axis = axis < 0 ? axis + shape.rank : axis
    let channels = shape[axis]
    let outer = shape.dimensions[..<axis].reduce(1, *)
    let inner = shape.dimensions[(axis + 1)...].reduce(1, *)
    self =
      inner == 1
      ? .rows(rows: outer, channels: channels)
      : .planes(outer: outer, channels: channels, inner: inner)
  }

  var channels: Int {
    switch self {
    case .rows(_, let channels), .planes(_, let channels, _): channels
    }
  }

  /// Samples of one channel.
  var samples: Int {
    switch self {
    case .rows(let rows, _): rows
    case .planes(let outer, _, let inner): outer * inner
    }
  }

  /// Rows in ranges whose sums are taken apart and merged in order; of about 192 KiB.
  static func pieces(rows: Int, channels: Int) -> Pieces {
    Pieces(rows, size: max(blockRows, (48 << 10) / max(channels, 1)), unit: blockRows)
  }

  /// Whether a result of this size is written past the caches: more than 24 MiB would not be found in
  /// them by the next reader, and an ordinary store would read each line before it writes it.
  package static func streams(rows: Int, channels: Int) -> Bool { rows * channels > 6 << 20 }

  /// Whether a result of this layout is.
  var streams: Bool {
    guard case .rows(let rows, let channels) = self else { return false }
    return Self.streams(rows: rows, channels: channels)
  }

  /// The rows, in ranges of about 128 KiB, or the planes, one by one, that elementwise steps take.
  var mapped: Pieces {
    switch self {
    case .rows(let rows, let channels): Pieces(rows, size: max(1, (32 << 10) / max(channels, 1)))
    case .planes(let outer, let channels, _): Pieces(outer * channels, size: 1)
    }
  }

  /// The elements of such a row or plane.
  var mappedExtent: Int {
    switch self {
    case .rows(_, let channels): channels
    case .planes(_, _, let inner): inner
    }
  }

  /// Rows whose float sums are merged in Double (DESIGN: blocks of at most 128).
  static let blockRows = 128

  /// Rows whose mean is the shift s: few, because every row read for it is read twice, and enough to lie
  /// within some σ/√8 of the mean; where it does not, the range is read again.
  static let shiftRows = 8
}

extension PlanCompiler {
  /// count, mean and M2 of every channel.
  mutating func emitBatchMoments(_ moments: BatchMoments) throws {
    let layout = ChannelLayout(shape(node.inputs[0]), axis: moments.axis)
    if node.inputs.count == 2 { return try emitMaskedMoments(layout) }
    guard layout.samples != 1 || moments.statistics.singleSample != .error else {
      let layer = moments.running?.layer ?? node.name
      throw PlanError(
        .singleSample,
        "an input \(shape(node.inputs[0])) has one sample per channel, which has no variance; use "
          + "larger batches, freeze the layer or choose another policy for single samples",
        at: layer)
    }
    let x = input(0)
    let outputs = try (count: output(0), mean: output(1), m2: output(2))
    let all = [outputs.count, outputs.mean, outputs.m2]
    switch layout {
    case .planes(let outer, let channels, let inner):
      emit(
        PlaneMomentsStep(
          x: x, outer: outer, channels: channels, inner: inner,
          strategy: options.batchNormalization, count: outputs.count, mean: outputs.mean,
          m2: outputs.m2),
        reads: [x], writes: all)
    case .rows(let rows, let channels):
      let sums = partialSums[node.outputs[0]] ?? emitRowMoments(x, rows: rows, channels: channels)
      emit(
        MergeMomentsStep(
          sums: sums, channels: channels, count: outputs.count, mean: outputs.mean, m2: outputs.m2),
        reads: [sums.parts], writes: all, suffix: "merge")
    }
  }

  /// Mean and M2 of each of some ranges of rows.
  mutating func emitRowMoments(
    _ x: Buffer, rows: Int, channels: Int, suffix: String = ""
  ) -> PartialSums {
    let pieces = ChannelLayout.pieces(rows: rows, channels: channels)
    let parts = temporary(doubles: pieces.count * 2 * channels)
    emit(
      RowMomentsStep(
        x: x, rows: pieces,
        moments: BlockMoments(channels: channels, strategy: options.batchNormalization),
        parts: parts),
      reads: [x], writes: [parts], suffix: suffix)
    return PartialSums(parts: parts, counts: pieces.sizes)
  }
}

/// Mean and M2 of some rows: per block of 128 rows the sums of x − s and (x − s)², s the mean of the
/// first rows, merged in Double by the formula of Chan, Golub & LeVeque 1979.
struct BlockMoments {
  /// Floats from row to row.
  let channels: Int
  let strategy: PlanOptions.BatchNormalizationStrategy

  /// Shift, two block sums, and a row of doubles; then what BLAS needs.
  static func scratchByteCount(
    channels: Int, _ strategy: PlanOptions.BatchNormalizationStrategy
  ) -> Int {
    (5 * stride(channels) + (strategy == .blas ? ColumnSums.scratchCount : 0)) * 4
  }

  private static func stride(_ width: Int) -> Int { (width + 15) / 16 * 16 }

  /// The moments of `width` columns from x on; of all of them by `.blas`.
  func run(
    _ x: UnsafePointer<Float>, width: Int, mean: UnsafeMutablePointer<Double>,
    m2: UnsafeMutablePointer<Double>, scratch shift: UnsafeMutablePointer<Float>,
    rows: PieceRows
  ) {
    let sums = UnsafeMutableRawPointer(shift + 3 * Self.stride(width))
      .assumingMemoryBound(to: Double.self)
    var hasShift = false
    rows.forEach { range in
      guard !hasShift, !range.isEmpty else { return }
      let first = min(ChannelLayout.shiftRows, range.count)
      cnl_sum_rows(sums, x + range.lowerBound * channels, channels, first, width)
      let inverse = 1 / Double(first)
      for c in 0..<width { sums[c] *= inverse }
      cnl_to_float(shift, sums, width)
      hasShift = true
    }
    var count = accumulate(x, width: width, shift: shift, mean: mean, m2: m2, rows: rows)
    // The shift served its purpose unless the mean lies far from it in units of the deviation; then the
    // squares have lost digits, and the rows are read again about their own mean.
    if count > 0, cnl_shift_is_far(shift, mean, m2, Double(count), width) != 0 {
      cnl_to_float(shift, mean, width)
      count = accumulate(x, width: width, shift: shift, mean: mean, m2: m2, rows: rows)
    }
  }

  private func accumulate(
    _ x: UnsafePointer<Float>, width: Int, shift: UnsafeMutablePointer<Float>,
    mean: UnsafeMutablePointer<Double>, m2: UnsafeMutablePointer<Double>,
    rows: PieceRows
  ) -> Int {
    let stride = Self.stride(width)
    let (sum, square) = (shift + stride, shift + 2 * stride)
    mean.update(repeating: 0, count: width)
    m2.update(repeating: 0, count: width)
    let sums = ColumnSums(channels: channels)
    let most = strategy == .blas ? sums.blockRows : ChannelLayout.blockRows
    var merged = 0
    rows.forEachBlock(most: most) { row, block in
      let x = x + row * channels
      switch strategy {
      case .fused: cnl_moments_block(sum, square, x, channels, shift, block, width)
      case .blas:
        sums.sum(
          rows: block, vector: shift, first: sum, second: square, scratch: shift + 5 * stride
        ) { cnl_moments_terms($0, x + $1, $2, $3, $4, $5) }
      }
      cnl_moments_merge(mean, m2, Double(merged), sum, square, shift, Double(block), width)
      merged += block
    }
    return merged
  }
}

/// Mean and M2 of each range of rows.
final class RowMomentsStep: Step {
  let x: Buffer
  let rows: Pieces
  let moments: BlockMoments
  /// Per piece a row of means and one of M2.
  let parts: Buffer

  init(x: Buffer, rows: Pieces, moments: BlockMoments, parts: Buffer) {
    self.x = x
    self.rows = rows
    self.moments = moments
    self.parts = parts
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int {
    BlockMoments.scratchByteCount(channels: moments.channels, moments.strategy)
  }

  func run(piece: Int, lane: Int, in context: Context) {
    let channels = moments.channels
    let mean = context.doubles(parts) + piece * 2 * channels
    moments.run(
      context.floats(x), width: channels, mean: mean, m2: mean + channels,
      scratch: context.scratch(lane: lane), rows: .range(rows.range(piece)))
  }
}

/// Merges the triples of the parts, in order.
final class MergeMomentsStep: Step {
  let sums: PlanCompiler.PartialSums
  let channels: Int
  let count: Buffer
  let mean: Buffer
  let m2: Buffer

  init(
    sums: PlanCompiler.PartialSums, channels: Int, count: Buffer, mean: Buffer, m2: Buffer
  ) {
    self.sums = sums
    self.channels = channels
    self.count = count
    self.mean = mean
    self.m2 = m2
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let mean = context.doubles(mean)
    let m2 = context.doubles(m2)
    let parts = context.doubles(sums.parts)
    mean.update(repeating: 0, count: channels)
    m2.update(repeating: 0, count: channels)
    var merged = 0
    for index in 0..<sums.counts.count {
      let count = sums.counts[index]
      let part = parts + index * 2 * channels
      cnl_moments_combine(
        mean, m2, Double(merged), part, part + channels, Double(count), channels)
      merged += count
    }
    context.doubles(count)[0] = Double(merged)
  }
}

/// Moments of channels-first data, a channel at a time: plane after plane, merged in Double.
final class PlaneMomentsStep: Step {
  let x: Buffer
  let outer: Int
  let channels: Int
  let inner: Int
  let strategy: PlanOptions.BatchNormalizationStrategy
  let count: Buffer
  let mean: Buffer
  let m2: Buffer

  init(
    x: Buffer, outer: Int, channels: Int, inner: Int,
    strategy: PlanOptions.BatchNormalizationStrategy, count: Buffer, mean: Buffer, m2: Buffer
  ) {
    self.x = x
    self.outer = outer
    self.channels = channels
    self.inner = inner
    self.strategy = strategy
    self.count = count
    self.mean = mean
    self.m2 = m2
  }

  /// Elements whose float sums are merged in Double.
  static let blockSize = 2048

  var pieces: Int { channels }
  var scratchByteCount: Int { strategy == .blas ? 2 * Self.blockSize * 4 : 0 }

  func run(piece: Int, lane: Int, in context: Context) {
    let x = context.floats(x) + piece * inner
    var mean = 0.0
    var m2 = 0.0
    var shift: Float = 0
    if outer > 0 { shift = Float(cnl_sum(x, inner) / Double(inner)) }
    let scratch = context.scratch(lane: lane)
    accumulate(x, shift: shift, scratch: scratch, mean: &mean, m2: &m2)
    let distance = mean - Double(shift)
    if distance * distance * Double(outer * inner) > 1024 * m2, m2 > 0 {
      accumulate(x, shift: Float(mean), scratch: scratch, mean: &mean, m2: &m2)
    }
    context.doubles(self.mean)[piece] = mean
    context.doubles(self.m2)[piece] = m2
    if piece == 0 { context.doubles(count)[0] = Double(outer * inner) }
  }

  private func accumulate(
    _ x: UnsafePointer<Float>, shift: Float, scratch: UnsafeMutablePointer<Float>,
    mean: inout Double, m2: inout Double
  ) {
    (mean, m2) = (0, 0)
    var merged = 0
    for plane in 0..<outer {
      for start in stride(from: 0, to: inner, by: Self.blockSize) {
        let block = min(Self.blockSize, inner - start)
        var (sum, square, shift): (Float, Float, Float) = (0, 0, shift)
        let x = x + plane * channels * inner + start
        switch strategy {
        case .fused: cnl_plane_moments(&sum, &square, x, shift, block)
        case .blas:
          (sum, square) = sumsByBLAS(x, count: block, shift: shift, scratch: scratch)
        }
        cnl_moments_merge(
          &mean, &m2, Double(merged), &sum, &square, &shift, Double(block), 1)
        merged += block
      }
    }
  }
}
