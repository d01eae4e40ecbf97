import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  mutating func emitMaxPool(_ window: Window) throws {
    try emitPool(.maximum, window)
  }

  mutating func emitAveragePool(_ pool: AveragePool) throws {
    try emitPool(.average(countsPadding: pool.countsPadding), pool.window)
  }

  private mutating func emitPool(_ kind: PoolStep.Kind, _ window: Window) throws {
    let passes = try poolPasses(window, input: node.inputs[0])
    var (x, normalization) = (input(0), loadedNormalizations[node.inputs[0]])
    for (index, geometry) in passes.enumerated() {
      let y =
        index == passes.count - 1
        ? try output() : temporary(floats: geometry.images * geometry.outputSize)
      emit(
        PoolStep(kind, geometry: geometry, normalization: normalization, x: x, y: y),
        reads: [x] + [normalization?.coefficients].compactMap { $0 }, writes: [y])
      (x, normalization) = (y, nil)
    }
  }

  mutating func emitMaxPoolGradient(_ window: Window) throws {
    try emitPoolGradient(.maximum, window)
  }

  mutating func emitAveragePoolGradient(_ pool: AveragePool) throws {
    try emitPoolGradient(.average(countsPadding: pool.countsPadding), pool.window)
  }

  /// From the last pass to the first; a maximum is looked for again in what each pass took.
  private mutating func emitPoolGradient(_ kind: PoolStep.Kind, _ window: Window) throws {
    let passes = try poolPasses(window, input: node.inputs[1])
    // What follows is of a single pass over images alone.
    let (normalization, isSingle) = (loadedNormalizations[node.inputs[1]], passes.count == 1)
    var (dy, sums): (Buffer, [BlockSums]) = (input(0), [])
    var taken = [dy]
    if case .maximum = kind {
      taken[0] = input(1)
      for geometry in passes.dropLast() {
        let x = taken[taken.count - 1]
        let y = temporary(floats: geometry.images * geometry.outputSize)
        emit(
          PoolStep(kind, geometry: geometry, normalization: nil, x: x, y: y), reads: [x],
          writes: [y], suffix: "again")
        taken.append(y)
      }
    }
    for (index, geometry) in passes.enumerated().reversed() {
      let x = taken.popLast() ?? dy
      if case .maximum = kind, isSingle { sums = blockSums(counts: geometry.finishedCounts) }
      let dx =
        index == 0 ? try output() : temporary(floats: geometry.images * geometry.inputSize)
      emit(
        PoolGradientStep(
          kind, geometry: geometry, normalization: normalization, dy: dy, x: x, sums: sums, dx: dx),
        reads: [dy, x] + [normalization?.coefficients].compactMap { $0 } + sums.reads,
        writes: [dx] + sums.writes)
      dy = dx
    }
  }

  private func poolPasses(_ window: Window, input: Graph.ValueID) throws -> [PoolGeometry] {
    guard (1...3).contains(window.rank) else {
      throw unsupported("pooling over \(window.rank) spatial dimensions")
    }
    return try PoolGeometry.passes(window, shape(input))
  }
}

/// Pooling of images with every number known.
struct PoolGeometry: Sendable {
  let images: Int
  let vertical: Window.Axis
  let horizontal: Window.Axis
  let channels: Int

  /// The passes over images that make up a pooling.
  ///
  /// A sequence is an image of one row. A volume is pooled plane by plane and then over its planes, with all
  /// of a plane as channels: maxima are maxima of maxima, the first of equals is in the first of the
  /// planes that have it, and means are means of means, because the number of taps inside is a product of
  /// numbers along the axes.
  static func passes(_ window: Window, _ input: Shape) throws -> [PoolGeometry] {
    let one = Window.Axis(input: 1, output: 1, kernel: 1)
    let axes = try (0..<window.rank).map { try window.axis($0, input: input[1 + $0]) }
    let (images, channels) = (input[0], input[input.rank - 1])
    func pass(_ images: Int, _ v: Window.Axis, _ h: Window.Axis, _ channels: Int) -> PoolGeometry {
      PoolGeometry(images: images, vertical: v, horizontal: h, channels: channels)
    }
    switch axes.count {
    case 1: return [pass(images, one, axes[0], channels)]
    case 2: return [pass(images, axes[0], axes[1], channels)]
    default:
      let planes = pass(images * axes[0].input, axes[1], axes[2], channels)
      return [planes, pass(images, axes[0], one, planes.outputSize)]
    }
  }

  /// What sums are divided by in each row and each column; a product of two.
  func counts(countsPadding: Bool) -> (rows: [Float], columns: [Float]) {
    func counts(_ axis: Window.Axis) -> [Float] {
      (0..<axis.output).map { Float(axis.taps(at: $0, countingPadding: countsPadding)) }
    }
    return (counts(vertical), counts(horizontal))
  }

  var inputSize: Int { vertical.input * horizontal.input * channels }
  var outputSize: Int { vertical.output * horizontal.output * channels }

  /// Floats of a row of the input.
  var rowSize: Int { horizontal.input * channels }

  /// The rows of the input under the windows of some rows of the output.
  func inputRows(_ range: Range<Int>) -> Range<Int> {
    let last = (range.upperBound - 1) * vertical.stride + (vertical.kernel - 1) * vertical.dilation
    let top = min(max(range.lowerBound * vertical.stride - vertical.before, 0), vertical.input)
    return top..<max(top, min(last - vertical.before + 1, vertical.input))
  }

  /// The most rows of the input under the windows of so many neighbouring rows of the output.
  func tileRows(_ count: Int) -> Int {
    min(
      (count - 1) * vertical.stride + (vertical.kernel - 1) * vertical.dilation + 1, vertical.input)
  }

  /// Rows of the output that are made at a time, where their input is normalised into scratch.
  var tiles: Pieces {
    Pieces.rows(vertical.output, floats: vertical.stride * rowSize, byteCount: 256 << 10)
  }

  /// The rows of the input's gradient that are finished after a tile, and were not before.
  ///
  /// Rows between the windows of one tile and the next, which no window reads, come with the latter.
  func finishedRows(_ tile: Int) -> Range<Int> {
    func start(_ tile: Int) -> Int {
      guard tile > 0 else { return 0 }
      guard tile < tiles.count else { return vertical.input }
      return min(
        inputRows(tiles.range(tile)).lowerBound, inputRows(tiles.range(tile - 1)).upperBound)
    }
    return start(tile)..<start(tile + 1)
  }

  /// The pixels of those rows, tile by tile and image by image.
  var finishedCounts: [Int] {
    (0..<images * tiles.count).map { finishedRows($0 % tiles.count).count * horizontal.input }
  }

  /// The scratch such a tile takes.
  var tileByteCount: Int { tileRows(tiles.size) * rowSize * 4 }

  var window: cnl_window {
    cnl_window(
      height: vertical.input, width: horizontal.input, channels: channels,
      kernelHeight: vertical.kernel, kernelWidth: horizontal.kernel, strideHeight: vertical.stride,
      strideWidth: horizontal.stride, dilationHeight: vertical.dilation,
      dilationWidth: horizontal.dilation, padTop: vertical.before, padLeft: horizontal.before,
      outputHeight: vertical.output, outputWidth: horizontal.output)
  }
}

/// A normalisation with its clamp that is computed where its result is loaded, and never stored.
///
/// Pattern: z = f(a·(x − m) + b) whose only readers are max-pools and their gradients. Proof: what they
/// load is the same operations on the same operands. Windows overlap by a row or two, which are computed
/// twice; the way of z through memory, there and back, is saved in both directions.
struct LoadedNormalization {
  /// Three rows: m, a and b.
  let coefficients: Buffer
  let low: Float
  let high: Float

  /// Normalises some rows of an image into scratch.
  func load(
    _ rows: Range<Int>, of x: UnsafePointer<Float>, _ geometry: PoolGeometry,
    _ scratch: UnsafeMutablePointer<Float>, in context: Context
  ) -> UnsafePointer<Float> {
    let m = context.floats(coefficients)
    let (a, b) = (m + geometry.channels, m + 2 * geometry.channels)
    cnl_normalize(
      scratch, x + rows.lowerBound * geometry.rowSize, m, a, b, low, high,
      rows.count * geometry.horizontal.input, geometry.channels, 0)
    return UnsafePointer(scratch)
  }
}

extension PlanCompiler {
  /// Whether all that read the node's result can compute it as they load it.
  func isLoadedByPools() throws -> Bool {
    let value = node.outputs[0]
    guard takesSums, options.fusesEpilogues, options.batchNormalization == .fused,
      shape(value).rank == 4,
      !readers[value.index].isEmpty
    else { return false }
    return try readers[value.index].allSatisfy { index in
      guard index >= 0 else { return false }
      let reader = graph.nodes[index]
      let window: Window
      switch reader.operation {
      case .maxPool(let a): window = a
      case .maxPoolGradient(let a) where reader.inputs[0] != value: window = a
      default: return false
      }
      let passes = try PoolGeometry.passes(window, shape(value))
      return passes.count == 1 && passes[0].tileByteCount <= RowTiles.scratchLimit
    }
  }
}

/// The largest value or the mean of each window.
final class PoolStep: Step {
  enum Kind: Sendable {
    case maximum
    case average(countsPadding: Bool)

    func counts(_ geometry: PoolGeometry) -> (rows: [Float], columns: [Float]) {
      guard case .average(let countsPadding) = self else { return ([], []) }
      return geometry.counts(countsPadding: countsPadding)
    }
  }

  let kind: Kind
  let geometry: PoolGeometry
  let counts: (rows: [Float], columns: [Float])
  let rows: Pieces
  let normalization: LoadedNormalization?
  let x: Buffer
  let y: Buffer

  init(
    _ kind: Kind, geometry: PoolGeometry, normalization: LoadedNormalization?, x: Buffer, y: Buffer
  ) {
    self.kind = kind
    self.geometry = geometry
    counts = kind.counts(geometry)
    self.normalization = normalization
    self.x = x
    self.y = y
    let floats = geometry.vertical.stride * geometry.rowSize
    rows =
      normalization == nil ? Pieces.rows(geometry.vertical.output, floats: floats) : geometry.tiles
  }

  var pieces: Int { geometry.images * rows.count }
  var scratchByteCount: Int { normalization == nil ? 0 : geometry.tileByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let image = piece / rows.count
    let range = rows.range(piece % rows.count)
    var x = UnsafePointer(context.floats(x) + image * geometry.inputSize)
    let y = context.floats(y) + image * geometry.outputSize
    var window = geometry.window
    var top = 0
    if let normalization {
      let rows = geometry.inputRows(range)
      x = normalization.load(rows, of: x, geometry, context.scratch(lane: lane), in: context)
      top = rows.lowerBound
    }
    switch kind {
    case .maximum: cnl_max_pool(y, x, top, &window, range.lowerBound, range.upperBound)
    case .average:
      cnl_average_pool(
        y, x, &window, counts.rows, counts.columns, range.lowerBound, range.upperBound)
    }
  }
}

/// The gradient of pooling, image by image, because windows overlap; that of a maximum goes tile by tile
/// of output rows.
final class PoolGradientStep: Step {
  let kind: PoolStep.Kind
  let geometry: PoolGeometry
  let counts: (rows: [Float], columns: [Float])
  let normalization: LoadedNormalization?
  let dy: Buffer
  let x: Buffer
  let sums: [BlockSums]
  let dx: Buffer

  init(
    _ kind: PoolStep.Kind, geometry: PoolGeometry, normalization: LoadedNormalization?, dy: Buffer,
    x: Buffer, sums: [BlockSums], dx: Buffer
  ) {
    self.kind = kind
    self.geometry = geometry
    counts = kind.counts(geometry)
    self.normalization = normalization
    self.dy = dy
    self.x = x
    self.sums = sums
    self.dx = dx
  }

  var pieces: Int { geometry.images }
  private var ownByteCount: Int { normalization == nil ? 0 : geometry.tileByteCount }
  var scratchByteCount: Int { ownByteCount + 64 + sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    switch kind {
    case .maximum:
      for tile in 0..<geometry.tiles.count { runMaximum(piece, tile, lane: lane, in: context) }
    case .average:
      var window = geometry.window
      cnl_average_pool_gradient(
        context.floats(dx) + piece * geometry.inputSize,
        context.floats(dy) + piece * geometry.outputSize, &window, counts.rows,
        counts.columns)
    }
  }

  private func runMaximum(_ image: Int, _ tile: Int, lane: Int, in context: Context) {
    let range = geometry.tiles.range(tile)
    var window = geometry.window
    var x = UnsafePointer(context.floats(x) + image * geometry.inputSize)
    var top = 0
    if let normalization {
      let rows = geometry.inputRows(range)
      x = normalization.load(rows, of: x, geometry, context.scratch(lane: lane), in: context)
      top = rows.lowerBound
    }
    cnl_max_pool_gradient(
      context.floats(dx) + image * geometry.inputSize,
      context.floats(dy) + image * geometry.outputSize, x, top, &window, range.lowerBound,
      range.upperBound)
    let finished = geometry.finishedRows(tile)
    let (first, width) = (image * geometry.vertical.input, geometry.horizontal.input)
    sums.run(
      dx, part: image * geometry.tiles.count + tile, columns: 0..<geometry.channels, lane: lane,
      behind: ownByteCount, in: context,
      rows: .range((first + finished.lowerBound) * width..<(first + finished.upperBound) * width))
  }
}
