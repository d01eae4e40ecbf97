import CConvNetLoops

/// Convolution as a matrix product: a tile of im2col rows is gathered into scratch and multiplied by the
/// packed filter (Chellapilla, Puri & Simard 2006), one group of channels at a time.
final class Im2colConvolution: Step {
  let shape: ConvolutionShape
  let product: PanelProduct
  let tiles: RowTiles
  let x: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let y: Buffer

  init(
    shape: ConvolutionShape, product: PanelProduct, x: Buffer, packed: Buffer, bias: Buffer,
    residual: Buffer?, sums: [BlockSums], y: Buffer
  ) {
    self.shape = shape
    self.product = product
    self.x = x
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.y = y
    tiles = Self.tiles(shape, product)
  }

  static func tiles(_ shape: ConvolutionShape, _ product: PanelProduct) -> RowTiles {
    RowTiles(
      rowCount: shape.images * shape.pixels, depth: shape.depth, panels: product.panelCount,
      block: product.kernels.rows(depth: shape.depth))
  }

  var pieces: Int { tiles.pieces * shape.groups }
  var scratchByteCount: Int { tiles.byteCount + 64 + sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let group = piece / tiles.pieces
    let (rows, panels) = tiles.ranges(piece % tiles.pieces)
    let part = piece % tiles.pieces / tiles.panelGroups.count
    let tile = context.scratch(lane: lane)
    gatherRows(
      tile, rowStride: tiles.rowStride, x: context.floats(x), window: shape.window,
      firstChannel: group * shape.groupChannels, channelCount: shape.groupChannels, rows: rows)
    let offset = rows.lowerBound * shape.filters + group * shape.groupFilters
    for panel in panels {
      product.run(
        panels: panel..<panel + 1, rows: rows.count, a: tile, lda: tiles.rowStride,
        b: context.floats(packed) + group * product.packedCount, c: context.floats(y) + offset,
        ldc: shape.filters, bias: context.floats(bias) + group * shape.groupFilters,
        residual: residual.map { context.floats($0) + offset })
      sums.run(
        y, part: part, columns: product.panels.range(panel, from: group * shape.groupFilters),
        lane: lane, behind: tiles.byteCount, in: context, rows: .range(rows))
    }
  }
}

/// Gathers im2col rows of output pixels, counted through all images.
func gatherRows(
  _ target: UnsafeMutablePointer<Float>, rowStride: Int, x: UnsafePointer<Float>,
  window: cnl_window, firstChannel: Int, channelCount: Int, rows: Range<Int>
) {
  let pixels = window.outputHeight * window.outputWidth
  let imageSize = window.height * window.width * window.channels
  let depth = window.kernelHeight * window.kernelWidth * channelCount
  var window = window
  var row = rows.lowerBound
  while row < rows.upperBound {
    let image = row / pixels
    let first = row % pixels
    // A padded row stride is reached by gathering one row at a time.
    let most = rowStride == depth ? pixels - first : 1
    let count = min(rows.upperBound - row, most)
    cnl_im2row(
      target + (row - rows.lowerBound) * rowStride, x + image * imageSize, &window, firstChannel,
      channelCount, first, count)
    row += count
  }
}

/// A 1×1 convolution or a dense layer: the rows are the activations as they lie.
final class PointwiseConvolution: Step {
  let product: PanelProduct
  let rows: Pieces
  let panelGroups: Pieces
  let x: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let y: Buffer

  init(
    rows: Pieces, product: PanelProduct, x: Buffer, packed: Buffer, bias: Buffer,
    residual: Buffer?, sums: [BlockSums], y: Buffer
  ) {
    self.rows = rows
    self.product = product
    self.x = x
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.y = y
    panelGroups = Pieces(panels: product.panelCount, beside: rows.count)
  }

  /// Rows that stay in the second-level cache while the panels pass over them.
  static func rows(_ count: Int, _ product: PanelProduct) -> Pieces {
    let block = product.kernels.rows(depth: product.depth)
    let size = (256 << 10) / (4 * max(product.depth, 1))
    return Pieces(count, size: min(max(size, block), 8 * block), unit: block)
  }

  var pieces: Int { rows.count * panelGroups.count }
  var scratchByteCount: Int { sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let part = piece / panelGroups.count
    let rows = rows.range(part)
    let offset = rows.lowerBound * product.columns
    let panels = panelGroups.range(piece % panelGroups.count)
    for panel in panels {
      product.run(
        panels: panel..<panel + 1, rows: rows.count,
        following: panel == panels.lowerBound ? self.rows.total - rows.upperBound : nil,
        a: context.floats(x) + rows.lowerBound * product.depth, lda: product.depth,
        b: context.floats(packed), c: context.floats(y) + offset, ldc: product.columns,
        bias: context.floats(bias), residual: residual.map { context.floats($0) + offset })
      sums.run(
        y, part: part, columns: product.panels.range(panel), lane: lane, behind: 0, in: context,
        rows: .range(rows))
    }
  }
}
