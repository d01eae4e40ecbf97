extension Graph.Value {
  /// Batch normalisation over every axis but the channels' (Ioffe & Szegedy 2015).
  ///
  /// Training normalises with the mini-batch's mean and population variance and, once per optimiser
  /// step, moves the running statistics; inference normalises with those. Parameters: `weight` (γ) and
  /// `bias` (β), both `[C]`. State: `running_mean` and `running_var`, float32 `[C]`, and
  /// `num_batches_tracked`, int64 `[]`.
  ///
  /// - Parameters:
  ///   - axis: where the channels are: −1 for `[N, C]`, `[N, L, C]`, `[N, H, W, C]` and
  ///     `[N, D, H, W, C]`, 1 for channels-first values.
  ///   - epsilon: added to the variance under the root.
  ///   - decay: how much of the old running statistics survives an update.
  ///   - runningVariance: which estimator of the variance the running statistics collect.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - tracksRunningStatistics: whether there are running statistics; without them inference, too,
  ///     normalises with the batch's own.
  ///   - name: the layer's name; `batchNormalization1`, … by default.
  ///   - statistics: how training takes the batch's statistics: one sample, ghost batches,
  ///     renormalisation.
  ///   - mask: float32 over leading axes of the input, as `[N]` or `[N, L]`; positions of 0, such as
  ///     padding, count neither in training's statistics nor in their gradient, all others do. Of padding
  ///     by zeros: `x.map(.absolute).reduced(.maximum, axes: [-1])`.
  public func batchNormalization(
    axis: Int = -1, epsilon: Double = 1e-5, decay: RunningDecay = .keepOld(0.9),
    runningVariance: RunningVariance = .unbiased, scale: Bool = true, shift: Bool = true,
    tracksRunningStatistics: Bool = true, name: String? = nil,
    statistics: BatchStatistics = BatchStatistics(), mask: Graph.Value? = nil
  ) -> Graph.Value {
    batchNormalization(
      BatchNormalizationOptions(
        epsilon: epsilon, decay: decay, runningVariance: runningVariance, scale: scale,
        shift: shift, tracksRunningStatistics: tracksRunningStatistics),
      axis: axis, name: name, statistics: statistics, mask: mask)
  }

  /// Batch normalisation with options as a value, such as the presets `.pyTorch`, `.keras` and `.onnx`.
  ///
  /// - Parameters:
  ///   - options: the conventions.
  ///   - axis: where the channels are: −1 for the last axis, 1 for channels-first values.
  ///   - name: the layer's name; `batchNormalization1`, … by default.
  ///   - statistics: how training takes the batch's statistics: one sample, ghost batches,
  ///     renormalisation.
  ///   - mask: float32 over leading axes of the input, as `[N]` or `[N, L]`; positions of 0, such as
  ///     padding, count neither in training's statistics nor in their gradient, all others do. Of padding
  ///     by zeros: `x.map(.absolute).reduced(.maximum, axes: [-1])`.
  public func batchNormalization(
    _ options: BatchNormalizationOptions, axis: Int = -1, name: String? = nil,
    statistics: BatchStatistics = BatchStatistics(), mask: Graph.Value? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "batchNormalization")
    let rows: Shape = [channels(for: layer, axis: axis)]
    let running = options.tracksRunningStatistics ? runningStatistics(options, layer, rows) : nil
    let moments = builder.add(
      .batchMoments(BatchMoments(axis: axis, running: running, statistics: statistics)),
      [id] + (mask.map { [$0.id] } ?? []), name: "\(layer).moments")
    let affine = affineParameters(layer, rows, scale: options.scale, shift: options.shift)
    let normalize = Normalize(
      axis: axis, epsilon: options.epsilon, source: .batch, hasScale: options.scale,
      hasShift: options.shift)
    return Graph.Value(
      builder: builder,
      id: builder.add(.normalize(normalize), [id] + moments + affine.map(\.id), name: layer)[0])
  }

  /// Declares a layer's state.
  func runningStatistics(
    _ options: BatchNormalizationOptions, _ layer: String, _ rows: Shape
  ) -> RunningStatistics {
    let running = RunningStatistics(
      layer: layer, mean: "\(layer).running_mean", variance: "\(layer).running_var",
      updateCount: "\(layer).num_batches_tracked", decay: options.decay,
      estimator: options.runningVariance)
    _ = builder.addState(running.mean, TensorType(.float32, rows), role: .runningMean)
    _ = builder.addState(running.variance, TensorType(.float32, rows), role: .runningVariance)
    _ = builder.addState(running.updateCount, TensorType(.int64, [] as Shape), role: .updateCount)
    return running
  }

  /// Declares `weight` (γ) and `bias` (β) of a normalisation, where it has them.
  func affineParameters(
    _ layer: String, _ shape: Shape, scale: Bool, shift: Bool
  ) -> [Graph.Value] {
    var parameters: [Graph.ValueID] = []
    if scale {
      parameters.append(builder.addParameter("\(layer).weight", shape, role: .normalizationScale))
    }
    if shift {
      parameters.append(builder.addParameter("\(layer).bias", shape, role: .normalizationShift))
    }
    return parameters.map { Graph.Value(builder: builder, id: $0) }
  }
}
