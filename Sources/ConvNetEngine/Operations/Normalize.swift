import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// y = a·(x − m) + b with a = γ/√(σ²+ε), m = μ in float32 and b = β − a·(μ − m), then the epilogue.
  mutating func emitNormalize(_ normalize: Normalize, epilogue: Epilogue) throws {
    let shape = shape(node.inputs[0])
    let layout = ChannelLayout(shape, axis: normalize.axis)
    let x = input(0)
    let coefficients = coefficients(of: normalize, operands: node.inputs)
    let residual = epilogue.residual.map { input($0) }
    if case .rows(_, shape.dimensions.last) = layout, residual == nil, try isLoadedByPools() {
      loadedNormalizations[node.outputs[0]] = LoadedNormalization(
        coefficients: coefficients, low: epilogue.low, high: epilogue.high)
      return alias(x)
    }
    let y = try output()
    var takesEpilogue = options.batchNormalization == .fused
    if case .planes = layout, residual != nil { takesEpilogue = false }
    emit(
      NormalizeStep(
        x: x, coefficients: coefficients, layout: layout, strategy: options.batchNormalization,
        epilogue: takesEpilogue ? epilogue : .none, residual: takesEpilogue ? residual : nil, y: y),
      reads: [x, coefficients] + [residual].compactMap { takesEpilogue ? $0 : nil }, writes: [y])
    if !takesEpilogue, residual != nil || epilogue.clamps {
      emitAddClamp(y, residual, epilogue, count: shape.count)
    }
  }

  /// The rows m, a and b: of running statistics and γ and β in a store computed when they have changed, of
  /// any others in every run.
  ///
  /// Whoever asks a second time, the gradient, gets the same rows.
  mutating func coefficients(of normalize: Normalize, operands: [Graph.ValueID]) -> Buffer {
    let channels = ChannelLayout(shape(operands[0]), axis: normalize.axis).channels
    let indices =
      Array(1...normalize.statisticsCount)
      + [normalize.scaleIndex, normalize.shiftIndex].compactMap { $0 }
    let key = NormalizeKey(normalize: normalize, operands: indices.map { operands[$0] })
    if let known = normalizeCoefficients[key] { return known }
    let statistics = (1...normalize.statisticsCount).map { buffer(operands[$0]) }
    let scale = normalize.scaleIndex.map { buffer(operands[$0]) }
    let shift = normalize.shiftIndex.map { buffer(operands[$0]) }
    let moments = graph.nodes.first { $0.outputs.contains(operands[1]) }
    let isMasked = normalize.source == .batch && moments?.inputs.count == 2
    let centres = options.batchNormalization == .fused
    let step = { (output: Buffer) in
      CoefficientsStep(
        statistics: statistics, source: normalize.source, epsilon: normalize.epsilon, scale: scale,
        shift: shift, isMasked: isMasked, centres: centres, channels: channels, output: output)
    }
    let kind = [scale != nil, shift != nil, centres].map { $0 ? "1" : "0" }.joined()
    if normalize.source == .running,
      let packed = pack(
        parameters: key.operands,
        layout: "normalize/\(normalize.epsilon)/\(kind)", floatCount: 3 * channels,
        make: { step($1) })
    {
      return packed
    }
    let coefficients = temporary(floats: 3 * channels)
    emit(
      step(coefficients), reads: key.operands.map { buffer($0) }, writes: [coefficients],
      suffix: "coefficients")
    normalizeCoefficients[key] = coefficients
    return coefficients
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

/// What the coefficients of a normalisation depend on.
struct NormalizeKey: Hashable {
  var normalize: Normalize
  /// The statistics, then γ and β.
  var operands: [Graph.ValueID]
}

/// m, a and b of y = a·(x − m) + b for every channel, computed in Double.
///
/// Near m, x − m is exact, and so y is right to float32 however far from zero the channel lies: b carries
/// what rounding took from μ. Without centring, m = 0 and y = a·x + b is off by |μ|/σ·2⁻²⁴.
final class CoefficientsStep: Step {
  let statistics: [Buffer]
  let source: StatisticsSource
  let epsilon: Double
  let scale: Buffer?
  let shift: Buffer?
  let isMasked: Bool
  let centres: Bool
  let channels: Int
  let output: Buffer

  init(
    statistics: [Buffer], source: StatisticsSource, epsilon: Double, scale: Buffer?,
    shift: Buffer?, isMasked: Bool, centres: Bool, channels: Int, output: Buffer
  ) {
    self.statistics = statistics
    self.source = source
    self.epsilon = epsilon
    self.scale = scale
    self.shift = shift
    self.isMasked = isMasked
    self.centres = centres
    self.channels = channels
    self.output = output
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let m = context.floats(output)
    let (a, b) = (m + channels, m + 2 * channels)
    let gamma = scale.map { context.floats($0) }
    let beta = shift.map { context.floats($0) }
    let reader = StatisticsReader(statistics, source: source, in: context)
    if let batch = reader.batch, let gamma, let beta, !isMasked {
      cnl_normalize_coefficients(
        m, a, b, batch.mean, batch.m2, batch.count, gamma, beta, epsilon, centres ? 1 : 0, channels)
      return
    }
    for c in 0..<channels {
      let (mean, variance) = reader[c]
      var factor = Double(gamma?[c] ?? 1) / (variance + epsilon).squareRoot()
      // M2 = 0: every x that counted is μ, so y = β; a·x + b would leave the rounding of a·μ behind.
      if source == .batch, !isMasked, variance == 0 { factor = 0 }
      m[c] = centres ? Float(mean) : 0
      a[c] = Float(factor)
      // With a as it is used, so that nothing but b's own rounding is left of a·(μ − m).
      b[c] = Float(Double(beta?[c] ?? 0) - Double(a[c]) * (mean - Double(m[c])))
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

/// y = clamp(a·(x − m) + b (+ residual)), row by row or, without a residual, plane by plane.
final class NormalizeStep: Step {
  let x: Buffer
  /// Three rows: m, a and b.
  let coefficients: Buffer
  let layout: ChannelLayout
  let strategy: PlanOptions.BatchNormalizationStrategy
  let low: Float
  let high: Float
  let residual: Buffer?
  let y: Buffer

  init(
    x: Buffer, coefficients: Buffer, layout: ChannelLayout,
    strategy: PlanOptions.BatchNormalizationStrategy, epilogue: Epilogue, residual: Buffer?,
    y: Buffer
  ) {
    self.x = x
    self.coefficients = coefficients
    self.layout = layout
    self.strategy = strategy
    (low, high) = (epilogue.low, epilogue.high)
    self.residual = residual
    self.y = y
  }

  var pieces: Int { layout.mapped.count }
  var scratchByteCount: Int { strategy == .blas ? DiagonalProduct.scratchByteCount : 0 }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = layout.mapped.range(piece)
    let m = context.floats(coefficients)
    let (a, b) = (m + layout.channels, m + 2 * layout.channels)
    let offset = range.lowerBound * layout.mappedExtent
    let (x, y) = (context.floats(x) + offset, context.floats(y) + offset)
    switch (layout, strategy) {
    case (.rows, .fused): runRows(range.count, y, x, offset: offset, m, a, b, in: context)
    case (.rows, .blas):
      scaleByBLAS(x, range.count, a, b, to: y, scratch: context.scratch(lane: lane))
    case (.planes(_, let channels, let inner), _):
      guard !range.isEmpty else { return }
      let c = piece % channels
      switch strategy {
      case .fused: cnl_plane_normalize(y, x, m[c], a[c], b[c], low, high, inner)
      case .blas: scalePlaneByBLAS(x, inner, a[c], b[c], to: y)
      }
    }
  }

  private func runRows(
    _ rows: Int, _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, offset: Int,
    _ m: UnsafePointer<Float>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
    in context: Context
  ) {
    let streams: Int32 = layout.streams ? 1 : 0
    if let residual {
      cnl_normalize_add(
        y, x, context.floats(residual) + offset, m, a, b, low, high, rows, layout.channels, streams)
    } else {
      cnl_normalize(y, x, m, a, b, low, high, rows, layout.channels, streams)
    }
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
