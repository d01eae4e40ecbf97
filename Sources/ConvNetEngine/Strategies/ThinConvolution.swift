import CConvNetLoops
import ConvNetGraph

/// Convolution of an image of few channels, in vector loops over filters: what a first layer needs, whose
/// im2col rows would cost more to copy than to multiply.
final class ThinConvolution: Step {
  let shape: ConvolutionShape
  let rows: Pieces
  let x: Buffer
  let filter: Buffer
  let bias: Buffer
  let low: Float
  let high: Float
  let sums: [BlockSums]
  let y: Buffer

  init(
    shape: ConvolutionShape, x: Buffer, filter: Buffer, bias: Buffer, low: Float, high: Float,
    sums: [BlockSums], y: Buffer
  ) {
    self.shape = shape
    self.x = x
    self.filter = filter
    self.bias = bias
    self.low = low
    self.high = high
    self.sums = sums
    self.y = y
    rows = Self.rows(shape)
  }

  private static func rows(_ shape: ConvolutionShape) -> Pieces {
    Pieces.rows(
      shape.outputHeight, floats: shape.outputWidth * shape.filters, byteCount: 64 << 10)
  }

  /// The pixels of each piece.
  static func counts(_ shape: ConvolutionShape) -> [Int] {
    let rows = rows(shape)
    return (0..<shape.images * rows.count).map {
      rows.range($0 % rows.count).count * shape.outputWidth
    }
  }

  var pieces: Int { shape.images * rows.count }
  var scratchByteCount: Int { shape.thinScratchByteCount + 64 + sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let image = piece / rows.count
    let range = rows.range(piece % rows.count)
    var window = shape.window
    cnl_thin_convolution(
      context.floats(y) + image * shape.pixels * shape.filters,
      context.floats(x) + image * shape.height * shape.width * shape.channels,
      context.floats(filter), context.floats(bias), low, high, &window, shape.filters,
      context.scratch(lane: lane), range.lowerBound, range.upperBound)
    let (first, width) = (image * shape.pixels, shape.outputWidth)
    sums.run(
      y, part: piece, columns: 0..<shape.filters, lane: lane, behind: shape.thinScratchByteCount,
      in: context, rows: .range(first + range.lowerBound * width..<first + range.upperBound * width)
    )
  }
}

/// The gradient of such a layer's filter: sums over pixels in Double, a part for each range of images.
final class ThinFilterGradient: Step {
  let shape: ConvolutionShape
  let images: Pieces
  let dy: Buffer
  let x: Buffer
  /// The sums of each range of images, in Double.
  let parts: Buffer

  init(shape: ConvolutionShape, dy: Buffer, x: Buffer, parts: Buffer) {
    self.shape = shape
    self.dy = dy
    self.x = x
    self.parts = parts
    images = DepthwiseFilterGradient.pieces(shape)
  }

  var pieces: Int { images.count }
  var scratchByteCount: Int { shape.thinScratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let count = shape.depth * shape.filters
    let part = context.doubles(parts) + piece * count
    part.update(repeating: 0, count: count)
    var window = shape.window
    for image in images.range(piece) {
      cnl_thin_filter_gradient(
        part, context.floats(dy) + image * shape.pixels * shape.filters,
        context.floats(x) + image * shape.height * shape.width * shape.channels, &window,
        shape.filters, context.scratch(lane: lane), 0, shape.outputHeight)
    }
  }
}

extension ConvolutionShape {
  /// Few channels, one group, dense taps, and rows that fit a lane's scratch.
  var isThin: Bool {
    groups == 1 && channels <= 4 && horizontal.dilation == 1
      && thinScratchByteCount <= RowTiles.scratchLimit
  }

  var thinScratchByteCount: Int {
    var window = window
    return cnl_thin_scratch(&window) * 4
  }
}
