import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// dx = adjoint of the convolution, applied to dy, then the epilogue.
  mutating func emitConvolutionInputGradient(
    _ convolution: Convolution, epilogue: Epilogue
  ) throws {
    if convolution.window.rank == 3 { return try emitVolumeInputGradient(convolution) }
    try emitAdjoint(
      convolutionShape(convolution, input: node.inputs[2], filter: node.inputs[1]), bias: nil,
      epilogue: epilogue)
  }

  /// The adjoint of a convolution, applied to the first operand, with the second as the filter.
  mutating func emitAdjoint(
    _ whole: ConvolutionShape, bias: Buffer?, epilogue: Epilogue = .none
  ) throws {
    var shape = whole
    let residual = epilogue.residual.map { input($0) }
    let (dy, filter) = (input(0), input(1))
    if shape.isDepthwise {
      let dx = try output()
      emit(
        DepthwiseInputGradient(shape: shape, dy: dy, filter: filter, dx: dx), reads: [dy, filter],
        writes: [dx])
      if let bias {
        emitBias(
          bias, to: dx, rows: shape.images * shape.height * shape.width, columns: shape.channels)
      }
      return emitRest(of: epilogue, dx, residual)
    }
    if ConvolutionStrategy.choose(shape, options: options) == .winograd {
      let adjoint = ConvolutionShape(adjointOf: shape)
      return try emitWinograd(
        adjoint, x: dy, filter: filter, bias: bias ?? zeros(adjoint.filters),
        residual: residual, epilogue: epilogue, isAdjoint: true)
    }
    shape = ConvolutionShape(trimming: shape)
    let isDirect = isDirect(shape)
    if isDirect { shape = ConvolutionShape(upright: shape) }
    let phases = GradientPhase.all(shape)
    let step = { [shape] (source: Buffer, target: Buffer) in
      PackAdjointStep(source: source, target: target, shape: shape, phases: phases)
    }
    let count = shape.taps * shape.groupChannels * shape.filters
    let axes = [shape.vertical, shape.horizontal].map { "\($0.stride),\($0.dilation),\($0.before)" }
    let name = shape.isUpright ? "upright adjoint" : "adjoint"
    let layout = "\(name)/\(shape.groups)/\(shape.tapNames)/\(axes.joined(separator: "/"))"
    let packed: Buffer
    if let known = pack(
      parameter: node.inputs[1], layout: layout, floatCount: count, make: step)
    {
      packed = known
    } else {
      packed = temporary(floats: count)
      emit(step(filter, packed), reads: [filter], writes: [packed], suffix: "pack")
    }
    let row = bias ?? zeros(shape.channels)
    if isDirect {
      let product = PanelProduct(
        depth: 0, columns: shape.channels, kernels: kernels, epilogue: epilogue,
        hasBias: bias != nil)
      let cuts = DirectConvolution.Cuts(
        images: shape.images, height: shape.height, width: shape.width,
        rowStep: shape.vertical.stride, panels: product.panelCount)
      let sums = blockSums(counts: cuts.counts)
      let dx = try output()
      return emit(
        DirectConvolution(
          parts: directPhases(shape, phases), product: product, cuts: cuts, x: dy, packed: packed,
          bias: row, residual: residual, sums: sums, y: dx),
        reads: [dy, packed, row] + [residual].compactMap { $0 } + sums.reads,
        writes: [dx] + sums.writes)
    }
    // Dense products are one phase, which makes whole rows of dx.
    let isDense = shape.vertical.stride == 1 && shape.horizontal.stride == 1
    let tiles = ConvolutionInputGradientPhase.tiles(shape, phases[0], kernels)
    let sums = isDense ? blockSums(counts: tiles.rows.sizes) : []
    let dx = try output()
    for (index, phase) in phases.enumerated() where phase.pixels > 0 {
      emit(
        ConvolutionInputGradientPhase(
          shape: shape, phase: phase, kernels: kernels, epilogue: isDense ? epilogue : .none,
          dy: dy, packed: packed, bias: row, hasBias: bias != nil,
          residual: isDense ? residual : nil, sums: sums, dx: dx),
        reads: [dy, packed, row] + [residual].compactMap { $0 } + sums.reads,
        writes: [dx] + sums.writes, suffix: "phase\(index)")
    }
    if !isDense { emitRest(of: epilogue, dx, residual) }
  }

  /// Whether phases are products on lines that are read where they lie.
  ///
  /// im2col computes those of groups and of narrow maps; a single tap of stride 1 reads the activations as
  /// they lie in any case.
  private func isDirect(_ shape: ConvolutionShape) -> Bool {
    let forced = ConvolutionStrategy(rawValue: options.convolution ?? "")
    if shape.groups > 1 { return false }
    if let forced, forced.declines(shape) == nil { return forced == .direct }
    let phases = GradientPhase.all(shape)
    if phases.count == 1, phases[0].isPointwise(shape) { return false }
    return phases.allSatisfy {
      $0.pixels == 0 || LineConvolution.suits($0.horizontal.axis(shape.outputWidth))
    }
  }

  private func directPhases(
    _ shape: ConvolutionShape, _ phases: [GradientPhase]
  ) -> [LineConvolution] {
    phases.filter { $0.pixels > 0 }.map { phase in
      LineConvolution(
        vertical: phase.vertical.axis(shape.outputHeight),
        horizontal: phase.horizontal.axis(shape.outputWidth), channels: shape.filters,
        target: (
          phase.vertical.first * shape.width + phase.horizontal.first, shape.horizontal.stride,
          shape.vertical.stride * shape.width
        ), packedOffset: phase.tapOffset * shape.filters * shape.channels)
    }
  }

  /// What a loop without an epilogue leaves to do.
  private mutating func emitRest(of epilogue: Epilogue, _ dx: Buffer, _ residual: Buffer?) {
    guard residual != nil || epilogue.clamps else { return }
    emitAddClamp(dx, residual, epilogue, count: shape(node.outputs[0]).count)
  }
}

/// The pixels of dx that lie `stride` apart, and the taps that reach them.
///
/// dx[y] = Σ dy[(y + p − u·d)/s] · w[u] over the taps u for which s divides y + p − u·d. For the pixels
/// y = r + s·i of one phase r these taps form a progression with step t = s/gcd(s, d), and the row of dy
/// they read falls by t·d/s from tap to tap. So a phase is a convolution of dy with stride 1, dilation
/// t·d/s and the taps in falling order; nothing is multiplied by the zeros between strides.
struct GradientPhase: Sendable {
  /// One spatial dimension of a phase.
  struct Axis: Sendable {
    /// The first pixel of dx.
    let first: Int
    /// The pixels of the phase.
    let count: Int
    /// The taps, in the order in which they read dy forwards.
    let taps: [Int]
    /// Rows of dy between neighbouring taps.
    let dilation: Int
    /// How far before pixel i the first tap reads dy; negative where it reads behind it.
    let before: Int

    init(_ axis: Window.Axis, phase: Int) {
      first = phase
      count = axis.input > phase ? (axis.input - phase + axis.stride - 1) / axis.stride : 0
      let reaching = (0..<axis.kernel).filter {
        (phase + axis.before - $0 * axis.dilation) % axis.stride == 0
      }
      taps = reaching.reversed()
      let rows = taps.map { (phase + axis.before - $0 * axis.dilation) / axis.stride }
      dilation = rows.count > 1 ? rows[1] - rows[0] : 1
      before = -(rows.first ?? 0)
    }

    /// The same as a window over so many rows of dy.
    func axis(_ input: Int) -> Window.Axis {
      Window.Axis(
        input: input, output: count, kernel: taps.count, dilation: dilation, before: before)
    }
  }

  let vertical: Axis
  let horizontal: Axis
  /// Taps of the phases before this one, which is where its filter begins.
  let tapOffset: Int

  var taps: Int { vertical.taps.count * horizontal.taps.count }
  var pixels: Int { vertical.count * horizontal.count }

  /// Whether every pixel reads one pixel of dy, in the same order.
  func isPointwise(_ shape: ConvolutionShape) -> Bool {
    taps == 1 && (vertical.before, horizontal.before) == (0, 0)
      && (vertical.count, horizontal.count) == (shape.outputHeight, shape.outputWidth)
  }

  /// The phases that have pixels or taps; those without pixels too, because the filter is packed for images
  /// of any size.
  static func all(_ shape: ConvolutionShape) -> [GradientPhase] {
    var phases: [GradientPhase] = []
    var offset = 0
    let columns = numbers(shape.horizontal)
    for row in numbers(shape.vertical) {
      for column in columns {
        let phase = GradientPhase(
          vertical: Axis(shape.vertical, phase: row),
          horizontal: Axis(shape.horizontal, phase: column), tapOffset: offset)
        offset += phase.taps
        phases.append(phase)
      }
    }
    return phases
  }

  /// The phases of one spatial dimension that have pixels or taps, however large the stride is.
  private static func numbers(_ axis: Window.Axis) -> [Int] {
    let reached = (0..<axis.kernel).map { tap in
      let distance = (tap * axis.dilation - axis.before) % axis.stride
      return distance < 0 ? distance + axis.stride : distance
    }
    return Set(0..<min(axis.stride, axis.input)).union(reached).sorted()
  }

  /// The geometry in which im2col gathers dy for this phase.
  func window(_ shape: ConvolutionShape) -> cnl_window {
    cnl_window(
      height: shape.outputHeight, width: shape.outputWidth, channels: shape.filters,
      kernelHeight: vertical.taps.count, kernelWidth: horizontal.taps.count, strideHeight: 1,
      strideWidth: 1, dilationHeight: vertical.dilation, dilationWidth: horizontal.dilation,
      padTop: vertical.before, padLeft: horizontal.before, outputHeight: vertical.count,
      outputWidth: horizontal.count)
  }
}

/// One phase of the gradient, of groups or narrow maps: im2col of dy times the packed adjoint filter.
final class ConvolutionInputGradientPhase: Step {
  let shape: ConvolutionShape
  let phase: GradientPhase
  let product: PanelProduct
  let tiles: RowTiles
  let dy: Buffer
  let packed: Buffer
  let bias: Buffer
  let residual: Buffer?
  let sums: [BlockSums]
  let dx: Buffer
  /// Whether the phase is every pixel, so that products are written where they belong.
  let isDense: Bool
  /// Whether the rows of dy can be read as they lie.
  let isPointwise: Bool

  init(
    shape: ConvolutionShape, phase: GradientPhase, kernels: PanelKernels, epilogue: Epilogue,
    dy: Buffer, packed: Buffer, bias: Buffer, hasBias: Bool, residual: Buffer?, sums: [BlockSums],
    dx: Buffer
  ) {
    self.shape = shape
    self.phase = phase
    self.dy = dy
    self.packed = packed
    self.bias = bias
    self.residual = residual
    self.sums = sums
    self.dx = dx
    product = PanelProduct(
      depth: phase.taps * shape.groupFilters, columns: shape.groupChannels, kernels: kernels,
      epilogue: epilogue, hasBias: hasBias)
    tiles = Self.tiles(shape, phase, kernels)
    isDense = shape.vertical.stride == 1 && shape.horizontal.stride == 1
    isPointwise = phase.isPointwise(shape) && shape.groups == 1
  }

  static func tiles(
    _ shape: ConvolutionShape, _ phase: GradientPhase, _ kernels: PanelKernels
  ) -> RowTiles {
    let depth = phase.taps * shape.groupFilters
    return RowTiles(
      rowCount: shape.images * phase.pixels, depth: depth,
      panels: PanelColumns(shape.groupChannels).count, block: kernels.rows(depth: depth))
  }

  var pieces: Int { tiles.pieces * shape.groups }

  /// A tile of im2col rows and, where pixels lie apart, a tile of results.
  var scratchByteCount: Int {
    tiles.byteCount + (isDense ? 64 : tiles.rows.size * shape.groupChannels * 4)
      + sums.scratchByteCount
  }

  func run(piece: Int, lane: Int, in context: Context) {
    let group = piece / tiles.pieces
    let (rows, panels) = tiles.ranges(piece % tiles.pieces)
    let tile = context.scratch(lane: lane)
    let filter =
      context.floats(packed)
      + (group * shape.taps + phase.tapOffset) * shape.groupFilters * shape.groupChannels
    var a = UnsafePointer(tile)
    if isPointwise {
      a = UnsafePointer(context.floats(dy) + rows.lowerBound * shape.filters)
    } else if product.depth > 0 {
      gatherRows(
        tile, rowStride: tiles.rowStride, x: context.floats(dy), window: phase.window(shape),
        firstChannel: group * shape.groupFilters, channelCount: shape.groupFilters, rows: rows)
    }
    let target = context.floats(dx) + group * shape.groupChannels
    let bias = context.floats(bias) + group * shape.groupChannels
    let following = isPointwise ? tiles.rows.total - rows.upperBound : nil
    if isDense {
      let offset = rows.lowerBound * shape.channels
      for panel in panels {
        product.run(
          panels: panel..<panel + 1, rows: rows.count,
          following: panel == panels.lowerBound ? following : nil, a: a,
          lda: isPointwise ? shape.filters : tiles.rowStride, b: filter, c: target + offset,
          ldc: shape.channels, bias: bias,
          residual: residual.map { context.floats($0) + group * shape.groupChannels + offset })
        sums.run(
          dx, part: piece % tiles.pieces / tiles.panelGroups.count,
          columns: product.panels.range(panel, from: group * shape.groupChannels), lane: lane,
          behind: tiles.byteCount, in: context, rows: .range(rows))
      }
    } else {
      let result = tile + tiles.byteCount / 4
      product.run(
        panels: panels, rows: rows.count, following: following, a: a,
        lda: isPointwise ? shape.filters : tiles.rowStride, b: filter, c: result,
        ldc: shape.groupChannels, bias: bias, residual: nil)
      scatter(result, rows: rows, panels: panels, to: target)
    }
  }

  /// Copies rows of results to the pixels of the phase.
  private func scatter(
    _ result: UnsafePointer<Float>, rows: Range<Int>, panels: Range<Int>,
    to target: UnsafeMutablePointer<Float>
  ) {
    let columns = product.panels.range(panels)
    var row = rows.lowerBound
    while row < rows.upperBound {
      let image = row / phase.pixels
      let i = row % phase.pixels / phase.horizontal.count
      let j = row % phase.horizontal.count
      let count = min(phase.horizontal.count - j, rows.upperBound - row)
      let y = phase.vertical.first + i * shape.vertical.stride
      let x = phase.horizontal.first + j * shape.horizontal.stride
      let pixel = (image * shape.height + y) * shape.width + x
      cnl_copy_rows(
        target + pixel * shape.channels + columns.lowerBound,
        shape.horizontal.stride * shape.channels,
        result + (row - rows.lowerBound) * shape.groupChannels + columns.lowerBound,
        shape.groupChannels, count, columns.count)
      row += count
    }
  }
}

/// Packs the filter transposed for the input's gradient: per group and phase the panels of a matrix
/// [taps of the phase · filters of the group][channels of the group].
final class PackAdjointStep: Step {
  let source: Buffer
  let target: Buffer
  let shape: ConvolutionShape
  let phases: [GradientPhase]

  init(source: Buffer, target: Buffer, shape: ConvolutionShape, phases: [GradientPhase]) {
    self.source = source
    self.target = target
    self.shape = shape
    self.phases = phases
  }

  private var panels: PanelColumns { PanelColumns(shape.groupChannels) }

  var pieces: Int { shape.groups * panels.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let group = piece / panels.count
    let columns = panels.range(piece % panels.count)
    let (column, width) = (columns.lowerBound, columns.count)
    let (channels, filters) = (shape.groupChannels, shape.groupFilters)
    let w = context.floats(source) + group * filters
    for index in 0..<phases.count {
      let phase = phases[index]
      let packed =
        context.floats(target) + (group * shape.taps + phase.tapOffset) * filters * channels
        + column * phase.taps * filters
      for tap in 0..<phase.taps {
        let u = phase.vertical.taps[tap / phase.horizontal.taps.count]
        let v = phase.horizontal.taps[tap % phase.horizontal.taps.count]
        // w[u][v] is [channels][all filters]; a row of the panel is one filter.
        let source = w + (shape.storedTap(row: u, column: v) * channels + column) * shape.filters
        cnl_transpose(packed + tap * filters * width, width, source, shape.filters, width, filters)
      }
    }
  }
}
