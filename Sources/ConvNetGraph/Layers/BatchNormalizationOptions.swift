/// Everything about a batch-normalisation layer on which frameworks disagree.
///
///     x.batchNormalization(.keras)
///     x.batchNormalization(.pyTorch, axis: 1)   // channels first
public struct BatchNormalizationOptions: Hashable, Sendable, Codable {
  /// Added to the variance under the root.
  public var epsilon: Double
  /// How much of the old running statistics survives an update.
  public var decay: RunningDecay
  /// Which estimator of the variance the running statistics collect; the batch itself is always
  /// normalised with the population variance.
  public var runningVariance: RunningVariance
  /// Whether γ is learned; without it γ = 1.
  public var scale: Bool
  /// Whether β is learned; without it β = 0.
  public var shift: Bool
  /// Whether the layer keeps running statistics; without them inference, too, normalises with the
  /// batch's own.
  public var tracksRunningStatistics: Bool

  /// Makes options; the unbiased running variance is that of Ioffe & Szegedy (2015), ε and decay are
  /// PyTorch's.
  public init(
    epsilon: Double = 1e-5, decay: RunningDecay = .keepOld(0.9),
    runningVariance: RunningVariance = .unbiased, scale: Bool = true, shift: Bool = true,
    tracksRunningStatistics: Bool = true
  ) {
    self.epsilon = epsilon
    self.decay = decay
    self.runningVariance = runningVariance
    self.scale = scale
    self.shift = shift
    self.tracksRunningStatistics = tracksRunningStatistics
  }

  /// As PyTorch's `BatchNorm1d`, `2d` and `3d` unless told otherwise: ε = 1e-5, a tenth of the new batch,
  /// unbiased variance.
  public static let pyTorch = BatchNormalizationOptions(decay: .takeNew(0.1))

  /// As Keras 3's `BatchNormalization` unless told otherwise: ε = 1e-3, 0.99 of the old, population
  /// variance.
  public static let keras = BatchNormalizationOptions(
    epsilon: 1e-3, decay: .keepOld(0.99), runningVariance: .population)

  /// As ONNX's `BatchNormalization` from operator set 14 unless told otherwise: ε = 1e-5, 0.9 of the
  /// old, population variance.
  public static let onnx = BatchNormalizationOptions(runningVariance: .population)
}
