import CConvNetLoops
import ConvNetGraph
import OpenBLAS

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
    let dw = isTrimmed ? temporary(floats: count) : try output()
    let parts = plan.splits.count == 1 ? dw : temporary(floats: plan.splits.count * count)
    emit(
      ConvolutionFilterGradientStep(
        shape: shape, plan: plan, kernels: kernels, dy: dy, x: x, parts: parts),
      reads: [dy, x], writes: [parts])
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

/// How the filter's gradient is cut: blocks of its rows and, where there are few of those, ranges of
/// pixels whose sums are added in order afterwards.
struct FilterGradientPieces: Sendable {
  /// Rows of one block: some channels of one tap, or all channels of some taps.
  struct Block: Sendable {
    var taps: Range<Int>
    var channels: Range<Int>

    var rows: Int { taps.count * channels.count }
  }

  /// The most rows of a block.
  static let rowLimit = 96
  /// Pixels of one product: 96 · 64 · 160 < 10⁶, so that OpenBLAS packs nothing.
  static let pixelLimit = 160

  let blocks: [Block]
  let splits: Pieces

  init(_ shape: ConvolutionShape) {
    let channels = shape.groupChannels
    var blocks: [Block] = []
    if channels * 2 > Self.rowLimit {
      let cuts = (channels + Self.rowLimit - 1) / Self.rowLimit
      let size = (channels + cuts - 1) / cuts
      for tap in 0..<shape.taps {
        for start in stride(from: 0, to: channels, by: size) {
          blocks.append(
            Block(taps: tap..<(tap + 1), channels: start..<min(start + size, channels)))
        }
      }
    } else {
      let size = Self.rowLimit / channels
      for start in stride(from: 0, to: shape.taps, by: size) {
        blocks.append(Block(taps: start..<min(start + size, shape.taps), channels: 0..<channels))
      }
    }
    self.blocks = blocks
    let pixels = shape.images * shape.pixels
    let wanted = max(1, 16 / (blocks.count * shape.groups))
    splits = Pieces(pixels, size: max((pixels + wanted - 1) / wanted, 4 * Self.pixelLimit))
  }
}

/// Products of transposed im2col blocks and rows of dy, summed over pixels in order.
final class ConvolutionFilterGradientStep: Step {
  let shape: ConvolutionShape
  let plan: FilterGradientPieces
  let kernels: PanelKernels
  let dy: Buffer
  let x: Buffer
  /// The sums of each range of pixels, one filter after another.
  let parts: Buffer

  init(
    shape: ConvolutionShape, plan: FilterGradientPieces, kernels: PanelKernels, dy: Buffer,
    x: Buffer, parts: Buffer
  ) {
    self.shape = shape
    self.plan = plan
    self.kernels = kernels
    self.dy = dy
    self.x = x
    self.parts = parts
  }

  var pieces: Int { plan.splits.count * shape.groups * plan.blocks.count }
  var scratchByteCount: Int {
    (FilterGradientPieces.rowLimit + (copiesPanels ? PanelKernels.width : 0)) * rowStride * 4
  }

  /// Whether rows of dy lie a multiple of 4 KiB apart, so that those of a panel meet in few sets of the
  /// first-level cache; copying them side by side is cheaper (2048 filters: 153 -> 197 GFLOP/s, 1024:
  /// 131 -> 156; 512, 2 KiB apart: 158 -> 142).
  private var copiesPanels: Bool { shape.filters % 1024 == 0 }

  /// Floats from row to row of a transposed block.
  private var rowStride: Int { FilterGradientPieces.pixelLimit }

  func run(piece: Int, lane: Int, in context: Context) {
    let block = plan.blocks[piece % plan.blocks.count]
    let group = piece / plan.blocks.count % shape.groups
    let split = piece / (plan.blocks.count * shape.groups)
    let pixels = plan.splits.range(split)
    let rowOffset = block.taps.lowerBound * shape.groupChannels + block.channels.lowerBound
    let target =
      context.floats(parts)
      + (split * shape.depth + rowOffset) * shape.filters + group * shape.groupFilters
    if pixels.isEmpty {
      for row in 0..<block.rows { cnl_fill(target + row * shape.filters, 0, shape.groupFilters) }
      return
    }
    let tile = context.scratch(lane: lane)
    let panel = tile + FilterGradientPieces.rowLimit * rowStride
    var first = pixels.lowerBound
    while first < pixels.upperBound {
      let count = min(FilterGradientPieces.pixelLimit, pixels.upperBound - first)
      gather(block, group: group, pixels: first..<(first + count), x: context.floats(x), to: tile)
      let rows = context.floats(dy) + first * shape.filters + group * shape.groupFilters
      for column in stride(from: 0, to: shape.groupFilters, by: PanelKernels.width) {
        let width = min(PanelKernels.width, shape.groupFilters - column)
        if copiesPanels {
          cnl_copy_rows(panel, width, rows + column, shape.filters, count, width)
        }
        kernels.multiply(
          rows: block.rows, columns: width, depth: count, a: tile, lda: rowStride,
          b: UnsafePointer(copiesPanels ? panel : rows + column),
          ldb: copiesPanels ? width : shape.filters,
          accumulates: first > pixels.lowerBound, c: target + column, ldc: shape.filters)
      }
      first += count
    }
  }

  /// Gathers a block transposed: a row for each tap and channel, a column for each pixel.
  private func gather(
    _ block: FilterGradientPieces.Block, group: Int, pixels: Range<Int>, x: UnsafePointer<Float>,
    to tile: UnsafeMutablePointer<Float>
  ) {
    var window = shape.window
    let imageSize = shape.height * shape.width * shape.channels
    var pixel = pixels.lowerBound
    while pixel < pixels.upperBound {
      let first = pixel % shape.pixels
      let count = min(shape.pixels - first, pixels.upperBound - pixel)
      let image = x + pixel / shape.pixels * imageSize
      for tap in block.taps {
        let row = (tap - block.taps.lowerBound) * block.channels.count
        cnl_im2col_tap(
          tile + row * rowStride + (pixel - pixels.lowerBound), rowStride, image, &window,
          tap / shape.kernelWidth, tap % shape.kernelWidth,
          group * shape.groupChannels + block.channels.lowerBound, block.channels.count, first,
          count)
      }
      pixel += count
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
    let result = context.floats(output)
    for index in range.range(piece) {
      var sum = 0.0
      if isDouble {
        let values = context.doubles(parts)
        for part in 0..<partCount { sum += values[part * range.total + index] }
      } else {
        let values = context.floats(parts)
        for part in 0..<partCount { sum += Double(values[part * range.total + index]) }
      }
      result[index] = Float(sum)
    }
  }
}
