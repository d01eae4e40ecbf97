import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// dw[u,v,c,k] = Σ x[…]·dy[…] over all pixels of all images.
  mutating func emitConvolutionFilterGradient(_ convolution: Convolution) throws {
    if convolution.window.rank == 3 { return try emitVolumeFilterGradient(convolution) }
    var shape = try convolutionShape(convolution, input: node.inputs[1], filter: node.inputs[2])
    let (dy, x) = (input(0), input(1))
    var count = shape.depth * shape.filters
    if shape.isDepthwise || shape.isThin {
      let partCount = DepthwiseFilterGradient.pieces(shape).count
      let parts = temporary(doubles: partCount * count)
      let step: any Step =
        shape.isDepthwise
        ? DepthwiseFilterGradient(shape: shape, dy: dy, x: x, parts: parts)
        : ThinFilterGradient(shape: shape, dy: dy, x: x, parts: parts)
      emit(step, reads: [dy, x], writes: [parts])
      let dw = try output()
      emit(
        SumPartsStep(parts: parts, partCount: partCount, output: dw, count: count, isDouble: true),
        reads: [parts], writes: [dw], suffix: "sum")
      return
    }
    if ConvolutionStrategy.choose(shape, options: options) == .winograd {
      let plan = WinogradGradientPieces(shape)
      let isForced = options.convolution == ConvolutionStrategy.winograd.rawValue
      if isForced || plan.pays { return try emitWinogradFilterGradient(plan) }
    }
    shape = ConvolutionShape(trimming: shape)
    count = shape.depth * shape.filters
    let isTrimmed = shape.taps < shape.storedTaps
    let plan = FilterGradientPieces(shape)
    let zeros = zeros(shape.channels)
    let dw = isTrimmed ? temporary(floats: count) : try output()
    let parts = plan.splits.count == 1 ? dw : temporary(floats: plan.splits.count * count)
    emit(
      ConvolutionFilterGradientStep(
        shape: shape, plan: plan, dy: dy, x: x, zeros: zeros, parts: parts),
      reads: [dy, x, zeros], writes: [parts])
    if plan.splits.count > 1 {
      emit(
        SumPartsStep(
          parts: parts, partCount: plan.splits.count, output: dw, count: count, isDouble: false),
        reads: [parts], writes: [dw], suffix: "sum")
    }
    if isTrimmed {
      let whole = try output()
      emit(
        PlaceTapsStep(source: dw, target: whole, shape: shape), reads: [dw], writes: [whole],
        suffix: "place")
    }
  }
}

/// Copies the gradient of the taps that are computed to their places; that of the others is 0.
final class PlaceTapsStep: Step {
  let source: Buffer
  let target: Buffer
  let shape: ConvolutionShape

  init(source: Buffer, target: Buffer, shape: ConvolutionShape) {
    self.source = source
    self.target = target
    self.shape = shape
  }

  var pieces: Int { shape.storedTaps }

  func run(piece: Int, lane: Int, in context: Context) {
    let count = shape.groupChannels * shape.filters
    let row = piece / shape.storedKernel.width - shape.firstTap.row
    let column = piece % shape.storedKernel.width - shape.firstTap.column
    let target = context.floats(target) + piece * count
    if 0..<shape.kernelHeight ~= row && 0..<shape.kernelWidth ~= column {
      let tap = row * shape.kernelWidth + column
      cnl_copy_rows(target, count, context.floats(source) + tap * count, count, 1, count)
    } else {
      cnl_fill(target, 0, count)
    }
  }
}

/// How the filter's gradient is cut: blocks of its rows and columns and, where there are few of those,
/// ranges of pixels whose sums are added in order afterwards.
struct FilterGradientPieces: Sendable {
  /// Rows and columns of one block: some channels of one tap, or all channels of some taps, and some
  /// filters of a group.
  struct Block: Sendable {
    var taps: Range<Int>
    var channels: Range<Int>
    var filters: Range<Int>
  }

  /// The most rows of a block.
  static let rowLimit = 128
  /// The most pixels of one product: a panel of dy and what is read of x stay in the first-level cache.
  static let pixelLimit = 128

  let blocks: [Block]
  let splits: Pieces
  /// Pixels of one product.
  let depth: Int

  init(_ shape: ConvolutionShape) {
    let channels = shape.groupChannels
    var rows: [(taps: Range<Int>, channels: Range<Int>)] = []
    if channels * 2 > Self.rowLimit {
      let cuts = (channels + Self.rowLimit - 1) / Self.rowLimit
      let parts = Pieces(channels, size: (channels + cuts - 1) / cuts)
      for tap in 0..<shape.taps {
        for part in 0..<parts.count { rows.append((tap..<(tap + 1), parts.range(part))) }
      }
    } else {
      let parts = Pieces(shape.taps, size: Self.rowLimit / channels)
      for part in 0..<parts.count { rows.append((parts.range(part), 0..<channels)) }
    }
    let columns = Pieces(shape.groupFilters, size: 128)
    blocks = rows.flatMap { row in
      (0..<columns.count).map {
        Block(taps: row.taps, channels: row.channels, filters: columns.range($0))
      }
    }
    let pixels = shape.images * shape.pixels
    let wanted = max(1, min(16 / (blocks.count * shape.groups), pixels / (4 * Self.pixelLimit)))
    splits = Pieces(pixels, size: (pixels + wanted - 1) / wanted)
    let parts = max(1, (splits.size + Self.pixelLimit - 1) / Self.pixelLimit)
    depth = max(1, (splits.size + parts - 1) / parts)
  }
}

/// Products of transposed im2col rows and rows of dy, summed over pixels in order.
///
/// Rows of x are read where they lie, through pointers, and every product asks memory for what the next
/// one reads: both factors are read once, in rows that lie apart, which takes half as long again otherwise
/// (one lane, ResNet-50's 1 × 1 convolutions, batch 8: 140 to 200 GFLOP/s without, 185 to 220 with it).
final class ConvolutionFilterGradientStep: Step {
  let shape: ConvolutionShape
  let plan: FilterGradientPieces
  let dy: Buffer
  let x: Buffer
  /// What is read of pixels outside the image.
  let zeros: Buffer
  /// The sums of each range of pixels, one filter after another.
  let parts: Buffer
  /// Whether rows of dy lie so far apart that those of a panel meet in few sets of the first-level
  /// cache; copying them side by side is cheaper.
  private let copiesPanels: Bool
  /// Rows of x of one product for all taps of a block.
  private let pointerCount: Int

  private typealias PixelRows = UnsafeMutablePointer<UnsafePointer<Float>?>

  init(
    shape: ConvolutionShape, plan: FilterGradientPieces, dy: Buffer, x: Buffer, zeros: Buffer,
    parts: Buffer
  ) {
    self.shape = shape
    self.plan = plan
    self.dy = dy
    self.x = x
    self.zeros = zeros
    self.parts = parts
    copiesPanels = shape.filters >= 512
    pointerCount = plan.depth * (plan.blocks.map(\.taps.count).max() ?? 0)
  }

  var pieces: Int { plan.splits.count * shape.groups * plan.blocks.count }
  /// Rows of x of this product and the next one, and a panel of dy.
  var scratchByteCount: Int {
    2 * pointerCount * MemoryLayout<PixelRows.Pointee>.stride
      + (copiesPanels ? plan.depth * PanelKernels.width * 4 : 0)
  }

  func run(piece: Int, lane: Int, in context: Context) {
    let block = plan.blocks[piece % plan.blocks.count]
    let group = piece / plan.blocks.count % shape.groups
    let split = piece / (plan.blocks.count * shape.groups)
    let pixels = plan.splits.range(split)
    let rowOffset = block.taps.lowerBound * shape.groupChannels + block.channels.lowerBound
    let column = group * shape.groupFilters + block.filters.lowerBound
    let target =
      context.floats(parts) + (split * shape.depth + rowOffset) * shape.filters + column
    if pixels.isEmpty {
      for row in 0..<(block.taps.count * block.channels.count) {
        cnl_fill(target + row * shape.filters, 0, block.filters.count)
      }
      return
    }
    var rows = UnsafeMutableRawPointer(context.scratch(lane: lane))
      .assumingMemoryBound(to: PixelRows.Pointee.self)
    var nextRows = rows + pointerCount
    let panel = UnsafeMutableRawPointer(nextRows + pointerCount)
      .assumingMemoryBound(to: Float.self)
    func part(from first: Int) -> Range<Int> {
      first..<min(first + plan.depth, pixels.upperBound)
    }
    var range = part(from: pixels.lowerBound)
    findRows(block, pixels: range, in: context, rows: rows)
    while !range.isEmpty {
      let next = part(from: range.upperBound)
      findRows(block, pixels: next, in: context, rows: nextRows)
      multiply(
        block, depth: range.count, rows: rows, nextRows: next.isEmpty ? rows : nextRows,
        firstChannel: group * shape.groupChannels + block.channels.lowerBound,
        dy: context.floats(dy) + range.lowerBound * shape.filters + column, panel: panel,
        accumulates: range.lowerBound > pixels.lowerBound, target: target)
      swap(&rows, &nextRows)
      range = next
    }
  }

  /// All products of a block over some pixels; those that come after them, if any, are at `nextRows`.
  private func multiply(
    _ block: FilterGradientPieces.Block, depth: Int, rows: PixelRows, nextRows: PixelRows,
    firstChannel: Int, dy: UnsafePointer<Float>, panel: UnsafeMutablePointer<Float>,
    accumulates: Bool, target: UnsafeMutablePointer<Float>
  ) {
    let channels = block.channels.count
    for column in stride(from: 0, to: block.filters.count, by: PanelKernels.width) {
      let width = min(PanelKernels.width, block.filters.count - column)
      var now = cnl_operands(
        aRows: rows, aOffset: firstChannel, b: dy + column, bRow: shape.filters)
      if copiesPanels {
        cnl_copy_rows(panel, width, dy + column, shape.filters, depth, width)
        (now.b, now.bRow) = (UnsafePointer(panel), width)
      }
      for tap in 0..<block.taps.count {
        var next = now
        if tap + 1 < block.taps.count {
          next.aRows += plan.depth
        } else if column + width < block.filters.count {
          (next.b, next.bRow) = (dy + column + width, shape.filters)
        } else if nextRows != rows {
          next = cnl_operands(
            aRows: nextRows, aOffset: firstChannel, b: dy + depth * shape.filters,
            bRow: shape.filters)
        }
        cnl_transposed_product(
          target + tap * channels * shape.filters + column, shape.filters, &now, &next, channels,
          depth, width, accumulates ? 1 : 0)
        now.aRows += plan.depth
      }
    }
  }

  /// Finds where some pixels of x lie for each tap of a block.
  private func findRows(
    _ block: FilterGradientPieces.Block, pixels: Range<Int>, in context: Context, rows: PixelRows
  ) {
    var window = shape.window
    let imageSize = shape.height * shape.width * shape.channels
    let (x, zeros) = (context.floats(x), context.floats(zeros))
    for tap in block.taps {
      let rows = rows + (tap - block.taps.lowerBound) * plan.depth
      var pixel = pixels.lowerBound
      while pixel < pixels.upperBound {
        let first = pixel % shape.pixels
        let count = min(shape.pixels - first, pixels.upperBound - pixel)
        cnl_pixel_rows(
          rows + (pixel - pixels.lowerBound), x + pixel / shape.pixels * imageSize, zeros, &window,
          tap, first, count)
        pixel += count
      }
      // A product may ask for as many rows as it has itself.
      for index in pixels.count..<plan.depth { rows[index] = UnsafePointer(zeros) }
    }
  }
}

/// Adds parts in their order, in Double, and rounds once.
final class SumPartsStep: Step {
  let parts: Buffer
  let partCount: Int
  let output: Buffer
  let range: Pieces
  let isDouble: Bool

  init(parts: Buffer, partCount: Int, output: Buffer, count: Int, isDouble: Bool) {
    self.parts = parts
    self.partCount = partCount
    self.output = output
    self.isDouble = isDouble
    range = Pieces(count, size: 16 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let indices = range.range(piece)
    let (first, result) = (indices.lowerBound, context.floats(output))
    guard isDouble else {
      return cnl_sum_parts(
        result + first, context.floats(parts) + first, range.total, partCount, indices.count)
    }
    let values = context.doubles(parts)
    for index in indices {
      var sum = 0.0
      for part in 0..<partCount { sum += values[part * range.total + index] }
      result[index] = Float(sum)
    }
  }
}
