// Relatives of batch normalisation whose statistics belong to one sample, so that training and
// inference are the same and the batch may be small. All are y = γ·(x − μ)/√(σ² + ε) + β with the
// population variance; they differ in what μ and σ² are taken over.

extension Graph.Value {
  /// Layer normalisation: over the channels of each position (Ba, Kiros & Hinton 2016).
  ///
  /// For values of any rank, channels last. Parameters: `weight` (γ) and `bias` (β), both `[C]`.
  ///
  /// - Parameters:
  ///   - epsilon: added to the variance under the root.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - name: the layer's name; `layerNormalization1`, … by default.
  public func layerNormalization(
    epsilon: Double = 1e-5, scale: Bool = true, shift: Bool = true, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "layerNormalization")
    let channels = channels(for: layer)
    return standardized(over: [-1], epsilon: epsilon, layer)
      .affine(layer, channels: channels, scale: scale, shift: shift)
  }

  /// Instance normalisation: over the positions of each channel of each sample (Ulyanov, Vedaldi &
  /// Lempitsky 2016).
  ///
  /// For `[N, L, C]`, `[N, H, W, C]` and `[N, D, H, W, C]`. Parameters: `weight` (γ) and `bias` (β), both
  /// `[C]`.
  ///
  /// - Parameters:
  ///   - epsilon: added to the variance under the root.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - name: the layer's name; `instanceNormalization1`, … by default.
  public func instanceNormalization(
    epsilon: Double = 1e-5, scale: Bool = true, shift: Bool = true, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "instanceNormalization")
    let channels = channels(for: layer)
    guard type.rank >= 3 else {
      builder.fail(
        GraphError(.invalidShape, "\(type) has no positions to be normalised over", at: layer))
      return self
    }
    return standardized(over: Array(1..<(type.rank - 1)), epsilon: epsilon, layer)
      .affine(layer, channels: channels, scale: scale, shift: shift)
  }

  /// Group normalisation: over the positions and the channels of a group of each sample (Wu & He 2018).
  ///
  /// For values of any rank from `[N, C]` on, channels last; groups are of neighbouring channels. One
  /// group is layer normalisation over positions, too; groups of one channel are instance normalisation.
  /// Parameters: `weight` (γ) and `bias` (β), both `[C]`.
  ///
  /// - Parameters:
  ///   - groups: in how many groups channels are separated; divides their number.
  ///   - epsilon: added to the variance under the root.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - name: the layer's name; `groupNormalization1`, … by default.
  public func groupNormalization(
    groups: Int, epsilon: Double = 1e-5, scale: Bool = true, shift: Bool = true,
    name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "groupNormalization")
    let channels = channels(for: layer)
    guard groups >= 1, channels % groups == 0, type.rank >= 2 else {
      builder.fail(
        GraphError(
          .invalidAttribute, "the channels of \(type) cannot be split into \(groups) groups",
          at: layer))
      return self
    }
    let grouped = step(
      .reshape(Reshape([.copy(0), .rest, .fixed(groups), .fixed(channels / groups)])),
      "\(layer).groups")
    return grouped.standardized(over: [1, 3], epsilon: epsilon, layer)
      .step(.reshapeLike, self, "\(layer).channels")
      .affine(layer, channels: channels, scale: scale, shift: shift)
  }

  /// Local response normalisation over neighbouring channels (Krizhevsky, Sutskever & Hinton 2012, section
  /// 3.3), channels last: y = x/(bias + alpha·m)^beta, with m = Σ x²/size over the channels from
  /// ⌊(size − 1)/2⌋ before each to ⌊size/2⌋ behind it, those that there are.
  ///
  /// The paper's α is alpha/size; PyTorch and ONNX have it as here.
  ///
  /// - Parameters:
  ///   - size: how many channels are summed over.
  ///   - alpha: what the mean of squares is multiplied by.
  ///   - beta: the exponent.
  ///   - bias: what is added to it, the paper's k.
  public func localResponseNormalization(
    size: Int, alpha: Double = 1e-4, beta: Double = 0.75, bias: Double = 1
  ) -> Graph.Value {
    let layer = builder.uniqueName("localResponseNormalization", numbersFirst: true)
    let channels = channels(for: layer)
    guard size >= 1, type.rank >= 2 else {
      builder.fail(
        GraphError(.invalidAttribute, "\(type) has no windows of \(size) channels", at: layer))
      return self
    }
    // Channels become the positions that a window slides over, and all positions what it leaves alone.
    let window = Window(
      kernel: [size], padding: .explicit(before: [(size - 1) / 2], after: [size / 2]))
    let means = step(.map(.square), "\(layer).squares")
      .step(.reshape(Reshape([.rest, .fixed(channels)])), "\(layer).rows")
      .step(.transpose(Transpose([1, 0])), "\(layer).columns")
      .step(.reshape(Reshape([.fixed(1), .copy(0), .copy(1)])), "\(layer).sequence")
      .step(.averagePool(AveragePool(window: window, countsPadding: true)), "\(layer).means")
      .step(.reshape(Reshape([.copy(1), .copy(2)])), "\(layer).meanColumns")
      .step(.transpose(Transpose([1, 0])), "\(layer).meanRows")
      .step(.reshapeLike, self, "\(layer).channels")
    let base = means.step(.map(.affine(scale: alpha, offset: bias)), "\(layer).base")
    var divisor: Graph.Value
    if beta == 0.75 {
      // √b·√√b, which takes much less time than a power.
      let root = base.step(.map(.squareRoot), "\(layer).root")
      divisor = root.step(
        .combine(.multiply), root.step(.map(.squareRoot), "\(layer).fourthRoot"),
        "\(layer).divisor")
    } else {
      let exponent = Graph.Value(
        builder: builder,
        id: builder.add(
          .constant(Constant(numbers: [beta], shape: [])), [], name: "\(layer).exponent")[0])
      divisor = base.step(.combine(.power), exponent, "\(layer).divisor")
    }
    return step(.combine(.divide), divisor, layer)
  }

  /// (x − μ)/√(σ² + ε), in two passes: the variance is that of the centred values.
  private func standardized(over axes: [Int], epsilon: Double, _ layer: String) -> Graph.Value {
    if !(epsilon >= 0 && epsilon.isFinite) {
      builder.fail(
        GraphError(
          .invalidAttribute, "an epsilon of \(epsilon) is negative or not finite", at: layer))
    }
    let mean = Operation.reduce(Reduce(.mean, axes: axes, keepsAxes: true))
    let centred = step(.combine(.subtract), step(mean, "\(layer).mean"), "\(layer).centred")
    let deviation = centred.step(.map(.square), "\(layer).squares").step(mean, "\(layer).variance")
      .step(.map(.affine(scale: 1, offset: epsilon)), "\(layer).epsilon")
      .step(.map(.squareRoot), "\(layer).deviation")
    return centred.step(.combine(.divide), deviation, "\(layer).standardized")
  }

  /// γ·x + β along the last axis, where learned.
  func affine(
    _ layer: String, channels: Int, scale: Bool, shift: Bool
  ) -> Graph.Value {
    var result = self
    for parameter in affineParameters(layer, [channels], scale: scale, shift: false) {
      result = result.step(.combine(.multiply), parameter, "\(layer).scaled")
    }
    for parameter in affineParameters(layer, [channels], scale: false, shift: shift) {
      result = result.step(.combine(.add), parameter, "\(layer).shifted")
    }
    return result
  }

  private func step(_ operation: Operation, _ name: String) -> Graph.Value {
    apply(operation, name: name)
  }

  private func step(_ operation: Operation, _ other: Graph.Value, _ name: String) -> Graph.Value {
    apply(operation, other, name: name)
  }
}
