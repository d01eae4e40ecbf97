/// What was found about one batch-normalisation layer: how its running statistics compare with those of a
/// sample of data.
public struct LayerDiagnosis: Hashable, Sendable {
  /// Something that is wrong, the likely cause as a sentence, and what mends it.
  public struct Finding: Hashable, Sendable, CustomStringConvertible {
    /// The kinds of findings, the gravest first.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
      /// A running statistic, γ or β is infinite or not a number, or a variance is negative.
      case notFinite
      /// Channels whose variance is so large that it will not stay finite.
      case exploding
      /// The layer has never been updated.
      case neverUpdated
      /// Too few updates for the decay: the initial values still weigh in.
      case tooFewUpdates
      /// The layer is frozen on statistics of other data.
      case frozenMismatch
      /// The running statistics are not those of the data.
      case divergence
      /// The batches are so small that their statistics are mostly noise.
      case tinyBatches
      /// Channels whose γ is near 0.
      case deadScale
      /// Channels whose variance is near 0.
      case constantChannels
    }

    /// What kind it is.
    public var kind: Kind
    /// What was found and its likely cause.
    public var cause: String
    /// What mends it: a command or a change of the training.
    public var remedy: String

    /// Both sentences.
    public var description: String { "\(cause) \(remedy)" }
  }

  /// The layer's name.
  public var layer: String
  /// The number of channels.
  public var channels: Int
  /// The samples of a channel that were looked at.
  public var samples: Int
  /// The updates of its running statistics so far.
  public var updateCount: Int
  /// Whether training leaves its running statistics as they are.
  public var isFrozen: Bool
  /// The largest |running mean − batch mean|/√(batch variance + ε) of a channel.
  public var meanDivergence: Double
  /// The smallest and the largest (running variance + ε)/(batch variance + ε) of a channel.
  public var varianceRatio: ClosedRange<Double>
  /// The channel that diverges most.
  public var worstChannel: Int
  /// Channels with |γ| at most a thousandth of the layer's largest.
  public var smallScaleCount: Int
  /// Channels with a batch variance of at most ε.
  public var smallVarianceCount: Int
  /// Channels with a finite variance, running or of the batch, beyond 10¹².
  public var largeVarianceCount: Int
  /// Channels with a running statistic, γ or β that is infinite or not a number, or a negative variance.
  public var invalidCount: Int
  /// What is wrong, the gravest first; empty for a healthy layer.
  public var findings: [Finding]
}
