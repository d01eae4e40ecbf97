/// What can be decided about a plan from outside; the defaults are what measured fastest.
public struct PlanOptions: Hashable, Sendable {
  /// How batch norm computes its reductions and its scale and shift.
  public enum BatchNormalizationStrategy: String, Hashable, Sendable, CaseIterable {
    /// Reductions by `sgemv` against ones, scale and shift by `sgemm` with a diagonal matrix; channels-first
    /// planes by `sdot` and `saxpy`.
    case blas
    /// Register-blocked vector loops.
    case fused
  }

  /// The convolution strategy to use wherever it can; nil leaves the choice to the table.
  ///
  /// `pointwise`, `depthwise`, `thin`, `winograd` (which `allowsWinograd` does not forbid then), `direct`, `im2col`, or
  /// `banded`, which also needs `fusesBands`. Another name makes `Plan.init` throw `PlanError` of code
  /// `.unknownStrategy`.
  public var convolution: String?
  /// How batch norm computes.
  public var batchNormalization: BatchNormalizationStrategy
  /// Whether elementwise steps are fused into the operations before them.
  public var fusesEpilogues: Bool
  /// Whether weights stay packed between runs, as they should unless they change before every run.
  ///
  /// Otherwise each is packed right before it is used, in memory that later steps use again.
  public var keepsPackedWeights: Bool
  /// Whether a training step computes normalised activations again in its backward pass.
  ///
  /// It needs less memory than keeping them from the forward pass, for one more pass over each. Batch norm's
  /// sums may be taken at another place then, in another order.
  public var recomputesActivations: Bool
  /// Whether a training step computes the activations of whole segments of the network again in its
  /// backward pass: much less memory for up to one more forward pass.
  ///
  /// Checkpointing, after Chen et al. 2016. Where segments begin follows from the sizes of activations.
  /// Batch norm's sums may be taken at another place then, in another order.
  public var recomputesSegments: Bool
  /// Whether a depthwise convolution and its 1 × 1 neighbours may run together, a band of rows at a time.
  ///
  /// It saves the way of the large map between them through memory; the bits are the same.
  public var fusesBands: Bool
  /// Whether 3 × 3 convolutions may run by Winograd's minimal filtering.
  ///
  /// It costs less than half the products and rounds differently from a direct sum, by at most some
  /// 10⁻⁵ of a layer's largest result; an input that is not finite spoils the whole tile of up to 4 × 4
  /// results. Without it every convolution is a direct sum of products.
  public var allowsWinograd: Bool

  /// Makes options.
  public init(
    convolution: String? = nil, batchNormalization: BatchNormalizationStrategy = .fused,
    fusesEpilogues: Bool = true, fusesBands: Bool = true, keepsPackedWeights: Bool = true,
    recomputesActivations: Bool = true, recomputesSegments: Bool = false,
    allowsWinograd: Bool = true
  ) {
    self.convolution = convolution
    self.batchNormalization = batchNormalization
    self.fusesEpilogues = fusesEpilogues
    self.keepsPackedWeights = keepsPackedWeights
    self.recomputesActivations = recomputesActivations
    self.recomputesSegments = recomputesSegments
    self.fusesBands = fusesBands
    self.allowsWinograd = allowsWinograd
  }
}

/// Why a plan cannot be made or given its data.
public struct PlanError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The kind of mistake, for programs.
  public enum Code: String, Sendable, Hashable {
    /// An operation that the engine cannot run in this form, an option below 1, or more memory than the
    /// machine has.
    case unsupported
    /// One sample per channel: a mini-batch without a variance.
    case singleSample
    /// Data of another type or shape than planned for, or missing, or of an unknown name.
    case mismatchedData
    /// A strategy name that is not in the table.
    case unknownStrategy
  }

  /// The kind of mistake.
  public var code: Code
  /// The layer, input or output concerned.
  public var place: String
  /// What is wrong, with both shapes where shapes differ.
  public var reason: String

  /// Makes an error.
  public init(_ code: Code, _ reason: String, at place: String) {
    self.code = code
    self.place = place
    self.reason = reason
  }

  /// One sentence.
  public var description: String { place.isEmpty ? reason : "\(place): \(reason)" }
}
