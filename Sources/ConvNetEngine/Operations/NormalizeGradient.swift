import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// dβ = Σ dy and dγ = Σ dy·x̂ of every channel.
  mutating func emitNormalizeGradientSums(_ gradient: NormalizeGradient, gate: Gate?) throws {
    let layout = ChannelLayout(shape(node.inputs[1]), axis: gradient.axis)
    let (dy, x) = (input(0), input(1))
    let statistics = (2..<(2 + gradient.statisticsCount)).map { input($0) }
    let sums = try (shift: output(0), scale: output(1))
    let parts =
      partialSums[node.outputs[0]]
      ?? emitGradientSums(gradient, dy: dy, x: x, statistics: statistics, layout, gate: gate)
    emit(
      MergeGradientSumsStep(
        parts: parts.parts, partCount: parts.counts.count, statistics: statistics,
        source: gradient.source, epsilon: gradient.epsilon, channels: layout.channels,
        shift: sums.shift, scale: sums.scale),
      reads: [parts.parts] + statistics, writes: [sums.shift, sums.scale], suffix: "merge")
  }

  private mutating func emitGradientSums(
    _ gradient: NormalizeGradient, dy: Buffer, x: Buffer, statistics: [Buffer],
    _ layout: ChannelLayout, gate: Gate?
  ) -> PartialSums {
    let pieces: Pieces
    switch layout {
    case .rows(let rows, let channels):
      pieces = ChannelLayout.pieces(rows: rows, channels: channels)
    case .planes(let outer, _, _): pieces = Pieces(outer, size: 1)
    }
    let parts = temporary(doubles: pieces.count * 2 * layout.channels)
    emit(
      GradientSumsStep(
        dy: dy, x: x, gate: gate, statistics: statistics, source: gradient.source, layout: layout,
        rows: pieces, strategy: options.batchNormalization, parts: parts),
      reads: [dy, x] + statistics + [gate?.coefficients].compactMap { $0 }, writes: [parts])
    return PartialSums(parts: parts, counts: pieces.sizes)
  }

  /// dx = γ/√(σ²+ε)·(dy − dβ/m − x̂·dγ/m), or γ/√(σ²+ε)·dy with running statistics.
  mutating func emitNormalizeGradientInput(_ gradient: NormalizeGradient, gate: Gate?) throws {
    let layout = ChannelLayout(shape(node.inputs[1]), axis: gradient.axis)
    let channels = layout.channels
    let (dy, x) = (input(0), input(1))
    let statistics = (2..<(2 + gradient.statisticsCount)).map { input($0) }
    let sumCount = gradient.source == .batch ? 2 : 0
    let sums = (0..<sumCount).map { input(2 + gradient.statisticsCount + $0) }
    let scale = gradient.scaleIndex.map { input($0) }
    let coefficients = temporary(floats: 4 * channels)
    // A masked gradient has a loop of its own, whatever the strategy.
    let centres = options.batchNormalization == .fused || gradient.maskIndex != nil
    emit(
      GradientCoefficientsStep(
        statistics: statistics, source: gradient.source, epsilon: gradient.epsilon, sums: sums,
        scale: scale, centres: centres, channels: channels, output: coefficients),
      reads: statistics + sums + [scale].compactMap { $0 }, writes: [coefficients],
      suffix: "coefficients")
    let dx = try output()
    if let mask = gradient.maskIndex {
      return emitMaskedGradient(
        dy: dy, x: x, coefficients: coefficients, mask: mask, layout: layout, dx: dx)
    }
    emit(
      NormalizeGradientStep(
        dy: dy, x: x, gate: gate, coefficients: coefficients, layout: layout,
        strategy: options.batchNormalization, dx: dx),
      reads: [dy, x, coefficients] + [gate?.coefficients].compactMap { $0 }, writes: [dx])
  }
}

/// Σ dy and Σ dy·(x − μ) of each range of rows, or of each image's planes, in Double.
final class GradientSumsStep: Step {
  let dy: Buffer
  let x: Buffer
  /// What makes dy of dz while it is read, if anything; over rows only.
  let gate: Gate?
  let statistics: [Buffer]
  let source: StatisticsSource
  let layout: ChannelLayout
  let rows: Pieces
  let strategy: PlanOptions.BatchNormalizationStrategy
  /// Per piece a row of Σ dy and one of Σ dy·(x − μ).
  let parts: Buffer

  init(
    dy: Buffer, x: Buffer, gate: Gate?, statistics: [Buffer], source: StatisticsSource,
    layout: ChannelLayout, rows: Pieces, strategy: PlanOptions.BatchNormalizationStrategy,
    parts: Buffer
  ) {
    self.dy = dy
    self.x = x
    self.gate = gate
    self.statistics = statistics
    self.source = source
    self.layout = layout
    self.rows = rows
    self.strategy = strategy
    self.parts = parts
  }

  var pieces: Int { rows.count }
  /// The mean and two block sums; then what BLAS needs.
  var scratchByteCount: Int {
    (3 * stride + (strategy == .blas ? max(ColumnSums.scratchCount, Self.planeBlock) : 0)) * 4
  }

  /// Elements of a plane whose float sums are added up in Double.
  private static let planeBlock = 2048

  private var stride: Int { (layout.channels + 15) / 16 * 16 }

  func run(piece: Int, lane: Int, in context: Context) {
    let channels = layout.channels
    let sums = context.doubles(parts) + piece * 2 * channels
    sums.update(repeating: 0, count: 2 * channels)
    let mean = context.scratch(lane: lane)
    let reader = StatisticsReader(statistics, source: source, in: context)
    if let batch = reader.batch {
      cnl_to_float(mean, batch.mean, channels)
    } else {
      for c in 0..<channels { mean[c] = Float(reader[c].mean) }
    }
    let (sumG, sumGX) = (mean + stride, mean + 2 * stride)
    let range = rows.range(piece)
    switch layout {
    case .rows:
      let columns = ColumnSums(channels: channels)
      let most = strategy == .blas ? columns.blockRows : ChannelLayout.blockRows
      var row = range.lowerBound
      while row < range.upperBound {
        let block = min(most, range.upperBound - row)
        let (dy, x) = (context.floats(dy) + row * channels, context.floats(x) + row * channels)
        switch strategy {
        case .fused:
          if let gate {
            let (m, a, b) = gate.rows(channels, in: context)
            cnl_gated_gradient_sums_block(
              sumG, sumGX, dy, x, channels, m, a, b, gate.low, gate.high, block, channels)
          } else {
            cnl_gradient_sums_block(sumG, sumGX, dy, x, channels, mean, block, channels)
          }
        case .blas:
          columns.sum(
            rows: block, vector: mean, first: sumG, second: sumGX, scratch: mean + 3 * stride
          ) { cnl_gradient_terms($0, dy + $1, x + $1, $2, $3, $4, $5) }
        }
        cnl_accumulate_doubles(sums, sumG, channels)
        cnl_accumulate_doubles(sums + channels, sumGX, channels)
        row += block
      }
    case .planes(_, _, let inner):
      guard !range.isEmpty else { return }
      for c in 0..<channels {
        let offset = (piece * channels + c) * inner
        for start in Swift.stride(from: 0, to: inner, by: Self.planeBlock) {
          let (dy, x) = (
            context.floats(dy) + offset + start, context.floats(x) + offset + start
          )
          let count = min(Self.planeBlock, inner - start)
          switch strategy {
          case .fused: cnl_plane_gradient_sums(sumG, sumGX, dy, x, mean[c], count)
          case .blas:
            (sumG[0], sumGX[0]) = planeSumsByBLAS(
              dy: dy, x: x, count: count, mean: mean[c], scratch: mean + 3 * stride)
          }
          sums[c] += Double(sumG[0])
          sums[channels + c] += Double(sumGX[0])
        }
      }
    }
  }
}

/// Adds the parts in order; corrects for the mean having been rounded to float; divides by √(σ²+ε).
final class MergeGradientSumsStep: Step {
  let parts: Buffer
  let partCount: Int
  let statistics: [Buffer]
  let source: StatisticsSource
  let epsilon: Double
  let channels: Int
  let shift: Buffer
  let scale: Buffer

  init(
    parts: Buffer, partCount: Int, statistics: [Buffer], source: StatisticsSource,
    epsilon: Double, channels: Int, shift: Buffer, scale: Buffer
  ) {
    self.parts = parts
    self.partCount = partCount
    self.statistics = statistics
    self.source = source
    self.epsilon = epsilon
    self.channels = channels
    self.shift = shift
    self.scale = scale
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let parts = context.doubles(parts)
    let (shift, scale) = (context.doubles(shift), context.doubles(scale))
    shift.update(repeating: 0, count: channels)
    scale.update(repeating: 0, count: channels)
    for part in 0..<partCount {
      let sums = parts + part * 2 * channels
      cnl_add_doubles(shift, sums, channels)
      cnl_add_doubles(scale, sums + channels, channels)
    }
    let reader = StatisticsReader(statistics, source: source, in: context)
    if let batch = reader.batch, batch.count >= 1 {
      cnl_gradient_sums_finish(
        scale, shift, batch.mean, batch.m2, batch.count, epsilon, channels)
      return
    }
    for c in 0..<channels {
      // Σ dy·(x − μ) = Σ dy·(x − m) − (μ − m)·Σ dy, with m the mean as the loop used it.
      let (mean, variance) = reader[c]
      let corrected = scale[c] - (mean - Double(Float(mean))) * shift[c]
      scale[c] = corrected / (variance + epsilon).squareRoot()
    }
  }
}

/// m, a, b and k of dx = a·dy + b·(x − m) + k for every channel, in Double; m as in the forward pass.
final class GradientCoefficientsStep: Step {
  let statistics: [Buffer]
  let source: StatisticsSource
  let epsilon: Double
  let sums: [Buffer]
  let scale: Buffer?
  let centres: Bool
  let channels: Int
  let output: Buffer

  init(
    statistics: [Buffer], source: StatisticsSource, epsilon: Double, sums: [Buffer],
    scale: Buffer?, centres: Bool, channels: Int, output: Buffer
  ) {
    self.statistics = statistics
    self.source = source
    self.epsilon = epsilon
    self.sums = sums
    self.scale = scale
    self.centres = centres
    self.channels = channels
    self.output = output
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let m = context.floats(output)
    let (a, b, k) = (m + channels, m + 2 * channels, m + 3 * channels)
    let gamma = scale.map { context.floats($0) }
    let reader = StatisticsReader(statistics, source: source, in: context)
    if let batch = reader.batch, let gamma, sums.count == 2, batch.count >= 1 {
      cnl_gradient_coefficients(
        m, a, b, k, batch.mean, batch.m2, batch.count, gamma, context.doubles(sums[0]),
        context.doubles(sums[1]), epsilon, centres ? 1 : 0, channels)
      return
    }
    let count = max(reader.count, 1)
    for c in 0..<channels {
      let (mean, variance) = reader[c]
      let inverse = 1 / (variance + epsilon).squareRoot()
      let factor = Double(gamma?[c] ?? 1) * inverse
      var (slope, offset) = (0.0, 0.0)
      if sums.count == 2 {
        slope = -factor * inverse * context.doubles(sums[1])[c] / count
        offset = -factor * context.doubles(sums[0])[c] / count
      }
      (m[c], a[c], b[c]) = (centres ? Float(mean) : 0, Float(factor), Float(slope))
      // With b as it is used, so that nothing but k's own rounding is left of b·(μ − m).
      k[c] = Float(offset - Double(b[c]) * (mean - Double(m[c])))
    }
  }
}

/// dx = a·dy + b·(x − m) + k, row by row or plane by plane.
final class NormalizeGradientStep: Step {
  let dy: Buffer
  let x: Buffer
  /// What makes dy of dz while it is read, if anything; over rows only.
  let gate: Gate?
  /// Four rows: m, a, b and k.
  let coefficients: Buffer
  let layout: ChannelLayout
  let strategy: PlanOptions.BatchNormalizationStrategy
  let dx: Buffer

  init(
    dy: Buffer, x: Buffer, gate: Gate?, coefficients: Buffer, layout: ChannelLayout,
    strategy: PlanOptions.BatchNormalizationStrategy, dx: Buffer
  ) {
    self.dy = dy
    self.x = x
    self.gate = gate
    self.coefficients = coefficients
    self.layout = layout
    self.strategy = strategy
    self.dx = dx
  }

  var pieces: Int { layout.mapped.count }
  var scratchByteCount: Int { strategy == .blas ? DiagonalProduct.scratchByteCount : 0 }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = layout.mapped.range(piece)
    guard !range.isEmpty else { return }
    let channels = layout.channels
    let m = context.floats(coefficients)
    let (a, b, k) = (m + channels, m + 2 * channels, m + 3 * channels)
    let offset = range.lowerBound * layout.mappedExtent
    let (dy, x, dx) = (
      context.floats(dy) + offset, context.floats(x) + offset, context.floats(dx) + offset
    )
    switch (layout, strategy) {
    case (.rows, .fused):
      let streams: Int32 = layout.streams ? 1 : 0
      if let gate {
        let (_, gateA, gateB) = gate.rows(channels, in: context)
        cnl_gated_normalize_gradient(
          dx, dy, x, m, a, b, k, gateA, gateB, gate.low, gate.high, range.count, channels, streams)
      } else {
        cnl_normalize_gradient(dx, dy, x, m, a, b, k, range.count, channels, streams)
      }
    case (.rows, .blas):
      combineByBLAS(
        dy: dy, x: x, range.count, a, b, k, to: dx, scratch: context.scratch(lane: lane))
    case (.planes(_, _, let inner), _):
      let c = piece % channels
      switch strategy {
      case .fused: cnl_plane_normalize_gradient(dx, dy, x, m[c], a[c], b[c], k[c], inner)
      case .blas: combinePlaneByBLAS(dy: dy, x: x, inner, a[c], b[c], k[c], to: dx)
      }
    }
  }
}
