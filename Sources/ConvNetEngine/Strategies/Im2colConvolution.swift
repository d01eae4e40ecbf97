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
  let y: Buffer

  init(
    shape: ConvolutionShape, product: PanelProduct, x: Buffer, packed: Buffer, bias: Buffer,
    residual: Buffer?, y: Buffer
  ) {
    self.shape = shape
    self.product = product
    self.x = x
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.y = y
    tiles = RowTiles(
      rowCount: shape.images * shape.pixels, depth: shape.depth, panels: product.panelCount,
      block: product.kernels.rows(depth: shape.depth))
  }

  var pieces: Int { tiles.pieces * shape.groups }
  var scratchByteCount: Int { tiles.byteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let group = piece / tiles.pieces
    let (rows, panels) = tiles.ranges(piece % tiles.pieces)
    let tile = context.scratch(lane: lane)
    gatherRows(
      tile, rowStride: tiles.rowStride, x: context.floats(x), window: shape.window,
      firstChannel: group * shape.groupChannels, channelCount: shape.groupChannels, rows: rows)
    let offset = rows.lowerBound * shape.filters + group * shape.groupFilters
    product.run(
      panels: panels, rows: rows.count, a: tile, lda: tiles.rowStride,
      b: context.floats(packed) + group * product.packedCount, c: context.floats(y) + offset,
      ldc: shape.filters, bias: context.floats(bias) + group * shape.groupFilters,
      residual: residual.map { context.floats($0) + offset })
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
  let y: Buffer

  init(
    rowCount: Int, product: PanelProduct, x: Buffer, packed: Buffer, bias: Buffer,
    residual: Buffer?, y: Buffer
  ) {
    self.product = product
    self.x = x
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.y = y
    // Rows that stay in the second-level cache while the panels pass over them.
    let block = product.kernels.rows(depth: product.depth)
    let size = (256 << 10) / (4 * max(product.depth, 1))
    rows = Pieces(rowCount, size: min(max(size, block), 8 * block), unit: block)
    let groups = rows.count >= 8 ? 1 : min(product.panelCount, (8 + rows.count - 1) / rows.count)
    panelGroups = Pieces(
      product.panelCount, size: (product.panelCount + groups - 1) / max(groups, 1))
  }

  var pieces: Int { rows.count * panelGroups.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let rows = rows.range(piece / panelGroups.count)
    let offset = rows.lowerBound * product.columns
    product.run(
      panels: panelGroups.range(piece % panelGroups.count), rows: rows.count,
      following: self.rows.total - rows.upperBound,
      a: context.floats(x) + rows.lowerBound * product.depth, lda: product.depth,
      b: context.floats(packed), c: context.floats(y) + offset, ldc: product.columns,
      bias: context.floats(bias), residual: residual.map { context.floats($0) + offset })
  }
}
