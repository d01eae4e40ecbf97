import CConvNetLoops

/// A 3 × 3 convolution in Winograd's domain, block of tiles by block of tiles in a lane's scratch.
final class WinogradConvolution: Step {
  let tiles: WinogradTiles
  let product: WinogradProduct
  let blocks: Pieces
  let x: Buffer
  let zeros: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let y: Buffer

  init(
    product: WinogradProduct, blocks: Pieces, x: Buffer, zeros: Buffer, packed: Buffer,
    bias: Buffer, residual: Buffer?, sums: [BlockSums], y: Buffer
  ) {
    tiles = product.tiles
    self.product = product
    self.blocks = blocks
    self.x = x
    self.zeros = zeros
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.y = y
  }

  /// Tiles in blocks, or nil where there are too few of them to occupy several lanes.
  ///
  /// A block's transformed input and one panel of products should stay in the second-level cache, but
  /// fewer than 48 rows would not pay for reading the filter.
  static func blocks(_ tiles: WinogradTiles) -> Pieces? {
    let tileBytes = tiles.planes * (tiles.shape.channels + PanelKernels.width) * 4
    let most = max(48, min(96, (1 << 20) / tileBytes / 12 * 12))
    var count = (tiles.count + most - 1) / most
    guard count >= 4 else { return nil }
    // Few blocks should share out evenly among 2 and 4 lanes, be they a little larger for it.
    if count < 16 { count = max(4, tiles.count / (most * 5 / 4) / 4 * 4) }
    return Pieces(tiles.count, size: (tiles.count + count - 1) / count)
  }

  private var planeStride: Int { WinogradTiles.planeStride(blocks.size * tiles.shape.channels) }
  var pieces: Int { blocks.count }
  private var ownByteCount: Int {
    4 * (tiles.planes * planeStride + product.scratchCount(blocks.size))
  }
  var scratchByteCount: Int { ownByteCount + 64 + sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = blocks.range(piece)
    let v = context.scratch(lane: lane)
    let m = v + tiles.planes * planeStride
    tiles.transformInput(
      range, x: context.floats(x), zeros: context.floats(zeros), v: v, planeStride: planeStride)
    for panel in 0..<product.panelCount {
      product.run(
        panel: panel, range: range, v: v, planeStride: planeStride,
        packed: context.floats(packed), m: m, bias: context.floats(bias),
        residual: residual.map { context.floats($0) }, y: context.floats(y))
      sums.run(
        y, part: piece, columns: product.panels.range(panel), lane: lane, behind: ownByteCount,
        in: context, rows: .tiles(range, tiles))
    }
  }
}

/// The input transform of all tiles, where the products are shared among lanes by filters.
final class WinogradInputStep: Step {
  let tiles: WinogradTiles
  let blocks: Pieces
  let x: Buffer
  let zeros: Buffer
  let v: Buffer

  init(tiles: WinogradTiles, x: Buffer, zeros: Buffer, v: Buffer) {
    self.tiles = tiles
    self.x = x
    self.zeros = zeros
    self.v = v
    blocks = Pieces(tiles.count, size: max(1, (16 << 10) / max(tiles.shape.channels, 1) / 36))
  }

  static func planeStride(_ tiles: WinogradTiles) -> Int {
    WinogradTiles.planeStride(tiles.count * tiles.shape.channels)
  }

  var pieces: Int { blocks.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = blocks.range(piece)
    tiles.transformInput(
      range, x: context.floats(x), zeros: context.floats(zeros),
      v: context.floats(v) + range.lowerBound * tiles.shape.channels,
      planeStride: Self.planeStride(tiles))
  }
}

/// The products and output transforms, in pieces of one panel of filters and some tiles.
final class WinogradOutputStep: Step {
  let product: WinogradProduct
  let blocks: Pieces
  let v: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let y: Buffer

  init(
    product: WinogradProduct, v: Buffer, packed: Buffer, bias: Buffer, residual: Buffer?,
    sums: [BlockSums], y: Buffer
  ) {
    self.product = product
    self.v = v
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.y = y
    blocks = Self.blocks(product)
  }

  static func blocks(_ product: WinogradProduct) -> Pieces {
    let count = product.tiles.count
    // At least 4 pieces where that leaves a block at least 16 tiles.
    let parts = max(
      (count + 95) / 96, min(count / 16, (3 + product.panelCount) / product.panelCount))
    return Pieces(count, size: (count + max(parts, 1) - 1) / max(parts, 1))
  }

  var pieces: Int { product.panelCount * blocks.count }
  private var ownByteCount: Int { 4 * product.scratchCount(blocks.size) }
  var scratchByteCount: Int { ownByteCount + 64 + sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = blocks.range(piece % blocks.count)
    let tiles = product.tiles
    product.run(
      panel: piece / blocks.count, range: range,
      v: context.floats(v) + range.lowerBound * tiles.shape.channels,
      planeStride: WinogradInputStep.planeStride(tiles), packed: context.floats(packed),
      m: context.scratch(lane: lane), bias: context.floats(bias),
      residual: residual.map { context.floats($0) }, y: context.floats(y))
    sums.run(
      y, part: piece % blocks.count, columns: product.panels.range(piece / blocks.count),
      lane: lane, behind: ownByteCount, in: context, rows: .tiles(range, tiles))
  }
}

/// Transforms a filter in Double and packs it as `WinogradTiles.filterPlane` says; or that of the
/// adjoint convolution, w′[i][j][k][c] = w[2−i][2−j][c][k], whose channels are the filters.
final class WinogradFilterStep: Step {
  let source: Buffer
  let target: Buffer
  let tiles: WinogradTiles
  let isAdjoint: Bool

  init(source: Buffer, target: Buffer, tiles: WinogradTiles, isAdjoint: Bool) {
    self.source = source
    self.target = target
    self.tiles = tiles
    self.isAdjoint = isAdjoint
  }

  private var panels: PanelColumns { PanelColumns(tiles.shape.filters) }
  private var rows: Pieces { Pieces(tiles.shape.channels, size: 64) }

  var pieces: Int { panels.count * rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let shape = tiles.shape
    let panel = piece / rows.count
    let columns = panels.range(panel)
    let (column, width) = (columns.lowerBound, columns.count)
    let rows = rows.range(piece % rows.count)
    let u = context.floats(target) + tiles.filterOffset(panel) + rows.lowerBound * width
    let (planeStride, tapStride) = (tiles.filterPlane(panel), shape.channels * shape.filters)
    if isAdjoint {
      cnl_winograd_filter_adjoint(
        u, planeStride, context.floats(source) + column * shape.channels + rows.lowerBound,
        shape.channels, tapStride, rows.count, width, tiles.height, tiles.width)
    } else {
      cnl_winograd_filter(
        u, planeStride, context.floats(source) + rows.lowerBound * shape.filters + column,
        shape.filters, tapStride, rows.count, width, tiles.height, tiles.width)
    }
  }
}
