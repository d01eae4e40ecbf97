import CConvNetLoops

/// Every channel convolved with a kernel of its own, in vector loops over channels.
final class DepthwiseConvolution: Step {
  let shape: ConvolutionShape
  let rows: Pieces
  let channels: Pieces
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
    (rows, channels) = Self.cuts(shape)
  }

  private static func cuts(_ shape: ConvolutionShape) -> (rows: Pieces, channels: Pieces) {
    // Cut by channels first: the rows of a piece are fetched once for all outputs that read them.
    let channels = Pieces(shape.channels, size: max(32, shape.channels / 12), unit: 16)
    let rows = Pieces.rows(
      shape.outputHeight, floats: shape.outputWidth * channels.size, byteCount: 64 << 10)
    return (rows, channels)
  }

  /// The pixels of the pieces that share their rows.
  static func counts(_ shape: ConvolutionShape) -> [Int] {
    let rows = cuts(shape).rows
    return (0..<shape.images * rows.count).map {
      rows.range($0 % rows.count).count * shape.outputWidth
    }
  }

  var pieces: Int { shape.images * rows.count * channels.count }
  var scratchByteCount: Int { sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let image = piece / (rows.count * channels.count)
    let range = rows.range(piece / channels.count % rows.count)
    let channels = channels.range(piece % channels.count)
    var window = shape.window
    cnl_depthwise(
      context.floats(y) + image * shape.pixels * shape.channels,
      context.floats(x) + image * shape.height * shape.width * shape.channels,
      context.floats(filter), context.floats(bias), low, high, &window, range.lowerBound,
      range.upperBound, channels.lowerBound, channels.upperBound)
    let (first, width) = (image * shape.pixels, shape.outputWidth)
    sums.run(
      y, part: piece / self.channels.count, columns: channels, lane: lane, behind: 0, in: context,
      rows: .range(first + range.lowerBound * width..<first + range.upperBound * width))
  }
}

/// The gradient of a depthwise convolution's input, gathered row by row.
final class DepthwiseInputGradient: Step {
  let shape: ConvolutionShape
  let rows: Pieces
  let dy: Buffer
  let filter: Buffer
  let dx: Buffer

  init(shape: ConvolutionShape, dy: Buffer, filter: Buffer, dx: Buffer) {
    self.shape = shape
    self.dy = dy
    self.filter = filter
    self.dx = dx
    rows = Pieces.rows(shape.height, floats: shape.width * shape.channels)
  }

  var pieces: Int { shape.images * rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let image = piece / rows.count
    let range = rows.range(piece % rows.count)
    var window = shape.window
    cnl_depthwise_input_gradient(
      context.floats(dx) + image * shape.height * shape.width * shape.channels,
      context.floats(dy) + image * shape.pixels * shape.channels, context.floats(filter), &window,
      range.lowerBound, range.upperBound)
  }
}

/// The gradient of a depthwise filter: sums over pixels in Double, a part for each range of images.
final class DepthwiseFilterGradient: Step {
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
    images = Self.pieces(shape)
  }

  /// At most 16 parts, whatever the number of lanes.
  static func pieces(_ shape: ConvolutionShape) -> Pieces {
    Pieces(shape.images, size: (shape.images + 15) / 16)
  }

  var pieces: Int { images.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let count = shape.taps * shape.channels
    let part = context.doubles(parts) + piece * count
    part.update(repeating: 0, count: count)
    var window = shape.window
    for image in images.range(piece) {
      cnl_depthwise_filter_gradient(
        part, context.floats(dy) + image * shape.pixels * shape.channels,
        context.floats(x) + image * shape.height * shape.width * shape.channels, &window, 0,
        shape.outputHeight)
    }
  }
}

extension Pieces {
  /// Rows of an image in pieces of about the same size, `byteCount` or less.
  static func rows(_ count: Int, floats rowFloats: Int, byteCount: Int = 128 << 10) -> Pieces {
    let most = max(1, byteCount / max(4 * rowFloats, 1))
    let pieces = max(1, (count + most - 1) / most)
    return Pieces(count, size: (count + pieces - 1) / pieces)
  }
}
