import ConvNetGraph

extension PlanCompiler {
  /// count, mean and M2 of the positions where a mask is not 0.
  mutating func emitMaskedMoments(_ layout: ChannelLayout) throws {
    let (x, mask) = (input(0), input(1))
    let outputs = try (count: output(0), mean: output(1), m2: output(2))
    emit(
      MaskedMomentsStep(
        x: x, mask: mask, layout: MaskedLayout(layout, maskCount: shape(node.inputs[1]).count),
        count: outputs.count, mean: outputs.mean, m2: outputs.m2),
      reads: [x, mask], writes: [outputs.count, outputs.mean, outputs.m2])
  }

  /// dx = a·dy + k·(b·(x − m) + c), k the mask.
  mutating func emitMaskedGradient(
    dy: Buffer, x: Buffer, coefficients: Buffer, mask index: Int, layout: ChannelLayout, dx: Buffer
  ) {
    let mask = input(index)
    emit(
      MaskedGradientStep(
        dy: dy, x: x, coefficients: coefficients, mask: mask,
        layout: MaskedLayout(layout, maskCount: shape(node.inputs[index]).count), dx: dx),
      reads: [dy, x, coefficients, mask], writes: [dx])
  }

  /// The factors r and d of batch renormalisation.
  mutating func emitRenormalize(_ renormalize: Renormalize) throws {
    let operands = (0..<6).map { input($0) }
    let results = try (scale: output(0), shift: output(1))
    emit(
      RenormalizeStep(
        renormalize: renormalize, operands: operands, channels: shape(node.outputs[0]).count,
        scale: results.scale, shift: results.shift),
      reads: operands, writes: [results.scale, results.shift])
  }
}

/// Where the elements of a channel lie, and which element of the mask each belongs to.
struct MaskedLayout: Sendable {
  let outer: Int
  let channels: Int
  let inner: Int
  /// Rows of the outer extent that share an element of the mask, which never cuts the inner extent.
  let rowsPerMask: Int

  init(_ layout: ChannelLayout, maskCount: Int) {
    switch layout {
    case .rows(let rows, let channels): (outer, self.channels, inner) = (rows, channels, 1)
    case .planes(let outer, let channels, let inner):
      (self.outer, self.channels, self.inner) = (outer, channels, inner)
    }
    rowsPerMask = max(outer / max(maskCount, 1), 1)
  }

  /// Calls a closure with the flat index of every element of a channel and whether it is valid.
  func forEach(
    channel: Int, mask: UnsafePointer<Float>, _ body: (_ index: Int, _ isValid: Bool) -> Void
  ) {
    for row in 0..<outer {
      let isValid = mask[row / rowsPerMask] != 0
      let start = (row * channels + channel) * inner
      for index in start..<start + inner { body(index, isValid) }
    }
  }
}

/// Moments of the valid positions, in two passes in Double, a channel at a time.
final class MaskedMomentsStep: Step {
  let x: Buffer
  let mask: Buffer
  let layout: MaskedLayout
  let count: Buffer
  let mean: Buffer
  let m2: Buffer

  init(x: Buffer, mask: Buffer, layout: MaskedLayout, count: Buffer, mean: Buffer, m2: Buffer) {
    self.x = x
    self.mask = mask
    self.layout = layout
    self.count = count
    self.mean = mean
    self.m2 = m2
  }

  var pieces: Int { layout.channels }

  func run(piece: Int, lane: Int, in context: Context) {
    let (x, mask) = (context.floats(x), UnsafePointer(context.floats(mask)))
    var (count, sum, m2) = (0.0, 0.0, 0.0)
    layout.forEach(channel: piece, mask: mask) { index, isValid in
      guard isValid else { return }
      count += 1
      sum += Double(x[index])
    }
    let mean = sum / max(count, 1)
    layout.forEach(channel: piece, mask: mask) { index, isValid in
      guard isValid else { return }
      let difference = Double(x[index]) - mean
      m2 += difference * difference
    }
    context.doubles(self.mean)[piece] = mean
    context.doubles(self.m2)[piece] = m2
    if piece == 0 { context.doubles(self.count)[0] = count }
  }
}

/// dx = a·dy + k·(b·(x − m) + c), k the mask.
final class MaskedGradientStep: Step {
  let dy: Buffer
  let x: Buffer
  let coefficients: Buffer
  let mask: Buffer
  let layout: MaskedLayout
  let dx: Buffer

  init(
    dy: Buffer, x: Buffer, coefficients: Buffer, mask: Buffer, layout: MaskedLayout, dx: Buffer
  ) {
    self.dy = dy
    self.x = x
    self.coefficients = coefficients
    self.mask = mask
    self.layout = layout
    self.dx = dx
  }

  var pieces: Int { layout.channels }

  func run(piece: Int, lane: Int, in context: Context) {
    let (dy, x, dx) = (context.floats(dy), context.floats(x), context.floats(dx))
    let m = context.floats(coefficients) + piece
    let (a, b, c) = (m[layout.channels], m[2 * layout.channels], m[3 * layout.channels])
    layout.forEach(channel: piece, mask: context.floats(mask)) { index, isValid in
      dx[index] = a * dy[index] + (isValid ? b * (x[index] - m[0]) + c : 0)
    }
  }
}

/// The factors r and d of every channel, in Double.
final class RenormalizeStep: Step {
  let renormalize: Renormalize
  let operands: [Buffer]
  let channels: Int
  let scale: Buffer
  let shift: Buffer

  init(
    renormalize: Renormalize, operands: [Buffer], channels: Int, scale: Buffer, shift: Buffer
  ) {
    self.renormalize = renormalize
    self.operands = operands
    self.channels = channels
    self.scale = scale
    self.shift = shift
  }

  var pieces: Int { 1 }

  func run(piece: Int, lane: Int, in context: Context) {
    let count = max(context.doubles(operands[0])[0], 1)
    let (mean, m2) = (context.doubles(operands[1]), context.doubles(operands[2]))
    let (runningMean, runningVariance) = (context.floats(operands[3]), context.floats(operands[4]))
    let limits = context.floats(operands[5])
    for c in 0..<channels {
      let factors = renormalize.factors(
        mean: mean[c], variance: m2[c] / count, runningMean: Double(runningMean[c]),
        runningVariance: Double(runningVariance[c]), scaleLimit: Double(limits[0]),
        shiftLimit: Double(limits[1]))
      context.floats(scale)[c] = Float(factors.scale)
      context.floats(shift)[c] = Float(factors.shift)
    }
  }
}
