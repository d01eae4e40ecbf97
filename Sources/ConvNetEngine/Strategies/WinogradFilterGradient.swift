import CConvNetLoops
import ConvNetGraph

/// How the gradient of a 3 × 3 filter is computed in Winograd's domain: dw = Gᵀ dU G with
/// dU[plane] = V[plane]ᵀ · M[plane] over all tiles, V = Bᵀ d B and M = A dY Aᵀ.
///
/// Tiles are transformed a block at a time. Products are cut into units of 64 channels, 64 filters and
/// a span of the block's tiles; a unit keeps its dU of all planes in a lane's scratch and adds Gᵀ dU G
/// to the sums of its span's number, so that dU never reaches memory. All cuts depend on geometry alone.
struct WinogradGradientPieces: Sendable {
  /// Bytes of the transformed tiles of a block, which should stay in the third-level cache.
  static let blockLimit = 18 << 20
  /// The most tiles of a block, where channels are few.
  static let tileLimit = 960
  /// Tiles of one product: 64 · 64 · 240 < 10⁶, so that OpenBLAS packs nothing.
  static let depthLimit = 240
  /// Channels of a unit; its filters are those of a panel.
  static let rowLimit = 64

  let tiles: WinogradTiles
  let blocks: Pieces
  let rows: Pieces
  let panels: PanelColumns
  /// Tiles of a unit.
  let span: Int
  /// Spans of a block, whose sums are added in order afterwards.
  let spanCount: Int

  init(_ shape: ConvolutionShape) {
    tiles = WinogradTiles(gradientOf: shape)
    rows = Pieces(shape.channels, size: Self.rowLimit)
    panels = PanelColumns(shape.filters)
    spanCount = (3 + rows.count * panels.count) / (rows.count * panels.count)
    let tileBytes = tiles.planes * (shape.channels + shape.filters) * 4
    let most = max(min(Self.blockLimit / tileBytes, Self.tileLimit), 16 * spanCount)
    let count = max(1, (tiles.count + most - 1) / most)
    let block = (tiles.count + count - 1) / count
    span = max(16, ((block + spanCount - 1) / spanCount + 15) / 16 * 16)
    blocks = Pieces(tiles.count, size: span * spanCount)
  }

  /// Whether this takes less work than the sum over pixels.
  var pays: Bool {
    tiles.gradientWork < 9 * tiles.shape.images * tiles.shape.pixels
  }

  /// Floats from channel to channel of the transposed V; an odd number of cache lines, which keeps
  /// the rows of a product in different cache sets.
  var inputRow: Int { ((blocks.size + 15) / 16 | 1) * 16 }
  var inputPlane: Int { inputRow * tiles.shape.channels }
  var inputCount: Int { tiles.planes * inputPlane }

  /// Floats from plane to plane of M, which lies [panel][plane][tile][filter of the panel].
  var gradientPlane: Int {
    WinogradTiles.planeStride(blocks.size * min(tiles.shape.filters, PanelKernels.width))
  }
  var gradientCount: Int { panels.count * tiles.planes * gradientPlane }
}

/// V, transposed, and M of a block's tiles.
final class WinogradGradientTransform: Step {
  let plan: WinogradGradientPieces
  let block: Range<Int>
  let x: Buffer
  let dy: Buffer
  let zeros: Buffer
  let v: Buffer
  let m: Buffer
  let ranges: Pieces

  init(
    plan: WinogradGradientPieces, block: Range<Int>, x: Buffer, dy: Buffer, zeros: Buffer,
    v: Buffer, m: Buffer
  ) {
    self.plan = plan
    self.block = block
    self.x = x
    self.dy = dy
    self.zeros = zeros
    self.v = v
    self.m = m
    ranges = Pieces(block.count, size: 16)
  }

  var pieces: Int { ranges.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = ranges.range(piece)
    let first = block.lowerBound + range.lowerBound
    let (tiles, zeros) = (plan.tiles, context.floats(zeros))
    var loops = tiles.loops
    cnl_winograd_input_transposed(
      context.floats(v) + range.lowerBound, plan.inputPlane, plan.inputRow, context.floats(x),
      zeros, &loops, first, range.count)
    for panel in 0..<plan.panels.count {
      let columns = plan.panels.range(panel)
      cnl_winograd_gradient(
        context.floats(m) + panel * tiles.planes * plan.gradientPlane
          + range.lowerBound * columns.count,
        plan.gradientPlane, columns.count, context.floats(dy) + columns.lowerBound, zeros, &loops,
        columns.count, first, range.count)
    }
  }
}

/// Gᵀ (Vᵀ·M) G of a block's tiles, written to the sums or added to them.
final class WinogradGradientProduct: Step {
  let plan: WinogradGradientPieces
  let kernels: PanelKernels
  let block: Range<Int>
  let v: Buffer
  let m: Buffer
  /// The sums of each span, one filter after another.
  let parts: Buffer
  let spans: Pieces

  init(
    plan: WinogradGradientPieces, kernels: PanelKernels, block: Range<Int>, v: Buffer, m: Buffer,
    parts: Buffer
  ) {
    self.plan = plan
    self.kernels = kernels
    self.block = block
    self.v = v
    self.m = m
    self.parts = parts
    spans = Pieces(block.count, size: plan.span)
  }

  private static let planeStride = WinogradTiles.planeStride(
    WinogradGradientPieces.rowLimit * PanelKernels.width)

  var pieces: Int { plan.spanCount * plan.panels.count * plan.rows.count }
  var scratchByteCount: Int { plan.tiles.planes * Self.planeStride * 4 }

  func run(piece: Int, lane: Int, in context: Context) {
    let rows = plan.rows.range(piece % plan.rows.count)
    let panel = piece / plan.rows.count % plan.panels.count
    let number = piece / (plan.rows.count * plan.panels.count)
    let (columns, span) = (plan.panels.range(panel), spans.range(number))
    let (tiles, shape) = (plan.tiles, plan.tiles.shape)
    let accumulates = block.lowerBound > 0
    if accumulates && span.isEmpty { return }
    let u = context.scratch(lane: lane)
    let v = context.floats(v) + rows.lowerBound * plan.inputRow
    let m = context.floats(m) + panel * tiles.planes * plan.gradientPlane
    for plane in 0..<tiles.planes {
      var tile = span.lowerBound
      repeat {
        kernels.multiply(
          rows: rows.count, columns: columns.count,
          depth: min(WinogradGradientPieces.depthLimit, span.upperBound - tile),
          a: v + plane * plan.inputPlane + tile, lda: plan.inputRow,
          b: m + plane * plan.gradientPlane + tile * columns.count, ldb: columns.count,
          accumulates: tile > span.lowerBound, c: u + plane * Self.planeStride,
          ldc: columns.count)
        tile += WinogradGradientPieces.depthLimit
      } while tile < span.upperBound
    }
    let tapStride = shape.channels * shape.filters
    cnl_winograd_filter_gradient(
      context.floats(parts) + number * 9 * tapStride + rows.lowerBound * shape.filters
        + columns.lowerBound,
      shape.filters, tapStride, u, Self.planeStride, rows.count, columns.count, tiles.height,
      tiles.width, accumulates ? 1 : 0)
  }
}

extension PlanCompiler {
  /// dw of a 3 × 3 filter in Winograd's domain.
  mutating func emitWinogradFilterGradient(_ plan: WinogradGradientPieces) throws {
    let (dy, x) = (input(0), input(1))
    let shape = plan.tiles.shape
    let count = 9 * shape.channels * shape.filters
    let zeros = zeros(max(shape.channels, shape.filters))
    let dw = try output()
    let parts = plan.spanCount == 1 ? dw : temporary(floats: plan.spanCount * count)
    let (v, m) = (temporary(floats: plan.inputCount), temporary(floats: plan.gradientCount))
    for index in 0..<plan.blocks.count {
      let block = plan.blocks.range(index)
      emit(
        WinogradGradientTransform(plan: plan, block: block, x: x, dy: dy, zeros: zeros, v: v, m: m),
        reads: [x, dy, zeros], writes: [v, m], suffix: "transform\(index)")
      emit(
        WinogradGradientProduct(
          plan: plan, kernels: kernels, block: block, v: v, m: m, parts: parts),
        reads: [v, m], writes: [parts], suffix: "products\(index)")
    }
    if plan.spanCount > 1 {
      emit(
        SumPartsStep(
          parts: parts, partCount: plan.spanCount, output: dw, count: count, isDouble: false),
        reads: [parts], writes: [dw], suffix: "sum")
    }
  }
}
