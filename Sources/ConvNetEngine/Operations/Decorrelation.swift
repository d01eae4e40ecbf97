import ConvNetGraph

extension PlanCompiler {
  /// count, mean and the co-moments of every group of channels.
  mutating func emitCovariance(_ covariance: Covariance) throws {
    let groups = ChannelGroups(shape(node.inputs[0]), size: covariance.groupSize)
    guard groups.rows != 1 else {
      throw PlanError(
        .singleSample,
        "an input \(shape(node.inputs[0])) has one sample per channel, which has no covariance; use "
          + "larger batches",
        at: covariance.running?.layer ?? node.name)
    }
    let x = input(0)
    let outputs = try (count: output(0), mean: output(1), moments: output(2))
    let variances = temporary(doubles: groups.channels)
    let means = emitRowMoments(x, rows: groups.rows, channels: groups.channels, suffix: "means")
    emit(
      MergeMomentsStep(
        sums: means, channels: groups.channels, count: outputs.count, mean: outputs.mean,
        m2: variances),
      reads: [means.parts], writes: [outputs.count, outputs.mean, variances], suffix: "merge")
    let parts = temporary(doubles: groups.pieces.count * groups.channels * groups.size)
    emit(
      CrossMomentsStep(
        groups, x: x, mean: outputs.mean, other: nil, parts: parts),
      reads: [x, outputs.mean], writes: [parts])
    emit(
      MergeCrossMomentsStep(
        parts: parts, partCount: groups.pieces.count, size: groups.channels * groups.size,
        output: outputs.moments),
      reads: [parts], writes: [outputs.moments], suffix: "sums")
  }

  /// y = (x − μ)·Σ^(−1/2).
  ///
  /// The matrices of running statistics in a store are made when they have changed, others in every run.
  mutating func emitDecorrelate(_ decorrelate: Decorrelate) throws {
    let groups = ChannelGroups(shape(node.inputs[0]), size: decorrelate.groupSize)
    let x = input(0)
    let indices = 1...decorrelate.statisticsCount
    let statistics = GroupStatistics(indices.map { input($0) }, decorrelate)
    let step = { (output: Buffer) in
      WhiteningStep(
        groups, statistics, crossMoments: nil, output: GroupMatrices(buffer: output, groups: groups)
      )
    }
    var packed: Buffer?
    if decorrelate.source == .running {
      packed = pack(
        parameters: indices.map { node.inputs[$0] },
        layout: "whitening/\(decorrelate.groupSize)/\(decorrelate.epsilon)",
        floatCount: groups.matrixCount, make: { step($1) })
    }
    let matrices = packed ?? temporary(floats: groups.matrixCount)
    if packed == nil {
      emit(
        step(matrices), reads: statistics.buffers, writes: [matrices], suffix: "eigenvalues")
    }
    let y = try output()
    emit(
      GroupProductStep(
        groups, plain: nil, centred: x, GroupMatrices(buffer: matrices, groups: groups), output: y),
      reads: [x, matrices], writes: [y])
  }

  /// dx = (dy − Σdy/m)·W + (2/m)·(x − μ)·dΣ.
  mutating func emitDecorrelateGradient(_ decorrelate: Decorrelate) throws {
    let groups = ChannelGroups(shape(node.inputs[1]), size: decorrelate.groupSize)
    let (dy, x) = (input(0), input(1))
    let statistics = (0..<decorrelate.statisticsCount).map { input(2 + $0) }
    let product = GroupMatrices(
      buffer: temporary(floats: groups.matrixCount), groups: groups)
    var cross: Buffer?
    if decorrelate.source == .batch {
      let size = groups.count * (groups.size + 1) * groups.size
      let parts = temporary(doubles: groups.pieces.count * size)
      emit(
        CrossMomentsStep(groups, x: x, mean: statistics[1], other: dy, parts: parts),
        reads: [x, dy, statistics[1]], writes: [parts], suffix: "products")
      let sums = temporary(doubles: size)
      emit(
        MergeCrossMomentsStep(
          parts: parts, partCount: groups.pieces.count, size: size, output: sums),
        reads: [parts], writes: [sums], suffix: "sums")
      cross = sums
    }
    emit(
      WhiteningStep(
        groups, GroupStatistics(statistics, decorrelate), crossMoments: cross, output: product,
        isGradient: true),
      reads: statistics + [cross].compactMap { $0 }, writes: [product.buffer],
      suffix: "eigenvalues")
    let dx = try output()
    let centred = decorrelate.source == .batch ? x : nil
    emit(
      GroupProductStep(groups, plain: dy, centred: centred, product, output: dx),
      reads: [dy, x, product.buffer], writes: [dx])
  }
}

/// Rows of channels in groups of neighbours.
struct ChannelGroups: Sendable {
  let rows: Int
  let channels: Int
  /// g, the channels of a group.
  let size: Int
  /// Ranges of rows whose sums are taken apart and merged in order; at most 16.
  let pieces: Pieces

  init(_ shape: Shape, size: Int) {
    channels = shape[shape.rank - 1]
    rows = channels == 0 ? 0 : shape.count / channels
    self.size = size
    pieces = Pieces(rows, size: (rows + 15) / 16, unit: ChannelLayout.blockRows)
  }

  var count: Int { channels / size }

  /// Floats of `GroupMatrices`.
  var matrixCount: Int { 2 * channels * (size + 1) }
}

/// What a product of rows with one matrix for each group of channels reads:
/// out = plain·A + (centred − s)·B + b.
struct GroupMatrices: Sendable {
  /// A and B, `[C, g]` each, then s and b, `[C]` each.
  let buffer: Buffer
  let groups: ChannelGroups

  func plain(in context: Context) -> UnsafeMutablePointer<Float> { context.floats(buffer) }

  func centred(in context: Context) -> UnsafeMutablePointer<Float> {
    context.floats(buffer) + groups.channels * groups.size
  }

  func shift(in context: Context) -> UnsafeMutablePointer<Float> {
    context.floats(buffer) + 2 * groups.channels * groups.size
  }

  func bias(in context: Context) -> UnsafeMutablePointer<Float> {
    shift(in: context) + groups.channels
  }
}

/// Mean and covariance of every group of channels, from either kind of statistics.
struct GroupStatistics: Sendable {
  let buffers: [Buffer]
  let source: StatisticsSource
  let epsilon: Double

  init(_ buffers: [Buffer], _ attributes: Decorrelate) {
    self.buffers = buffers
    (source, epsilon) = (attributes.source, attributes.epsilon)
  }

  /// m; 1 for running statistics.
  func count(in context: Context) -> Double {
    source == .batch ? max(context.doubles(buffers[0])[0], 1) : 1
  }

  func mean(_ channel: Int, in context: Context) -> Double {
    source == .batch
      ? context.doubles(buffers[1])[channel] : Double(context.floats(buffers[0])[channel])
  }

  /// Copies a group's covariance and says whether all of it is finite.
  func copyCovariance(
    _ group: Int, size: Int, to matrix: UnsafeMutablePointer<Double>, in context: Context
  ) -> Bool {
    let (start, factor) = (group * size * size, 1 / count(in: context))
    var isFinite = true
    for i in 0..<size * size {
      matrix[i] =
        source == .batch
        ? context.doubles(buffers[2])[start + i] * factor
        : Double(context.floats(buffers[1])[start + i])
      if !matrix[i].isFinite { isFinite = false }
    }
    return isFinite
  }
}
