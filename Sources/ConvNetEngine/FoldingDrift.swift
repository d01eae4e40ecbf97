public import ConvNetGraph

/// How far folding a batch norm moved what a layer computes, through rounding alone.
///
/// The unfolded layer rounds the sum of its products and then a·x + b; the folded one rounds its derived
/// parameters and sums those. Both are as right as float32 is, and differ by a few ε of the largest
/// product sum; a drift beyond that shows a layer whose a = γ/√(σ̂² + ε) is extreme.
///
///     let folding = try FoldBatchNormalization().fold(model)
///     for drift in try FoldingDrift.measure(model, folding, inputs: ["input": x]) { print(drift) }
public struct FoldingDrift: Hashable, Sendable, CustomStringConvertible {
  /// The batch-norm layer that was folded.
  public let normalization: String
  /// The layer that took it in.
  public let layer: String
  /// The largest |folded − unfolded| among the results; infinite where only one of the two is NaN.
  public let difference: Double
  /// The largest magnitude among the unfolded results.
  public let largest: Double

  /// The largest difference in units of the largest result; 0 where both are 0.
  public var relative: Double { difference == 0 ? 0 : difference / largest }

  /// One line.
  public var description: String {
    "\(normalization) in \(layer): \(difference), \(relative) of the largest result \(largest)"
  }

  /// Runs a model and its folded form on the same inputs and compares what every folded layer computes.
  ///
  /// Each layer reads what its own network computed, so that drift carries on from layer to layer as it
  /// does in use. All compared results are kept at once: take a small batch.
  ///
  /// - Parameters:
  ///   - model: the unfolded model.
  ///   - folding: what `FoldBatchNormalization.fold(_:)` made of it.
  ///   - inputs: all inputs by name.
  ///   - lanes: the threads that compute.
  ///   - options: strategies to force.
  /// - Returns: one drift for each fold, in the order of the folds.
  /// - Throws: `GraphError` or `PlanError` where the inputs do not fit.
  public static func measure(
    _ model: Model, _ folding: (model: Model, report: FoldBatchNormalization.Report),
    inputs: [String: Tensor], lanes: Lanes = .shared, options: PlanOptions = PlanOptions()
  ) throws -> [FoldingDrift] {
    let folds = folding.report.folds
    let results = try [model, folding.model].map { model in
      try run(model, exposing: folds.map(\.value), inputs, lanes: lanes, options: options)
    }
    return zip(folds, zip(results[0], results[1])).map { fold, results in
      compare(fold, unfolded: results.0.doubles, folded: results.1.doubles)
    }
  }

  /// The values of an inference graph for given inputs, whichever of them it hands out by itself.
  private static func run(
    _ model: Model, exposing values: [Graph.ValueID], _ inputs: [String: Tensor], lanes: Lanes,
    options: PlanOptions
  ) throws -> [Tensor] {
    var graph = try ResolveMode(.inference).apply(to: model.graph)
    let names = values.indices.map { "fold/\($0)" }
    graph.outputs = zip(names, values).map { Graph.Port(name: $0, value: $1) }
    let plan = try Plan(
      graph, inputShapes: inputs.mapValues(\.shape), lanes: lanes, options: options)
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    for (name, tensor) in inputs { try workspace.setInput(name, to: tensor) }
    plan.run(in: &workspace)
    return try names.map { try workspace.output($0) }
  }

  private static func compare(
    _ fold: FoldBatchNormalization.Report.Fold, unfolded: [Double], folded: [Double]
  ) -> FoldingDrift {
    var (difference, largest) = (0.0, 0.0)
    for (x, y) in zip(unfolded, folded) {
      largest = max(largest, abs(x))
      guard x != y, !(x.isNaN && y.isNaN) else { continue }
      difference = max(difference, x.isNaN || y.isNaN ? .infinity : abs(x - y))
    }
    return FoldingDrift(
      normalization: fold.normalization, layer: fold.layer, difference: difference,
      largest: largest)
  }
}
