package import ConvNetGraph

/// What training makes small: a scalar, the mean over the samples of a batch.
public enum Loss: Hashable, Sendable {
  /// −Σ q·log softmax(logits), q = (1 − s)·onehot(label) + s/K, with s the label smoothing, in 0..<1
  /// (Szegedy et al. 2016, section 7).
  ///
  /// Labels are int64 `[N]`.
  case softmaxCrossEntropy(labelSmoothing: Double = 0)
  /// The mean of (output − target)² over all elements. Targets are float32 of the output's shape; class
  /// labels become one-hot rows.
  case meanSquaredError

  /// The input that carries labels or targets.
  package static let labelsName = "labels"
  /// The scalar output.
  package static let lossName = "loss"
  /// The inputs of mixed samples: the second label of each, int64 `[N]`, and the weight λ of its first,
  /// float32 `[N]`.
  package static let partnerLabelsName = "labels.partner"
  package static let mixingWeightsName = "labels.weight"
  /// The output of the network that is compared with the labels, `[N, K]`.
  package static let predictionName = "output"

  /// The network with an input `labels` and a scalar output `loss` added; its own outputs stay.
  ///
  /// The only output of a network counts as `output`, whatever its name.
  ///
  /// - Parameters:
  ///   - graph: the network.
  ///   - isMixed: whether samples have two labels a and b, as mixup gives them: the loss of a sample is
  ///     λ·ℓ(a) + (1 − λ)·ℓ(b) then, with more inputs for b and λ. Targets of `.meanSquaredError` are
  ///     mixed as numbers, without more inputs.
  /// - Throws: `GraphError` where the network has no such output, or one that does not fit.
  package func added(to graph: Graph, isMixed: Bool = false) throws -> Graph {
    let named = graph.outputs.first { $0.name == Loss.predictionName }
    guard let output = (graph.outputs.count == 1 ? graph.outputs.first : named)?.value else {
      throw GraphError(
        .malformedGraph,
        "a network to be trained needs one output, or one named “\(Loss.predictionName)”")
    }
    let type = graph.type(of: output)
    guard type.rank >= 1 else {
      throw GraphError(.invalidShape, "a loss needs an output for each sample, not \(type)")
    }
    let builder = GraphBuilder(graph)
    if named == nil { builder.addOutput(Loss.predictionName, output) }
    switch self {
    case .softmaxCrossEntropy(let labelSmoothing):
      let labels = builder.addInput(
        Loss.labelsName, TensorType(.int64, [type.dimensions[0]]))
      let loss = Operation.softmaxCrossEntropy(
        SoftmaxCrossEntropy(labelSmoothing: labelSmoothing))
      var losses = builder.add(loss, output, labels)
      if isMixed {
        losses = Self.mixed(losses, loss, output, type.dimensions[0], in: builder)
      }
      builder.addOutput(Loss.lossName, builder.add(.reduce(Reduce(.mean, axes: [0])), losses))
    case .meanSquaredError:
      let targets = builder.addInput(Loss.labelsName, type)
      let difference = builder.add(.combine(.subtract), output, targets)
      let squares = builder.add(.map(.square), difference)
      let mean = Reduce(.mean, axes: Array(0..<type.rank))
      builder.addOutput(Loss.lossName, builder.add(.reduce(mean), squares))
    }
    return try builder.finish()
  }

  /// ℓ(b) + λ·(ℓ(a) − ℓ(b)) of each sample.
  private static func mixed(
    _ first: Graph.ValueID, _ loss: Operation, _ output: Graph.ValueID, _ samples: Dimension,
    in builder: GraphBuilder
  ) -> Graph.ValueID {
    let labels = builder.addInput(partnerLabelsName, TensorType(.int64, [samples]))
    let weights = builder.addInput(mixingWeightsName, TensorType(.float32, [samples]))
    let second = builder.add(loss, output, labels)
    let difference = builder.add(.combine(.subtract), first, second)
    let weighted = builder.add(.combine(.multiply), weights, difference)
    return builder.add(.combine(.add), second, weighted)
  }
}
