import CConvNetLoops
import ConvNetGraph

/// Expand → depthwise → project in bands of output rows.
///
/// The widened map between the convolutions (Sandler et al. 2018, figure 4b), the largest of the network,
/// exists a few rows at a time in a lane's scratch and so never leaves the second-level cache. Products
/// and loops are those of the three steps that it stands for, and so are the bits.
final class BandedConvolution: Step {
  /// A 1×1 convolution: its panels and where they lie.
  struct Pointwise {
    var product: PanelProduct
    var packed: Buffer
    var bias: Buffer
  }

  /// The depthwise convolution: its filter and what follows.
  struct Depthwise {
    var shape: ConvolutionShape
    var filter: Buffer
    var bias: Buffer
    var low: Float
    var high: Float
  }

  /// How output rows are cut; pieces depend on the number of images, bands and bits do not.
  struct Bands {
    /// Scratch for the rows of one band, in bytes: less than half of a second-level cache of 1 MiB.
    static let scratchLimit = 384 << 10
    /// Output rows of an image in one piece.
    let pieces: Pieces
    /// Output rows of a band.
    let size: Int
    /// Floats of all input rows that a band reads.
    let lineFloats: Int
    /// Floats of a band of the depthwise result.
    let resultFloats: Int

    init(_ shape: ConvolutionShape) {
      let axis = shape.vertical
      let line = shape.width * shape.channels
      let result = shape.outputWidth * shape.channels
      let window = (axis.kernel - 1) * axis.dilation + 1
      let room = Bands.scratchLimit / 4 - (window - axis.stride) * line
      let most = max(1, room / (axis.stride * line + result))
      // Every piece expands anew the rows that it shares with the one before; many images need no cuts.
      let inputRows = shape.outputHeight * axis.stride
      let count = max(1, min(4, inputRows / 14, (8 + shape.images - 1) / max(shape.images, 1)))
      pieces = Pieces(shape.outputHeight, size: (shape.outputHeight + count - 1) / count)
      let bands = (pieces.size + most - 1) / most
      size = (pieces.size + bands - 1) / bands
      lineFloats = ((size - 1) * axis.stride + window) * line
      resultFloats = size * result
    }
  }

  let expand: Pointwise?
  let depthwise: Depthwise
  let project: Pointwise
  let bands: Bands
  let x: Buffer
  let residual: Buffer?
  let y: Buffer

  init(
    expand: Pointwise?, depthwise: Depthwise, project: Pointwise, x: Buffer, residual: Buffer?,
    y: Buffer
  ) {
    self.expand = expand
    self.depthwise = depthwise
    self.project = project
    bands = Bands(depthwise.shape)
    self.x = x
    self.residual = residual
    self.y = y
  }

  var pieces: Int { depthwise.shape.images * bands.pieces.count }

  /// Floats from the start of scratch to the depthwise result.
  private var resultOffset: Int { expand == nil ? 0 : (bands.lineFloats + 15) / 16 * 16 }

  var scratchByteCount: Int { 4 * (resultOffset + bands.resultFloats) }

  func run(piece: Int, lane: Int, in context: Context) {
    let shape = depthwise.shape
    let image = piece / bands.pieces.count
    let outputs = bands.pieces.range(piece % bands.pieces.count)
    let lines = context.scratch(lane: lane)
    let result = lines + resultOffset
    let inputChannels = expand?.product.depth ?? shape.channels
    let x = context.floats(x) + image * shape.height * shape.width * inputChannels
    // The input rows that lie expanded in scratch.
    var filled = 0..<0
    var first = outputs.lowerBound
    while first < outputs.upperBound {
      let band = first..<min(first + bands.size, outputs.upperBound)
      let needed = shape.inputRows(of: band)
      if let expand {
        fill(lines, needed: needed, filled: filled, x: x, by: expand, in: context)
        filled = needed
        convolve(band, of: needed, at: lines, into: result, in: context)
      } else {
        let line = shape.width * shape.channels
        convolve(band, of: needed, at: x + needed.lowerBound * line, into: result, in: context)
      }
      let offset =
        (image * shape.pixels + first * shape.outputWidth) * project.product.columns
      project.run(
        rows: band.count * shape.outputWidth, a: result, c: context.floats(y) + offset,
        residual: residual.map { context.floats($0) + offset }, in: context)
      first = band.upperBound
    }
  }

  /// Makes scratch hold the expanded rows of a band: some are left from the band before.
  private func fill(
    _ lines: UnsafeMutablePointer<Float>, needed: Range<Int>, filled: Range<Int>,
    x: UnsafePointer<Float>, by expand: Pointwise, in context: Context
  ) {
    let shape = depthwise.shape
    let line = shape.width * shape.channels
    let kept = max(0, filled.upperBound - needed.lowerBound)
    if kept > 0 {
      lines.update(
        from: lines + (needed.lowerBound - filled.lowerBound) * line, count: kept * line)
    }
    let next = needed.lowerBound + kept
    expand.run(
      rows: (needed.upperBound - next) * shape.width,
      a: x + next * shape.width * expand.product.depth, c: lines + kept * line, residual: nil,
      in: context)
  }

  /// Computes a band of the depthwise convolution from the rows that it reads: an image of its own, with
  /// padding only where those of the whole image have it.
  private func convolve(
    _ band: Range<Int>, of rows: Range<Int>, at lines: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, in context: Context
  ) {
    var window = depthwise.shape.window
    window.padTop += rows.lowerBound - band.lowerBound * window.strideHeight
    window.height = rows.count
    window.outputHeight = band.count
    cnl_depthwise(
      result, lines, context.floats(depthwise.filter), context.floats(depthwise.bias),
      depthwise.low, depthwise.high, &window, 0, band.count, 0, depthwise.shape.channels)
  }
}

extension BandedConvolution.Pointwise {
  /// Multiplies rows that lie one behind the other.
  fileprivate func run(
    rows: Int, a: UnsafePointer<Float>, c: UnsafeMutablePointer<Float>,
    residual: UnsafePointer<Float>?, in context: Context
  ) {
    product.run(
      panels: 0..<product.panelCount, rows: rows, a: a, lda: product.depth,
      b: context.floats(packed), c: c, ldc: product.columns, bias: context.floats(bias),
      residual: residual)
  }
}

extension ConvolutionShape {
  /// The input rows that some output rows read.
  fileprivate func inputRows(of outputs: Range<Int>) -> Range<Int> {
    let first = outputs.lowerBound * vertical.stride - vertical.before
    let last =
      (outputs.upperBound - 1) * vertical.stride - vertical.before
      + (vertical.kernel - 1) * vertical.dilation
    let start = min(max(0, first), height)
    return start..<max(start, min(height, last + 1))
  }
}
