extension Graph.Value {
  /// Decorrelated batch normalisation: whitens the channels in groups (Huang, Yang, Lang & Deng, CVPR
  /// 2018, algorithm 1), for values of any rank, channels last.
  ///
  /// Training subtracts the mini-batch's mean and multiplies by the symmetric inverse root of its
  /// covariance, Σ^(−1/2) (ZCA, which turns channels as little as possible), so that the channels of a
  /// group have the identity as covariance; γ and β follow. Inference does so with the running mean and
  /// the running *covariance*, which are moved once an optimiser step as batch norm's are; the paper
  /// averages the whitening matrices instead. A mean of covariances is the covariance of the data, as
  /// a mean of inverse roots is not. Groups of one channel are batch normalisation.
  ///
  /// Parameters: `weight` (γ) and `bias` (β), both `[C]`. State: `running_mean` `[C]`, `running_cov`
  /// `[C, groupSize]`, initially identities, and `num_batches_tracked`. Each step solves C/groupSize
  /// symmetric eigenproblems, forward and again backward, in Float64.
  ///
  /// - Parameters:
  ///   - groupSize: the channels whitened together; divides their number. A batch needs several times as
  ///     many samples, else ε is all that keeps its covariance regular.
  ///   - epsilon: added to the covariance's diagonal; positive.
  ///   - decay: how much of the old running statistics survives an update.
  ///   - runningVariance: which estimator of the covariance the running statistics collect.
  ///   - scale: whether γ is learned.
  ///   - shift: whether β is learned.
  ///   - tracksRunningStatistics: whether there are running statistics; without them inference, too,
  ///     normalises with the batch's own.
  ///   - name: the layer's name; `decorrelatedBatchNormalization1`, … by default.
  public func decorrelatedBatchNormalization(
    groupSize: Int = 16, epsilon: Double = 1e-5, decay: RunningDecay = .keepOld(0.9),
    runningVariance: RunningVariance = .unbiased, scale: Bool = true, shift: Bool = true,
    tracksRunningStatistics: Bool = true, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "decorrelatedBatchNormalization")
    let channels = channels(for: layer)
    let running = RunningStatistics(
      layer: layer, mean: "\(layer).running_mean", variance: "\(layer).running_cov",
      updateCount: "\(layer).num_batches_tracked", decay: decay, estimator: runningVariance)
    let statistics = builder.add(
      .covariance(
        Covariance(groupSize: groupSize, running: tracksRunningStatistics ? running : nil)),
      [id], name: "\(layer).covariance")
    // Attributes that the operation refused must not become the shape of a state.
    if tracksRunningStatistics, builder.firstError == nil {
      let rows: Shape = [channels]
      let groups: Shape = [channels, groupSize]
      _ = builder.addState(running.mean, TensorType(.float32, rows), role: .runningMean)
      _ = builder.addState(
        running.variance, TensorType(.float32, groups), role: .runningCovariance)
      _ = builder.addState(
        running.updateCount, TensorType(.int64, [] as Shape), role: .updateCount)
    }
    let decorrelate = Decorrelate(groupSize: groupSize, epsilon: epsilon, source: .batch)
    let whitened = builder.add(
      .decorrelate(decorrelate), [id] + statistics, name: "\(layer).whitened")
    return Graph.Value(builder: builder, id: whitened[0])
      .affine(layer, channels: channels, scale: scale, shift: shift)
  }
}
