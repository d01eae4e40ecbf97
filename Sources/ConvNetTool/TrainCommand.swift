import ArgumentParser
import ConvNet

/// `convnet train`: a built-in network, or a model, learns from labelled images.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a built-in network or a model and prints its learning curve.",
    discussion: """
      Every network has a recipe of its own, which --config and then the command line change. One \
      seed gives the same model on every repeat and for any number of lanes, also where the training was \
      stopped and gone on with by --resume. With --json every epoch is an object on a line of its own, \
      and so is the result, which comes last. Fine-tuning takes a --model, --replace-head for other \
      classes and --freeze PREFIX for what shall stay; the model's normalisation of pixels stays, too.
      """)

  @OptionGroup var dataOptions: DataOptions
  @OptionGroup var startOptions: StartOptions
  @OptionGroup var recipeOptions: RecipeOptions
  @OptionGroup var endOptions: EndOptions
  @OptionGroup var checkpointOptions: CheckpointOptions
  @Option(
    help: "A file of options as --checkpoints leaves one, config.json; the command line wins.")
  var config: String?
  @Option(
    parsing: .unconditional, help: "What initial weights and the order of images are drawn from.")
  var seed: UInt64 = 1
  @Option(help: "Where to write the model, as a safetensors file.") var save: String?
  @OptionGroup var logOptions: LogOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  func run() throws {
    let begin = try startOptions.start()
    let recipe = try recipe(begin.recipe)
    if let save { try Output.checkFolder(of: save) }
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let data = try dataOptions.load(startOptions.preprocessing(begin))
    defer { data.remarkOnUnreadable() }
    let (training, test) = try (data.training(), data.watched())
    let model = try startOptions.model(begin, for: training, seed: seed)
    let trainer = try recipe.trainer(for: model, data: training, seed: seed, lanes: lanes)
    let run = try run(trainer, training, test, recipe)
    let log = try logOptions.open(
      for: trainer, data: training, title: begin.name, isResumed: trainer.stepCount > 0)
    kernelOptions.remarkOnEnvironment()
    let clock = ContinuousClock()
    let start = clock.now
    var (last, failure) = try train(run, since: start, log, watched: data.isSplit)
    let trained = try run.finishedModel()
    // Validation has chosen: what is reported is measured on images that it did not see, if there are any.
    if last == nil || trainer.averagedModel != nil || run.options.keepsBest || data.isSplit {
      last = try Evaluator(trained, lanes: lanes).evaluate(data.tested(classNames: []))
    }
    if let save { try ModelFile.save(trained, to: save) }
    if let failure { throw failure }
    try report(
      TrainingResult(
        network: begin.name, batchNorm: !model.graph.batchNormalizationViews.isEmpty, seed: seed,
        epochs: trainer.epochCount, parameters: model.graph.trainableCount, lanes: lanes.count,
        kernels: kernels, accuracy: last?.accuracy ?? 0, loss: last?.loss ?? 0,
        seconds: (clock.now - start) / .seconds(1), saved: save))
  }

  /// A recipe, changed by what the configuration, unless a recipe is asked for by name, and then the command
  /// line say.
  private func recipe(_ recipe: Recipe) throws -> Recipe {
    var recipe = recipe
    if startOptions.recipe == nil,
      let changes = try config.map(TrainingConfiguration.load)?.recipe
    {
      recipe = try recipe.changed(by: changes)
    }
    recipe = try recipe.changed(by: recipeOptions.changes)
    guard recipe.epochs >= 1 else {
      throw ToolError("--epochs must be at least 1, not \(recipe.epochs)")
    }
    return recipe
  }

  /// Prepares the run, from a checkpoint where that is wanted.
  private func run(
    _ trainer: Trainer, _ training: any ImageSource, _ test: any ImageSource, _ recipe: Recipe
  ) throws -> TrainingRun {
    let folder = try checkpointOptions.folder()
    let run = try TrainingRun(
      trainer, data: training, validation: test,
      options: .init(
        epochs: recipe.epochs, remainder: recipe.remainder,
        checkpointInterval: checkpointOptions.checkpointEvery, metric: endOptions.metric,
        earlyStopping: endOptions.earlyStopping.map { EarlyStopping(patience: $0) },
        keepsBest: endOptions.keepBest || endOptions.earlyStopping != nil),
      checkpoints: folder)
    guard let folder else { return run }
    if checkpointOptions.resume {
      if let resumption = try run.resume() {
        resumption.remarks.forEach(Output.remark)
        Output.remark("goes on from \(resumption.path), after \(resumption.step) steps")
      } else {
        Output.remark("\(folder.path) holds no checkpoint; the training begins")
      }
    }
    try effectiveConfiguration(recipe).save(in: folder.path)
    run.checkpointFailure = {
      Output.remark("\($0); the training goes on, checkpoints before are intact")
    }
    Interruption.listen()
    return run
  }

  /// The options in effect.
  private func effectiveConfiguration(_ recipe: Recipe) -> TrainingConfiguration {
    TrainingConfiguration(
      data: dataOptions.data, unreadable: dataOptions.unreadable,
      validation: dataOptions.validation, imageSize: startOptions.imageSize,
      normalization: startOptions.normalization?.rawValue, network: startOptions.network,
      model: startOptions.model,
      classes: startOptions.classes, replaceHead: startOptions.replaceHead,
      freeze: startOptions.freeze, noBatchNorm: startOptions.noBatchNorm, seed: seed,
      checkpointEvery: checkpointOptions.checkpointEvery, keep: checkpointOptions.keep,
      earlyStopping: endOptions.earlyStopping, metric: endOptions.metric.rawValue,
      keepBest: endOptions.keepBest, recipe: RecipeChanges(recipe))
  }

  /// Runs all epochs; the last one's result on the test images, and why the curve could not be
  /// printed, which is no reason to lose the model.
  ///
  /// - Throws: `ExitCode` where a signal ended the training, which is saved then.
  private func train(
    _ run: TrainingRun, since start: ContinuousClock.Instant, _ log: CommandLog?,
    watched isValidation: Bool
  ) throws -> (last: Evaluation?, failure: (any Error)?) {
    let bar = ProgressBar()
    var failure: (any Error)?
    var last: Evaluation?
    let outcome = try run.run { progress in
      log?.record(progress, of: run.trainer)
      guard let validation = progress.validation else { return bar.update(progress) }
      last = validation
      // The epoch's line below takes the place of the bar.
      Output.clearBar()
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      let point = CurvePoint(progress, validation, seconds: seconds)
      do { try show(point, epochs: progress.epochs, isValidation) } catch { failure = error }
    } shouldStop: {
      Interruption.signal != 0
    }
    switch outcome.reason {
    case .finished: break
    case .stoppedEarly:
      Output.remark(
        "stopped early after epoch \(run.trainer.epochCount), the best was "
          + "\(outcome.best?.epoch ?? 0)")
    case .interrupted:
      Output.clearBar()
      Output.remark(
        "stopped after \(run.trainer.stepCount) steps, saved in \(outcome.checkpoint ?? ""); go on "
          + "with: convnet train --checkpoints \(run.checkpoints?.path ?? "") --resume"
          + (save.map { " --save \($0)" } ?? "") + (logOptions.log.map { " --log \($0)" } ?? "")
          + (kernelOptions.kernels == "automatic" ? "" : " --kernels \(kernelOptions.kernels)"))
      throw ExitCode(Interruption.status)
    }
    return (last, failure)
  }

  private func show(_ point: CurvePoint, epochs: Int, _ isValidation: Bool) throws {
    if json { return try Output.json(point, isCompact: true) }
    let test =
      "\(isValidation ? "validation" : "test") loss \(decimal(point.validationLoss, 4))  "
      + "accuracy \(decimal(point.validationAccuracy * 100, 2)) %"
    try Output.line(
      "epoch \(point.epoch)/\(epochs)  loss \(decimal(point.loss, 4))  "
        + "accuracy \(decimal(point.accuracy * 100, 2)) %  |  \(test)  |  "
        + "\(decimal(point.imagesPerSecond, 0)) images/s")
  }

  private func report(_ result: TrainingResult) throws {
    if json { return try Output.json(result, isCompact: true) }
    let place = result.saved.map { ", saved in \($0)" } ?? ""
    try Output.line(
      "\(result.network)\(result.batchNorm ? "" : " without batch norm"), \(result.parameters) "
        + "parameters: test accuracy \(decimal(result.accuracy * 100, 2)) % after "
        + "\(decimal(result.seconds, 1)) s\(place)")
  }
}
