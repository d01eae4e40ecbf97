extension Graph.Value {
  /// Batch normalisation over every axis but the last (Ioffe & Szegedy 2015).
  ///
  /// Training normalises with the mini-batch's mean and population variance and, once per optimiser
  /// step, moves the running statistics; inference normalises with those. Parameters: `weight` (γ) and
  /// `bias` (β), both `[C]`. State: `running_mean`, `running_var` and `num_batches_tracked`.
  ///
  /// - Parameters:
  ///   - epsilon: added to the variance under the root.
  ///   - decay: how much of the old running statistics survives an update.
  ///   - runningVariance: which estimator of the variance the running statistics collect.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - name: the layer's name; `batchNormalization1`, … by default.
  public func batchNormalization(
    epsilon: Double = 1e-5, decay: RunningDecay = .keepOld(0.9),
    runningVariance: RunningVariance = .unbiased, scale: Bool = true, shift: Bool = true,
    name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "batchNormalization")
    let channels = channels(for: layer)
    let running = RunningStatistics(
      layer: layer, mean: "\(layer).running_mean", variance: "\(layer).running_var",
      updateCount: "\(layer).num_batches_tracked", decay: decay, estimator: runningVariance)
    let rows: Shape = [channels]
    _ = builder.addState(running.mean, TensorType(.float32, rows), role: .runningMean)
    _ = builder.addState(running.variance, TensorType(.float32, rows), role: .runningVariance)
    _ = builder.addState(running.updateCount, TensorType(.int64, [] as Shape), role: .updateCount)
    let moments = builder.add(
      .batchMoments(BatchMoments(axis: -1, running: running)), [id], name: "\(layer).moments")
    var operands = [id] + moments
    if scale {
      operands.append(builder.addParameter("\(layer).weight", rows, role: .normalizationScale))
    }
    if shift {
      operands.append(builder.addParameter("\(layer).bias", rows, role: .normalizationShift))
    }
    let normalize = Normalize(
      axis: -1, epsilon: epsilon, source: .batch, hasScale: scale, hasShift: shift)
    return Graph.Value(
      builder: builder, id: builder.add(.normalize(normalize), operands, name: layer)[0])
  }
}
