public import ConvNetEngine
public import ConvNetGraph

extension FoldingDrift {
  /// Compares a model and its folded form on all images of labelled data, in one batch, normalised as
  /// the metadata say.
  ///
  /// - Parameters:
  ///   - model: the unfolded model, with one input.
  ///   - folding: what `FoldBatchNormalization.fold(_:)` made of it.
  ///   - data: a small sample, see `TrainingData.sample(_:)`.
  ///   - lanes: the threads that compute.
  /// - Throws: `TrainingError`, `GraphError` or `PlanError` where the data do not fit; `FileError` where an
  ///   image cannot be read, or `UnreadableSample` where the source leaves it out.
  public static func measure(
    _ model: Model, _ folding: (model: Model, report: FoldBatchNormalization.Report),
    on data: any ImageSource, lanes: Lanes = .shared
  ) throws -> [FoldingDrift] {
    let inputs = try ResolveMode(.inference).apply(to: model.graph).inputs
    guard inputs.count == 1 else {
      throw TrainingError(
        .invalidData,
        "images belong to networks with one input, not \(inputs.map(\.name).joined(separator: ", "))"
      )
    }
    let assembler = try BatchAssembler(data: data, normalization: model.normalization)
    var images = Tensor(zeros: data.batchShape(data.count))
    try images.withMutableBytes { bytes in
      try assembler.assemble(
        Array(0..<data.count)[...], into: bytes.assumingMemoryBound(to: Float.self), lanes: lanes)
    }
    return try measure(model, folding, inputs: [inputs[0].name: images], lanes: lanes)
  }
}
