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
    var x = input(0)
    for (index, geometry) in passes.enumerated() {
      let y =
        index == passes.count - 1
        ? try output() : temporary(floats: geometry.images * geometry.outputSize)
      emit(PoolStep(kind, geometry: geometry, x: x, y: y), reads: [x], writes: [y])
      x = y
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
    var dy = input(0)
    var taken = [dy]
    if case .maximum = kind {
      taken[0] = input(1)
      for geometry in passes.dropLast() {
        let x = taken[taken.count - 1]
        let y = temporary(floats: geometry.images * geometry.outputSize)
        emit(
          PoolStep(kind, geometry: geometry, x: x, y: y), reads: [x], writes: [y], suffix: "again")
        taken.append(y)
      }
    }
    for (index, geometry) in passes.enumerated().reversed() {
      let x = taken.popLast() ?? dy
      let dx =
        index == 0 ? try output() : temporary(floats: geometry.images * geometry.inputSize)
      emit(
        PoolGradientStep(kind, geometry: geometry, dy: dy, x: x, dx: dx), reads: [dy, x],
        writes: [dx])
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

  var window: cnl_window {
    cnl_window(
      height: vertical.input, width: horizontal.input, channels: channels,
      kernelHeight: vertical.kernel, kernelWidth: horizontal.kernel, strideHeight: vertical.stride,
      strideWidth: horizontal.stride, dilationHeight: vertical.dilation,
      dilationWidth: horizontal.dilation, padTop: vertical.before, padLeft: horizontal.before,
      outputHeight: vertical.output, outputWidth: horizontal.output)
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
  let x: Buffer
  let y: Buffer

  init(_ kind: Kind, geometry: PoolGeometry, x: Buffer, y: Buffer) {
    self.kind = kind
    self.geometry = geometry
    counts = kind.counts(geometry)
    self.x = x
    self.y = y
    let row = geometry.horizontal.input * geometry.channels
    rows = Pieces.rows(geometry.vertical.output, floats: geometry.vertical.stride * row)
  }

  var pieces: Int { geometry.images * rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let image = piece / rows.count
    let range = rows.range(piece % rows.count)
    let x = context.floats(x) + image * geometry.inputSize
    let y = context.floats(y) + image * geometry.outputSize
    var window = geometry.window
    switch kind {
    case .maximum: cnl_max_pool(y, x, &window, range.lowerBound, range.upperBound)
    case .average:
      cnl_average_pool(
        y, x, &window, counts.rows, counts.columns, range.lowerBound, range.upperBound)
    }
  }
}

/// The gradient of pooling, image by image, because windows overlap.
final class PoolGradientStep: Step {
  let kind: PoolStep.Kind
  let geometry: PoolGeometry
  let counts: (rows: [Float], columns: [Float])
  let dy: Buffer
  let x: Buffer
  let dx: Buffer

  init(_ kind: PoolStep.Kind, geometry: PoolGeometry, dy: Buffer, x: Buffer, dx: Buffer) {
    self.kind = kind
    self.geometry = geometry
    counts = kind.counts(geometry)
    self.dy = dy
    self.x = x
    self.dx = dx
  }

  var pieces: Int { geometry.images }

  func run(piece: Int, lane: Int, in context: Context) {
    let dx = context.floats(dx) + piece * geometry.inputSize
    let dy = context.floats(dy) + piece * geometry.outputSize
    var window = geometry.window
    switch kind {
    case .maximum:
      cnl_max_pool_gradient(dx, dy, context.floats(x) + piece * geometry.inputSize, &window)
    case .average:
      cnl_average_pool_gradient(dx, dy, &window, counts.rows, counts.columns)
    }
  }
}
