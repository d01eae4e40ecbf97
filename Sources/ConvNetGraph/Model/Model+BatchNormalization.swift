extension Model {
  /// A batch-normalisation layer with its numbers.
  public struct BatchNormalizationState: Sendable {
    /// Conventions and switches.
    public let layer: Graph.BatchNormalizationView
    /// γ, float32 `[C]`; nil where the layer has none.
    public let scale: Tensor?
    /// β, float32 `[C]`; nil where the layer has none.
    public let shift: Tensor?
    /// μ̂, float32 `[C]`; nil where the layer keeps no running statistics.
    public let runningMean: Tensor?
    /// σ̂², float32 `[C]`, of a decorrelated layer the diagonal of its covariance; nil where the layer keeps
    /// no running statistics.
    public let runningVariance: Tensor?
    /// The updates of the running statistics so far; nil where there are none.
    public let updateCount: Int?
  }

  /// The batch-normalisation layers with their numbers, in the order of the graph.
  public var batchNormalizationStates: [BatchNormalizationState] {
    graph.batchNormalizationViews.map { layer in
      BatchNormalizationState(
        layer: layer, scale: layer.scale.flatMap { parameters[$0] },
        shift: layer.shift.flatMap { parameters[$0] },
        runningMean: layer.running.flatMap { state[$0.mean] },
        runningVariance: layer.running.flatMap { state[$0.variance] }.map {
          Tensor(
            RunningStatistics.variances($0.doubles, channels: layer.channels).map { Float($0) })
        },
        updateCount: layer.running.flatMap { state[$0.updateCount]?.doubles.first }
          .flatMap { Int(exactly: $0) })
    }
  }
}
