import CConvNetLoops
import ConvNetGraph

/// A convolution of a source onto target pixels that lie some rows and columns apart: one of stride 1 or
/// more, or one phase of its gradient.
struct LineConvolution: Sendable {
  /// Neighbouring outputs of one axis that the same taps reach, so that what they read lies equally far
  /// apart.
  private struct Run {
    var outputs: Range<Int>
    var taps: Range<Int>

    /// All runs, found from one to the next: padding of any extent takes no time.
    static func all(_ axis: Window.Axis) -> [Run] {
      var runs: [Run] = []
      var output = 0
      while output < axis.output {
        let taps = axis.taps(at: output, inside: 0..<axis.input)
        // The taps that fall short of position 0, or of the input's end, are ⌈(end + before − output·s)/d⌉,
        // at most the kernel; output by output they become fewer.
        let next = [(0, taps.lowerBound), (axis.input, taps.upperBound)].map { end, count in
          let rest = end + axis.before - (count - 1) * axis.dilation
          return count == 0 ? axis.output : (rest + axis.stride - 1) / axis.stride
        }
        let end = min(max(min(next[0], next[1]), output + 1), axis.output)
        runs.append(Run(outputs: output..<end, taps: taps))
        output = end
      }
      return runs
    }
  }

  /// Outputs that the same taps reach in both axes.
  struct Patch: Sendable {
    var rows: Range<Int>
    var columns: Range<Int>
    /// Where the first tap reads for output (0, 0), in floats from the image's beginning.
    var origin: Int
    /// What all of them read, from there on.
    var runs: cnl_runs
  }

  /// The outputs of each row, of one row of patches after another.
  let patches: [Patch]
  /// Floats of the source between neighbouring outputs, rows and images.
  let source: (column: Int, row: Int, image: Int)
  /// Pixels of the target: where output (0, 0) is, and between neighbouring outputs.
  let target: (first: Int, column: Int, row: Int)
  /// Rows of the packed filter.
  let depth: Int
  /// Floats of the packed filter before this part's.
  let packedOffset: Int

  /// - Parameters:
  ///   - vertical: the rows of the source that rows of outputs read.
  ///   - horizontal: the same of columns.
  ///   - channels: channels of the source.
  ///   - target: where outputs are put.
  ///   - packedOffset: where the filter's panels begin, `[taps][channels]` rows each.
  init(
    vertical: Window.Axis, horizontal: Window.Axis, channels: Int,
    target: (first: Int, column: Int, row: Int), packedOffset: Int
  ) {
    let width = horizontal.input * channels
    source = (horizontal.stride * channels, vertical.stride * width, vertical.input * width)
    self.target = target
    self.packedOffset = packedOffset
    depth = vertical.kernel * horizontal.kernel * channels
    let columns = Run.all(horizontal)
    patches = Run.all(vertical).flatMap { row in
      columns.map { column in
        let first = (
          row: row.taps.lowerBound * vertical.dilation - vertical.before,
          column: column.taps.lowerBound * horizontal.dilation - horizontal.before
        )
        // Taps of one row lie side by side, in the source as in the filter, unless they are spread.
        let (isDense, taps) = (horizontal.dilation == 1, column.taps.count)
        let runs = cnl_runs(
          down: row.taps.count, across: isDense ? min(taps, 1) : taps,
          count: isDense ? taps * channels : channels, aDown: vertical.dilation * width,
          aAcross: horizontal.dilation * channels,
          first: (row.taps.lowerBound * horizontal.kernel + column.taps.lowerBound) * channels,
          bDown: horizontal.kernel * channels, bAcross: channels)
        return Patch(
          rows: row.outputs, columns: column.outputs,
          origin: first.row * width + first.column * channels, runs: runs)
      }
    }
  }

  /// Whether most outputs lie in lines that all taps reach, long enough for products of several rows.
  static func suits(_ axis: Window.Axis) -> Bool {
    let reach = (axis.kernel - 1) * axis.dilation
    let first = max((axis.before + axis.stride - 1) / axis.stride, 0)
    let last = min((axis.input - 1 - reach + axis.before) / axis.stride, axis.output - 1)
    let count = axis.input > reach - axis.before ? last - first + 1 : 0
    return count >= 6 && 2 * count >= axis.output
  }

  /// Computes the outputs of some rows for some columns of the filter.
  func run(
    rows: Range<Int>, x: UnsafePointer<Float>, panel: UnsafePointer<Float>, width: Int,
    y: UnsafeMutablePointer<Float>, channels: Int
  ) {
    for index in patches.indices {
      let patch = patches[index]
      let lines = patch.rows.clamped(to: rows)
      if lines.isEmpty { continue }
      let columns = patch.columns
      let from = patch.origin + lines.lowerBound * source.row + columns.lowerBound * source.column
      let to = target.first + lines.lowerBound * target.row + columns.lowerBound * target.column
      let (across, down) = (target.column * channels, target.row * channels)
      var runs = patch.runs
      // Single columns, as at the edges, are computed downwards.
      if columns.count >= lines.count {
        cnl_line_products(
          y + to * channels, down, across, x + from, source.row, source.column, &runs, panel, width,
          lines.count, columns.count, width)
      } else {
        cnl_line_products(
          y + to * channels, across, down, x + from, source.column, source.row, &runs, panel, width,
          columns.count, lines.count, width)
      }
    }
  }
}

/// Convolution as matrix products on lines of pixels that are read where they lie: im2col's sums without
/// its copies (Dukhan 2019 reads them through pointers; lines need none).
///
/// The gradient of a convolution of stride s is s² of these, one for each phase, computed together so that
/// whole rows of the result are finished while they are in the cache.
final class DirectConvolution: Step {
  let parts: [LineConvolution]
  let product: PanelProduct
  let cuts: Cuts
  let x: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let y: Buffer

  /// How the result is cut into pieces: images, or bands of the rows of one.
  struct Cuts: Sendable {
    let height: Int
    let width: Int
    let images: Pieces
    let bands: Pieces
    let panelGroups: Pieces
    /// Rows of the result for a row of outputs, the stride of the convolution whose gradient this is.
    let rowStep: Int

    /// - Parameters:
    ///   - images: how many there are.
    ///   - height: rows of the result.
    ///   - width: its columns.
    ///   - rowStep: rows of the result that are computed together.
    ///   - panels: panels of the filter.
    init(images: Int, height: Int, width: Int, rowStep: Int, panels: Int) {
      let step = min(rowStep, max(height, 1))
      (self.height, self.width, self.rowStep) = (height, width, step)
      // A panel's results stay in the second-level cache until bias and sums have been seen to; few
      // images are cut further, so that all lanes have something to do.
      let pixels = height * width
      let most = images >= 8 ? 512 : min(max(images * pixels / 8, 96), 512)
      self.images = Pieces(images, size: max(most / 2 / max(pixels, 1), 1))
      let lines = images == 0 ? 1 : (height + step - 1) / step
      let linesAtMost = max(most / max(step * width, 1), 1)
      let count = max((lines + linesAtMost - 1) / linesAtMost, 1)
      bands = Pieces(lines, size: (lines + count - 1) / count)
      panelGroups = Pieces(panels: panels, beside: self.images.count * bands.count)
    }

    /// The rows of the result, each a pixel, that belong to each piece.
    var counts: [Int] {
      (0..<images.count * bands.count).map { rows($0).count }
    }

    /// The pixels of a piece, counted through all images.
    func rows(_ piece: Int) -> Range<Int> {
      let images = images.range(piece / bands.count)
      let lines = bands.range(piece % bands.count)
      let first = min(lines.lowerBound * rowStep, height)
      let last = min(lines.upperBound * rowStep, height)
      let count = images.isEmpty ? 0 : (images.count - 1) * height + last - first
      let start = (images.lowerBound * height + first) * width
      return start..<start + count * width
    }
  }

  init(
    parts: [LineConvolution], product: PanelProduct, cuts: Cuts, x: Buffer, packed: Buffer,
    bias: Buffer, residual: Buffer?, sums: [BlockSums], y: Buffer
  ) {
    self.parts = parts
    self.product = product
    self.cuts = cuts
    self.x = x
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.y = y
  }

  var pieces: Int { cuts.images.count * cuts.bands.count * cuts.panelGroups.count }
  var scratchByteCount: Int { sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let index = piece / cuts.panelGroups.count
    let images = cuts.images.range(index / cuts.bands.count)
    let lines = cuts.bands.range(index % cuts.bands.count)
    let rows = cuts.rows(index)
    if rows.isEmpty { return }
    let channels = product.columns
    for panel in cuts.panelGroups.range(piece % cuts.panelGroups.count) {
      let columns = product.panels.range(panel)
      for image in images {
        let target = context.floats(y) + image * cuts.height * cuts.width * channels
        for number in parts.indices {
          let part = parts[number]
          part.run(
            rows: lines, x: context.floats(x) + image * part.source.image,
            panel: context.floats(packed) + part.packedOffset + columns.lowerBound * part.depth,
            width: columns.count, y: target + columns.lowerBound, channels: channels)
        }
      }
      let offset = rows.lowerBound * channels
      product.finish(
        columns, rows: rows.count, c: context.floats(y) + offset, ldc: channels,
        bias: context.floats(bias), residual: residual.map { context.floats($0) + offset })
      sums.run(
        y, part: index, columns: columns, lane: lane, behind: 0, in: context, rows: .range(rows))
    }
  }
}
