import ConvNetGraph

/// How the elements of a value lie around its channel axis: flat index = (o·C + c)·inner + i.
private struct ChannelLayout {
  var outer: Int
  var channels: Int
  var inner: Int

  init(_ shape: Shape, axis: Int) {
    let axis = axis < 0 ? axis + shape.rank : axis
    outer = shape.dimensions[..<axis].reduce(1, *)
    channels = shape[axis]
    inner = shape.dimensions[(axis + 1)...].reduce(1, *)
  }

  /// m, the samples of a channel.
  var samples: Int { outer * inner }

  /// Calls a closure with every flat index and its channel.
  func forEach(_ body: (_ index: Int, _ channel: Int) -> Void) {
    for o in 0..<outer {
      for c in 0..<channels {
        for i in 0..<inner { body((o * channels + c) * inner + i, c) }
      }
    }
  }
}

/// Mean and 1/√(σ² + ε) of every channel, from either kind of statistics.
private struct ChannelStatistics {
  var mean: [Double]
  var inverse: [Double]

  /// Batch statistics are count, mean and M2, with σ² = M2/m; running ones are mean and σ².
  init(_ operands: ArraySlice<ReferenceTensor>, source: StatisticsSource, epsilon: Double) {
    let statistics = operands.map(\.values)
    switch source {
    case .batch:
      mean = statistics[1]
      // A mask may leave no samples, whose M2 is 0.
      let m = max(statistics[0][0], 1)
      inverse = statistics[2].map { 1 / ($0 / m + epsilon).squareRoot() }
    case .running:
      mean = statistics[0]
      inverse = statistics[1].map { 1 / ($0 + epsilon).squareRoot() }
    }
  }
}

extension BatchMoments {
  /// m, μ = Σx/m and M2 = Σ(x − μ)², in two passes.
  ///
  /// No samples have mean 0 and M2 0, which merge with other moments as nothing.
  func evaluate(_ operands: [ReferenceTensor]) -> [[Double]] {
    let x = operands[0]
    let layout = ChannelLayout(x.shape, axis: axis)
    if operands.count == 2 { return evaluate(x, layout, mask: operands[1]) }
    let m = Double(layout.samples)
    var mean = [Double](repeating: 0, count: layout.channels)
    var m2 = mean
    if m > 0 {
      layout.forEach { mean[$1] += x.values[$0] }
      mean = mean.map { $0 / m }
      layout.forEach { m2[$1] += (x.values[$0] - mean[$1]) * (x.values[$0] - mean[$1]) }
    }
    return [[m], mean, m2]
  }

  /// The same over the positions where the mask is not 0.
  private func evaluate(
    _ x: ReferenceTensor, _ layout: ChannelLayout, mask: ReferenceTensor
  ) -> [[Double]] {
    var mean = [Double](repeating: 0, count: layout.channels)
    var (m2, m) = (mean, mean)
    func isValid(_ index: Int) -> Bool { mask.isValid(index, of: x) }
    layout.forEach { index, c in
      guard isValid(index) else { return }
      mean[c] += x.values[index]
      m[c] += 1
    }
    for c in mean.indices where m[c] > 0 { mean[c] /= m[c] }
    layout.forEach { index, c in
      guard isValid(index) else { return }
      m2[c] += (x.values[index] - mean[c]) * (x.values[index] - mean[c])
    }
    return [[m.first ?? 0], mean, m2]
  }
}

extension ReferenceTensor {
  /// Whether a mask over the leading axes of x has something else than 0 at an element of x.
  fileprivate func isValid(_ index: Int, of x: ReferenceTensor) -> Bool {
    values[index / (x.shape.count / shape.count)] != 0
  }
}

extension Renormalize {
  /// r and d of every channel.
  func evaluate(_ operands: [ReferenceTensor]) -> [[Double]] {
    let values = operands.map(\.values)
    let results = values[1].indices.map { c in
      factors(
        mean: values[1][c], variance: values[2][c] / max(values[0][0], 1),
        runningMean: values[3][c], runningVariance: values[4][c], scaleLimit: values[5][0],
        shiftLimit: values[5][1])
    }
    return [results.map(\.scale), results.map(\.shift)]
  }
}

extension Normalize {
  /// y = γ·(x − μ)/√(σ² + ε) + β.
  func evaluate(_ operands: [ReferenceTensor]) -> [Double] {
    let x = operands[0]
    let layout = ChannelLayout(x.shape, axis: axis)
    let statistics = ChannelStatistics(
      operands[1...statisticsCount], source: source, epsilon: epsilon)
    let scale = scaleIndex.map { operands[$0].values }
    let shift = shiftIndex.map { operands[$0].values }
    var y = x.values
    layout.forEach { index, c in
      let normalized = (x.values[index] - statistics.mean[c]) * statistics.inverse[c]
      y[index] = (scale?[c] ?? 1) * normalized + (shift?[c] ?? 0)
    }
    return y
  }
}

extension NormalizeGradient {
  /// dβ = Σ dy and dγ = Σ dy·x̂.
  func evaluateSums(_ operands: [ReferenceTensor]) -> [[Double]] {
    let (dy, x) = (operands[0], operands[1])
    let layout = ChannelLayout(x.shape, axis: axis)
    let statistics = ChannelStatistics(
      operands[2..<(2 + statisticsCount)], source: source, epsilon: epsilon)
    var shift = [Double](repeating: 0, count: layout.channels)
    var scale = shift
    layout.forEach { index, c in
      shift[c] += dy.values[index]
      scale[c] += dy.values[index] * (x.values[index] - statistics.mean[c]) * statistics.inverse[c]
    }
    return [shift, scale]
  }

  /// dx = γ/√(σ² + ε)·(dy − dβ/m − x̂·dγ/m) with batch statistics; with running ones, which do not
  /// depend on x, and where a mask keeps x out of the statistics, dx = γ/√(σ² + ε)·dy.
  func evaluateInput(_ operands: [ReferenceTensor]) -> [Double] {
    let (dy, x) = (operands[0], operands[1])
    let layout = ChannelLayout(x.shape, axis: axis)
    let statistics = ChannelStatistics(
      operands[2..<(2 + statisticsCount)], source: source, epsilon: epsilon)
    let scale = scaleIndex.map { operands[$0].values }
    var dx = dy.values
    layout.forEach { index, c in
      var centred = dy.values[index]
      if source == .batch, maskIndex.map({ operands[$0].isValid(index, of: x) }) ?? true {
        let m = operands[2].values[0]
        let (shiftSum, scaleSum) = (operands[5].values[c], operands[6].values[c])
        let normalized = (x.values[index] - statistics.mean[c]) * statistics.inverse[c]
        centred -= shiftSum / m + normalized * scaleSum / m
      }
      dx[index] = (scale?[c] ?? 1) * statistics.inverse[c] * centred
    }
    return dx
  }
}
