public import ArgumentParser
public import ConvNet

/// What of a recipe the command line changes.
struct RecipeOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "How often all images are seen.") var epochs: Int?
  @Option(parsing: .unconditional, help: "Images of a step.") var batchSize: Int?
  @Option(
    help: "How weights follow gradients: \(RecipeChanges.Optimizer.names.joined(separator: ", ")).")
  var optimizer: String?
  @Option(parsing: .unconditional, help: "The largest learning rate.") var learningRate: Double?
  @Option(parsing: .unconditional, help: "How much of the velocity survives a step of SGD.")
  var momentum: Double?
  @Option(
    parsing: .unconditional,
    help:
      "How strongly weights are pulled towards 0: in the gradient, or with sgdw and adamw beside it."
  )
  var weightDecay: Double?
  @Option(
    help: """
      The course of the learning rate: \
      \(RateCourse.known.map(\.name).joined(separator: ", ")).
      """)
  var schedule: String?
  @Option(
    parsing: .unconditional, help: "Steps during which the rate grows, half an epoch at most.")
  var warmUp: Int?
  @Option(parsing: .unconditional, help: "How much of a label is spread over all classes.")
  var labelSmoothing: Double?
  @Option(
    parsing: .unconditional,
    help: "Scale gradients down where their norm over all parameters exceeds this.")
  var clipNorm: Double?
  @Option(
    parsing: .unconditional,
    help: """
      Evaluate and save a moving average of the weights of this decay, such as 0.999, its running \
      statistics made exact at the end.
      """)
  var ema: Double?
  @OptionGroup var memoryOptions: MemoryOptions

  /// What is given.
  var changes: RecipeChanges {
    var changes = RecipeChanges()
    changes.epochs = epochs
    changes.batchSize = batchSize
    var rule = RecipeChanges.Optimizer()
    (rule.name, rule.learningRate) = (optimizer, learningRate)
    (rule.momentum, rule.weightDecay) = (momentum, weightDecay)
    if rule != RecipeChanges.Optimizer() { changes.optimizer = rule }
    if let schedule {
      changes.schedule = RecipeChanges.Schedule()
      changes.schedule?.name = schedule
    }
    changes.warmUpSteps = warmUp
    changes.labelSmoothing = labelSmoothing
    if let clipNorm {
      changes.clipping = RecipeChanges.Clipping()
      changes.clipping?.norm = clipNorm
    }
    changes.averageDecay = ema
    if memoryOptions.checkpointing { changes.checkpointing = true }
    return changes
  }
}

/// When a training ends and which model it leaves.
struct EndOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help:
      "End after so many epochs in which validation did not become better; keeps the best model.")
  var earlyStopping: Int?
  @Option(help: "What is compared: accuracy or loss of the validation images.")
  var metric: ValidationMetric = .accuracy
  @Flag(help: "Report and save the model of the best epoch instead of the last.")
  var keepBest = false
}

extension ValidationMetric: ExpressibleByArgument {}

/// Where a training is saved while it runs.
struct CheckpointOptions: ParsableArguments {
  @Option(
    help: """
      A folder for checkpoints, one after each epoch and one where SIGINT or SIGTERM ends the training, \
      and for config.json, the options in effect.
      """)
  var checkpoints: String?
  @Option(parsing: .unconditional, help: "Write a checkpoint after every so many steps, too.")
  var checkpointEvery: Int?
  @Option(
    parsing: .unconditional, help: "How many checkpoints stay, besides the best; 3 by default.")
  var keep: Int?
  @Flag(
    help: """
      Go on from the newest checkpoint in the folder, with its config.json unless --config gives another.
      """)
  var resume = false

  func validate() throws {
    guard checkpoints != nil || (checkpointEvery == nil && keep == nil && !resume) else {
      throw ValidationError(
        "--checkpoint-every, --keep and --resume need the folder of --checkpoints")
    }
  }

  /// Opens the folder.
  ///
  /// - Throws: `ToolError` where it holds checkpoints and nobody wants to go on from them.
  func folder() throws -> CheckpointFolder? {
    guard let checkpoints else { return nil }
    let folder = try CheckpointFolder(checkpoints, keep: keep ?? 3)
    if !resume, try !folder.steps().isEmpty {
      throw ToolError(
        "\(checkpoints) holds checkpoints of another training: --resume goes on with it, or take "
          + "another folder")
    }
    return folder
  }
}
