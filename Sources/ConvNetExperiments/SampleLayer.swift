package import ConvNet

/// The variables of batch-normalisation layers by scope, which TensorFlow would keep in a graph.
///
///     var variables = SampleVariables()
///     let (y, update) = try batchNormalizationLayer(
///       x, numOutputs: 64, isTraining: true, scope: "conv1", in: &variables)
///     if let update { variables.apply(update) }
package struct SampleVariables: Sendable {
  /// What a layer has: what gradients change, and what batches change.
  package struct Layer: Sendable {
    /// γ, learned by gradient, float32 `[C]`; 1 at first.
    package var gamma: Tensor
    /// β, learned by gradient, float32 `[C]`; 0 at first.
    package var beta: Tensor
    /// The moving mean and variance of the layer's input, moved by `apply` and by no gradient.
    package var moving: BatchNormalization.Running

    /// A layer before training.
    package init(channels: Int) {
      gamma = Tensor(repeating: Float(1), shape: [channels])
      beta = Tensor(zeros: [channels])
      moving = BatchNormalization.Running(channels: channels)
    }
  }

  /// The layers so far, by scope.
  package var layers: [String: Layer] = [:]
  /// ε, decay and estimator of the moving variance.
  package let normalization: BatchNormalization

  /// No layers yet; by default with the conventions of `BatchNormalizationOptions`.
  package init(_ options: BatchNormalizationOptions = BatchNormalizationOptions()) {
    normalization = BatchNormalization(options)
  }

  /// Moves a layer's moving statistics: once for each optimiser step, which is why the layer hands the
  /// update out instead of doing it.
  ///
  /// What would not be finite leaves them as they are.
  package mutating func apply(_ update: MovingStatisticsUpdate) {
    guard let old = layers[update.scope]?.moving else { return }
    layers[update.scope]?.moving = normalization.updated(old, with: update.statistics) ?? old
  }
}

/// What a training step saw of a layer's input, to be applied once the step is done.
package struct MovingStatisticsUpdate: Sendable {
  /// The layer.
  package let scope: String
  /// Count, mean and sum of squared deviations of each channel.
  package let statistics: BatchNormalization.Statistics
}

/// Batch normalisation as the sample layer `batch_normalization_layer(input, num_outputs, is_training,
/// scope)` meant it, of plain tensors.
///
/// Training: y = γ·(x − μ)/√(σ² + ε) + β with the batch's own mean and population variance. Inference:
/// the same with the moving mean and variance of the layer's *input*. No activation: that is another
/// layer. In a network one writes `x.batchNormalization(name: scope)`, and a `Trainer` applies updates.
///
/// - Parameters:
///   - input: float32 of any rank, channels last.
///   - numOutputs: C, the input's channels; the layer does not change them.
///   - isTraining: whether the batch's statistics are taken.
///   - scope: the layer's name; its variables are made when it is first used.
///   - variables: where they are.
/// - Returns: the output, of the input's shape, and in training the update of the moving statistics.
/// - Throws: `GraphError` where the input does not have so many channels; `PlanError` where channels have
///   a single sample, and so no variance.
package func batchNormalizationLayer(
  _ input: Tensor, numOutputs: Int, isTraining: Bool, scope: String,
  in variables: inout SampleVariables
) throws -> (output: Tensor, update: MovingStatisticsUpdate?) {
  guard input.shape.dimensions.last == numOutputs else {
    throw GraphError(
      .invalidShape, "\(numOutputs) outputs do not fit an input of \(input.shape)", at: scope)
  }
  let layer = variables.layers[scope] ?? SampleVariables.Layer(channels: numOutputs)
  guard layer.gamma.count == numOutputs else {
    throw GraphError(
      .invalidShape, "the layer has \(layer.gamma.count) channels, not \(numOutputs)", at: scope)
  }
  variables.layers[scope] = layer
  guard isTraining else {
    let output = try variables.normalization.inference(
      input, scale: layer.gamma, shift: layer.beta, running: layer.moving)
    return (output, nil)
  }
  let (output, statistics) = try variables.normalization.forward(
    input, scale: layer.gamma, shift: layer.beta)
  return (output, MovingStatisticsUpdate(scope: scope, statistics: statistics))
}

/// What the sample layer calls things, what it gets wrong, and what is right.
package enum SampleLayer {
  /// A name of the sample: what it says there, what is right, and how that is written here.
  package static let names = ExperimentResult.Table(
    ["in the sample", "there", "right", "here"],
    [
      [
        "input", "the layer's input", "x, float32, channels last",
        "`x` in `x.batchNormalization()`",
      ],
      [
        "num_outputs", "the length of γ and β", "C, the channels of x, which the layer keeps",
        "taken from x",
      ],
      [
        "is_training", "a condition in the graph",
        "chooses the batch's statistics or the running ones",
        "`ExecutionMode` of a `Plan`; `Trainer` and `Predictor` know theirs",
      ],
      ["scope", "a variable scope", "the layer's name", "`batchNormalization(name:)`"],
      [
        "gamma, beta", "“moving averages”",
        "learned by gradient, as weights are: 1 and 0 at first",
        "parameters `weight` and `bias`",
      ],
      [
        "mean, variance", "of the batch", "over all axes but the channels', variance over m",
        "`BatchMoments`, in Float64",
      ],
      [
        "moving mean and variance", "averages of the output",
        "averages of the batch's mean and of its variance over m − 1, of the input",
        "state `running_mean` and `running_var`",
      ],
      [
        "returned update", "to be run beside the step, or forgotten",
        "once an optimiser step, if finite", "done by `Trainer`; `BatchNormalization.updated`",
      ],
      [
        "relu6", "inside the affine step", "γ·x̂ + β is linear; an activation is the next layer",
        "`.relu6()` behind it, where wanted",
      ],
      ["epsilon", "1e-3", "any small number; part of the model", "`epsilon`, 1e-5 by default"],
    ])
}
