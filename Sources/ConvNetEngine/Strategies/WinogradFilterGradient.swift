import CConvNetLoops
import ConvNetGraph

/// How the gradient of a 3 × 3 filter is computed in Winograd's domain: dw = Gᵀ dU G with
/// dU[plane] = V[plane]ᵀ · M[plane] over all tiles, V = Bᵀ d B and M = A dY Aᵀ.
///
/// Products are cut into units of 64 channels and 64 filters. A unit keeps its dU of all planes in a
/// lane's scratch until it is transformed back, so that dU never reaches memory. Few units transform
/// the tiles they need themselves, a chunk at a time in scratch; were they many, each tile would be
/// transformed too often, and the tiles of a block are transformed once for all units. All cuts
/// depend on geometry alone.
struct WinogradGradientPieces: Sendable {
  /// Channels of a unit; its filters are those of a panel.
  static let rowLimit = 64
  /// Tiles of a chunk: V, M and dU then take some 1.5 MB.
  static let chunkLimit = 48
  /// Tiles of a block.
  static let blockLimit = 240
  /// Bytes of a block's V and M, which should stay in the third-level cache.
  static let blockBytes = 12 << 20

  let tiles: WinogradTiles
  let rows: Pieces
  let panels: PanelColumns
  /// Whether units read V and M that are made for all of them.
  let sharesTiles: Bool
  /// Tiles transformed at a time: blocks if they are shared, else chunks.
  let depth: Int
  /// Ranges of tiles whose sums are added in order afterwards, where units are few.
  let spans: Pieces

  init(_ shape: ConvolutionShape) {
    tiles = WinogradTiles(gradientOf: shape)
    rows = Pieces(shape.channels, size: Self.rowLimit)
    panels = PanelColumns(shape.filters)
    let (units, count) = (rows.count * panels.count, tiles.count)
    sharesTiles = units > 4
    let spanCount = max(1, min((7 + units) / units, count / Self.chunkLimit))
    spans = Pieces(count, size: sharesTiles ? count : (count + spanCount - 1) / spanCount)
    let tileBytes = tiles.planes * (shape.channels + shape.filters) * 4
    let most = sharesTiles ? min(Self.blockLimit, Self.blockBytes / tileBytes) : Self.chunkLimit
    let parts = max(1, (spans.size + most - 1) / max(most, 1))
    depth = max(16, ((spans.size + parts - 1) / parts + 15) / 16 * 16)
  }

  /// Whether this takes less work than the sum over pixels.
  var pays: Bool { tiles.gradientWork < 9 * tiles.shape.images * tiles.shape.pixels }

  /// Floats from plane to plane of V and M, which lie [unit][plane][tile][channel or filter of the
  /// unit].
  var planeStride: Int { WinogradTiles.planeStride(depth * PanelKernels.width) }
  /// Floats of all planes of V or M for one unit.
  var unitCount: Int { tiles.planes * planeStride }

  /// V of some channels.
  func transformInput(
    _ range: Range<Int>, channels: Range<Int>, x: UnsafePointer<Float>,
    zeros: UnsafePointer<Float>, v: UnsafeMutablePointer<Float>
  ) {
    var loops = tiles.loops
    cnl_winograd_gradient_input(
      v, planeStride, channels.count, x + channels.lowerBound, zeros, &loops, channels.count,
      range.lowerBound, range.count)
  }

  /// M of one panel.
  func transformGradient(
    _ range: Range<Int>, panel: Int, dy: UnsafePointer<Float>, zeros: UnsafePointer<Float>,
    m: UnsafeMutablePointer<Float>
  ) {
    var loops = tiles.loops
    let columns = panels.range(panel)
    cnl_winograd_gradient(
      m, planeStride, columns.count, dy + columns.lowerBound, zeros, &loops, columns.count,
      range.lowerBound, range.count)
  }
}

/// V and M of a block's tiles for all units.
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
    let (first, count) = (ranges.range(piece).lowerBound, ranges.range(piece).count)
    let tiles = (block.lowerBound + first)..<(block.lowerBound + first + count)
    let zeros = context.floats(zeros)
    for unit in 0..<plan.rows.count {
      let channels = plan.rows.range(unit)
      plan.transformInput(
        tiles, channels: channels, x: context.floats(x), zeros: zeros,
        v: context.floats(v) + unit * plan.unitCount + first * channels.count)
    }
    for panel in 0..<plan.panels.count {
      plan.transformGradient(
        tiles, panel: panel, dy: context.floats(dy), zeros: zeros,
        m: context.floats(m) + panel * plan.unitCount + first * plan.panels.range(panel).count)
    }
  }
}

/// Where units find tiles: images and gradients to be transformed in scratch, or V and M of a block.
enum WinogradGradientSource {
  case pixels(x: Buffer, dy: Buffer, zeros: Buffer)
  case tiles(Range<Int>, v: Buffer, m: Buffer)
}

/// Gᵀ (Vᵀ·M) G, written to the sums or added to them.
final class WinogradGradientProduct: Step {
  let plan: WinogradGradientPieces
  let source: WinogradGradientSource
  /// The sums of each span, one filter after another.
  let parts: Buffer

  init(plan: WinogradGradientPieces, source: WinogradGradientSource, parts: Buffer) {
    self.plan = plan
    self.source = source
    self.parts = parts
  }

  /// Floats from plane to plane of dU.
  private static let planeStride = WinogradTiles.planeStride(
    WinogradGradientPieces.rowLimit * PanelKernels.width)

  var pieces: Int { plan.spans.count * plan.panels.count * plan.rows.count }
  /// dU, V and M unless they are shared, and the rows of V in one plane.
  var scratchByteCount: Int {
    4 * tileCount + plan.depth * MemoryLayout<UnsafePointer<Float>?>.stride
  }
  private var tileCount: Int {
    plan.tiles.planes * Self.planeStride + (plan.sharesTiles ? 0 : 2 * plan.unitCount)
  }

  func run(piece: Int, lane: Int, in context: Context) {
    let unit = piece % plan.rows.count
    let rows = plan.rows.range(unit)
    let panel = piece / plan.rows.count % plan.panels.count
    let number = piece / (plan.rows.count * plan.panels.count)
    let (tiles, shape) = (plan.tiles, plan.tiles.shape)
    let u = context.scratch(lane: lane)
    var accumulates = false
    switch source {
    case .pixels(let x, let dy, let zeros):
      let v = u + tiles.planes * Self.planeStride
      let m = v + plan.unitCount
      let span = plan.spans.range(number)
      var first = span.lowerBound
      repeat {
        let chunk = first..<min(first + plan.depth, span.upperBound)
        plan.transformInput(
          chunk, channels: rows, x: context.floats(x), zeros: context.floats(zeros), v: v)
        plan.transformGradient(
          chunk, panel: panel, dy: context.floats(dy), zeros: context.floats(zeros), m: m)
        multiply(
          rows: rows.count, panel: panel, depth: chunk.count, v: v, m: m,
          accumulates: first > span.lowerBound, u: u)
        first += plan.depth
      } while first < span.upperBound
    case .tiles(let block, let v, let m):
      accumulates = block.lowerBound > 0
      multiply(
        rows: rows.count, panel: panel, depth: block.count,
        v: context.floats(v) + unit * plan.unitCount,
        m: context.floats(m) + panel * plan.unitCount, accumulates: false, u: u)
    }
    let (tapStride, columns) = (shape.channels * shape.filters, plan.panels.range(panel))
    cnl_winograd_filter_gradient(
      context.floats(parts) + number * 9 * tapStride + rows.lowerBound * shape.filters
        + columns.lowerBound,
      shape.filters, tapStride, u, Self.planeStride, rows.count, columns.count, tiles.height,
      tiles.width, accumulates ? 1 : 0)
  }

  /// dU (+)= Vᵀ·M in every plane.
  private func multiply(
    rows: Int, panel: Int, depth: Int, v: UnsafePointer<Float>, m: UnsafePointer<Float>,
    accumulates: Bool, u: UnsafeMutablePointer<Float>
  ) {
    let columns = plan.panels.range(panel).count
    let pointers = UnsafeMutableRawPointer(u + tileCount)
      .assumingMemoryBound(to: UnsafePointer<Float>?.self)
    for tile in 0..<depth { pointers[tile] = v + tile * rows }
    var next = cnl_operands(aRows: pointers, aOffset: 0, b: m, bRow: columns)
    for plane in 0..<plan.tiles.planes {
      var now = next
      if plane < plan.tiles.planes - 1 {
        next.aOffset += plan.planeStride
        next.b += plan.planeStride
      }
      cnl_transposed_product(
        u + plane * Self.planeStride, columns, &now, &next, rows, depth, columns,
        accumulates ? 1 : 0)
    }
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
    guard plan.sharesTiles else {
      let parts = plan.spans.count == 1 ? dw : temporary(floats: plan.spans.count * count)
      emit(
        WinogradGradientProduct(
          plan: plan, source: .pixels(x: x, dy: dy, zeros: zeros), parts: parts),
        reads: [x, dy, zeros], writes: [parts])
      if plan.spans.count > 1 {
        emit(
          SumPartsStep(
            parts: parts, partCount: plan.spans.count, output: dw, count: count, isDouble: false),
          reads: [parts], writes: [dw], suffix: "sum")
      }
      return
    }
    let v = temporary(floats: plan.rows.count * plan.unitCount)
    let m = temporary(floats: plan.panels.count * plan.unitCount)
    let blocks = Pieces(plan.tiles.count, size: plan.depth)
    for index in 0..<blocks.count {
      let block = blocks.range(index)
      emit(
        WinogradGradientTransform(plan: plan, block: block, x: x, dy: dy, zeros: zeros, v: v, m: m),
        reads: [x, dy, zeros], writes: [v, m], suffix: "transform\(index)")
      emit(
        WinogradGradientProduct(
          plan: plan, source: .tiles(block, v: v, m: m), parts: dw),
        reads: [v, m], writes: [dw], suffix: "products\(index)")
    }
  }
}
