import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// y = a·x + b with a = γ/√(σ²+ε) and b = β − a·μ, then the epilogue.
  mutating func emitNormalize(_ normalize: Normalize, epilogue: Epilogue) throws {
    let shape = shape(node.inputs[0])
    let layout = ChannelLayout(shape, axis: normalize.axis)
    let channels = layout.channels
    let x = input(0)
    let coefficients = temporary(floats: 2 * channels)
    let statistics = (1...normalize.statisticsCount).map { input($0) }
    let scale = normalize.scaleIndex.map { input($0) }
    let shift = normalize.shiftIndex.map { input($0) }
    let moments = graph.nodes.first { $0.outputs.contains(node.inputs[1]) }
    let isMasked = normalize.source == .batch && moments?.inputs.count == 2
    emit(
      CoefficientsStep(
        statistics: statistics, source: normalize.source, epsilon: normalize.epsilon, scale: scale,
        shift: shift, isMasked: isMasked, channels: channels, output: coefficients),
      reads: statistics + [scale, shift].compactMap { $0 }, writes: [coefficients],
      suffix: "coefficients")
    let residual = epilogue.residual.map { input($0) }
    let reads = [x, coefficients] + [residual].compactMap { $0 }
    let y = try output()
    switch layout {
    case .planes(let outer, let channels, let inner) where options.batchNormalization == .blas:
      emit(
        BLASPlaneScaleShiftStep(
          x: x, coefficients: coefficients, planes: outer * channels, channels: channels,
          inner: inner, y: y),
        reads: [x, coefficients], writes: [y])
      if residual != nil || epilogue.clamps {
        emitAddClamp(y, residual, epilogue, count: shape.count)
      }
    case .planes(let outer, let channels, let inner):
      emit(
        PlaneScaleShiftStep(
          x: x, coefficients: coefficients, outer: outer, channels: channels, inner: inner,
          low: residual == nil ? epilogue.low : -.infinity,
          high: residual == nil ? epilogue.high : .infinity, y: y),
        reads: reads, writes: [y])
      if let residual { emitAddClamp(y, residual, epilogue, count: shape.count) }
    case .rows(let rows, let channels):
      let pieces = Pieces(rows, size: max(1, (32 << 10) / max(channels, 1)))
      if options.batchNormalization == .blas {
        emit(
          BLASScaleShiftStep(
            x: x, coefficients: coefficients, rows: pieces, channels: channels, y: y),
          reads: [x, coefficients], writes: [y])
        if residual != nil || epilogue.clamps {
          emitAddClamp(y, residual, epilogue, count: shape.count)
        }
      } else {
        emit(
          ScaleShiftStep(
            x: x, coefficients: coefficients, residual: residual, low: epilogue.low,
            high: epilogue.high, rows: pieces, channels: channels, y: y),
          reads: reads, writes: [y])
      }
    }
  }

  /// y ← clamp(y + residual), as a step of its own where a loop has no epilogue.
  mutating func emitAddClamp(
    _ y: Buffer, _ residual: Buffer?, _ epilogue: Epilogue, count: Int
  ) {
    emit(
      AddClampStep(y: y, residual: residual, low: epilogue.low, high: epilogue.high, count: count),
      reads: [y] + [residual].compactMap { $0 }, writes: [y], suffix: "epilogue")
  }
}

/// a and b of y = a·x + b for every channel, computed in Double.
final class CoefficientsStep: Step {
  let statistics: [Buffer]
  let source: StatisticsSource
  let epsilon: Double
  let scale: Buffer?
  let shift: Buffer?
  let isMasked: Bool
  let channels: Int
  let output: Buffer

  init(
    statistics: [Buffer], source: StatisticsSource, epsilon: Double, scale: Buffer?,
    shift: Buffer?, isMasked: Bool, channels: Int, output: Buffer
  ) {
    self.statistics = statistics
    self.source = source
    self.epsilon = epsilon
    self.scale = scale
    self.shift = shift
    self.isMasked = isMasked
    self.channels = channels
    self.output = output
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let a = context.floats(output)
    let b = a + channels
    let gamma = scale.map { context.floats($0) }
    let beta = shift.map { context.floats($0) }
    let reader = StatisticsReader(statistics, source: source, in: context)
    if let batch = reader.batch, let gamma, let beta, !isMasked {
      cnl_scale_shift_coefficients(
        a, b, batch.mean, batch.m2, batch.count, gamma, beta, epsilon, channels)
      return
    }
    for c in 0..<channels {
      let (mean, variance) = reader[c]
      var factor = Double(gamma?[c] ?? 1) / (variance + epsilon).squareRoot()
      // M2 = 0: every x that counted is μ, so y = β; a·x + b would leave the rounding of a·μ behind.
      if source == .batch, !isMasked, variance == 0 { factor = 0 }
      a[c] = Float(factor)
      // With a as it is used, so that far from zero only b's own rounding is left of a·μ.
      b[c] = Float(Double(beta?[c] ?? 0) - Double(a[c]) * mean)
    }
  }
}

/// Mean and population variance of a channel, from the batch's triple or from running statistics.
struct StatisticsReader {
  let batch: (count: Double, mean: UnsafePointer<Double>, m2: UnsafePointer<Double>)?
  private let running: (mean: UnsafePointer<Float>, variance: UnsafePointer<Float>)?

  init(_ buffers: [Buffer], source: StatisticsSource, in context: Context) {
    switch source {
    case .batch:
      batch = (
        context.doubles(buffers[0])[0], UnsafePointer(context.doubles(buffers[1])),
        UnsafePointer(context.doubles(buffers[2]))
      )
      running = nil
    case .running:
      batch = nil
      running = (
        UnsafePointer(context.floats(buffers[0])), UnsafePointer(context.floats(buffers[1]))
      )
    }
  }

  /// Samples of one channel; 0 for running statistics.
  var count: Double { batch?.count ?? 0 }

  subscript(channel: Int) -> (mean: Double, variance: Double) {
    // A mask may leave no samples, whose M2 is 0.
    if let batch { return (batch.mean[channel], batch.m2[channel] / max(batch.count, 1)) }
    if let running { return (Double(running.mean[channel]), Double(running.variance[channel])) }
    return (0, 1)
  }
}

/// y = clamp(a·x + b (+ residual)) over rows of channels.
final class ScaleShiftStep: Step {
  let x: Buffer
  let coefficients: Buffer
  let residual: Buffer?
  let low: Float
  let high: Float
  let rows: Pieces
  let channels: Int
  let y: Buffer

  init(
    x: Buffer, coefficients: Buffer, residual: Buffer?, low: Float, high: Float, rows: Pieces,
    channels: Int, y: Buffer
  ) {
    self.x = x
    self.coefficients = coefficients
    self.residual = residual
    self.low = low
    self.high = high
    self.rows = rows
    self.channels = channels
    self.y = y
  }

  var pieces: Int { rows.count }

  /// Whether results bypass the caches, which would not hold them anyway.
  private var streams: Bool { ChannelLayout.streams(rows: rows.total, channels: channels) }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let offset = range.lowerBound * channels
    let a = context.floats(coefficients)
    let (x, y) = (context.floats(x) + offset, context.floats(y) + offset)
    if let residual {
      cnl_scale_shift_add(
        y, x, context.floats(residual) + offset, a, a + channels, low, high, range.count, channels,
        streams ? 1 : 0)
    } else {
      cnl_scale_shift(
        y, x, a, a + channels, low, high, range.count, channels, streams ? 1 : 0)
    }
  }
}

/// y = clamp(a·x + b), plane by plane of channels-first data.
final class PlaneScaleShiftStep: Step {
  let x: Buffer
  let coefficients: Buffer
  let outer: Int
  let channels: Int
  let inner: Int
  let low: Float
  let high: Float
  let y: Buffer

  init(
    x: Buffer, coefficients: Buffer, outer: Int, channels: Int, inner: Int, low: Float,
    high: Float, y: Buffer
  ) {
    self.x = x
    self.coefficients = coefficients
    self.outer = outer
    self.channels = channels
    self.inner = inner
    self.low = low
    self.high = high
    self.y = y
  }

  var pieces: Int { outer * channels }

  func run(piece: Int, lane: Int, in context: Context) {
    let channel = piece % channels
    let a = context.floats(coefficients)
    cnl_plane_scale_shift(
      context.floats(y) + piece * inner, context.floats(x) + piece * inner, a[channel],
      a[channels + channel], low, high, inner)
  }
}

/// y ← clamp(y + residual).
final class AddClampStep: Step {
  let y: Buffer
  let residual: Buffer?
  let low: Float
  let high: Float
  let range: Pieces

  init(y: Buffer, residual: Buffer?, low: Float, high: Float, count: Int) {
    self.y = y
    self.residual = residual
    self.low = low
    self.high = high
    range = Pieces(count, size: 32 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    let y = context.floats(y) + range.lowerBound
    if let residual {
      cnl_accumulate(y, context.floats(residual) + range.lowerBound, range.count)
    }
    if low > -.infinity || high < .infinity {
      cnl_map(Int32(CNL_CLIP.rawValue), low, high, y, y, range.count)
    }
  }
}
