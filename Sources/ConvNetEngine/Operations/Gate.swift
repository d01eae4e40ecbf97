import ConvNetGraph

/// The derivative of a clamp of a normalisation, recomputed from x where a gradient is read:
/// dy = f′(a·(x − m) + b)·dz.
struct Gate {
  /// The rows m, a and b of the forward pass, so that every element is on the side it was on there.
  ///
  /// This m, the mean in float32, is also that of the gradient's loops.
  let coefficients: Buffer
  /// Where f′ begins and ceases to be 1; NaN for no bound.
  let low: Float
  let high: Float

  func rows(
    _ channels: Int, in context: Context
  ) -> (
    m: UnsafeMutablePointer<Float>, a: UnsafeMutablePointer<Float>, b: UnsafeMutablePointer<Float>
  ) {
    let m = context.floats(coefficients)
    return (m, m + channels, m + 2 * channels)
  }
}

extension PlanCompiler {
  /// The gate of an activation, or nil where the loops have none.
  mutating func gate(_ prologue: Fused.Prologue, operands: [Graph.ValueID]) -> Gate? {
    let normalize = prologue.normalize
    guard let bounds = prologue.function.clamp, normalize.source == .batch,
      options.batchNormalization == .fused,
      case .rows = ChannelLayout(shape(operands[0]), axis: normalize.axis)
    else { return nil }
    // ReLU has no upper corner, not even at infinity.
    return Gate(
      coefficients: coefficients(of: normalize, operands: operands), low: bounds.low,
      high: prologue.function == .relu ? .nan : bounds.high)
  }

  /// The gradient of a normalisation that takes its activation's gradient.
  mutating func emitGated(_ fused: Fused, _ prologue: Fused.Prologue) throws {
    let operands = prologue.normalizeInputs(node.inputs, anchorInputCount: fused.anchorInputCount)
    let shape = shape(operands[0])
    func isPlain(_ gradient: NormalizeGradient) -> Bool {
      guard case .rows = ChannelLayout(shape, axis: gradient.axis) else { return false }
      return !gradient.hasMask
    }
    guard fused.epilogue.isEmpty, let gate = gate(prologue, operands: operands) else {
      throw unsupported("recomputes only clamps of channels last, normalised by their batch")
    }
    switch fused.anchor {
    case .normalizeGradientSums(let a) where isPlain(a):
      try emitNormalizeGradientSums(a, gate: gate)
    case .normalizeGradientInput(let a) where isPlain(a):
      try emitNormalizeGradientInput(a, gate: gate)
    default: throw unsupported("recomputes activations only of channels last and without a mask")
    }
  }
}
