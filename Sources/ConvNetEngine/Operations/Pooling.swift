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
    let geometry = try poolGeometry(window, input: node.inputs[0])
    let x = input(0)
    let y = try output()
    emit(PoolStep(kind, geometry: geometry, x: x, y: y), reads: [x], writes: [y])
  }

  mutating func emitMaxPoolGradient(_ window: Window) throws {
    let geometry = try poolGeometry(window, input: node.inputs[1])
    let (dy, x) = (input(0), input(1))
    let dx = try output()
    emit(
      PoolGradientStep(.maximum, geometry: geometry, dy: dy, x: x, dx: dx), reads: [dy, x],
      writes: [dx])
  }

  mutating func emitAveragePoolGradient(_ pool: AveragePool) throws {
    let geometry = try poolGeometry(pool.window, input: node.inputs[1])
    let dy = input(0)
    let dx = try output()
    emit(
      PoolGradientStep(
        .average(countsPadding: pool.countsPadding), geometry: geometry, dy: dy, x: dy, dx: dx),
      reads: [dy], writes: [dx])
  }

  private func poolGeometry(_ window: Window, input: Graph.ValueID) throws -> PoolGeometry {
    guard window.rank == 2 else {
      throw unsupported("pooling over \(window.rank) spatial dimensions")
    }
    return try PoolGeometry(window, shape(input))
  }
}

/// Pooling with every number known.
struct PoolGeometry: Sendable {
  let images: Int
  let vertical: Window.Axis
  let horizontal: Window.Axis
  let channels: Int

  init(_ window: Window, _ input: Shape) throws {
    images = input[0]
    vertical = try window.axis(0, input: input[1])
    horizontal = try window.axis(1, input: input[2])
    channels = input[3]
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
  }

  let kind: Kind
  let geometry: PoolGeometry
  let rows: Pieces
  let x: Buffer
  let y: Buffer

  init(_ kind: Kind, geometry: PoolGeometry, x: Buffer, y: Buffer) {
    self.kind = kind
    self.geometry = geometry
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
    case .average(let countsPadding):
      cnl_average_pool(y, x, &window, countsPadding ? 1 : 0, range.lowerBound, range.upperBound)
    }
  }
}

/// The gradient of pooling, image by image, because windows overlap.
final class PoolGradientStep: Step {
  let kind: PoolStep.Kind
  let geometry: PoolGeometry
  let dy: Buffer
  let x: Buffer
  let dx: Buffer

  init(_ kind: PoolStep.Kind, geometry: PoolGeometry, dy: Buffer, x: Buffer, dx: Buffer) {
    self.kind = kind
    self.geometry = geometry
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
    case .average(let countsPadding):
      cnl_average_pool_gradient(dx, dy, &window, countsPadding ? 1 : 0)
    }
  }
}
