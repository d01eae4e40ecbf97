import ArgumentParser
import ConvNet
import Glibc

/// `convnet train`: a built-in network, or a model, learns from labelled images.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a built-in network or a model and prints its learning curve.",
    discussion: """
      Every network has a recipe of its own; epochs, batch size and learning rate can be told. One \
      seed gives the same model on every repeat and for any number of lanes. With --json every \
      epoch is an object on a line of its own, and so is the result, which comes last. Fine-tuning takes a \
      --model, --replace-head for other classes and --freeze PREFIX for what shall stay; the model's \
      normalisation of pixels stays, too.
      """)

  @OptionGroup var dataOptions: DataOptions
  @OptionGroup var startOptions: StartOptions
  @Option(parsing: .unconditional, help: "How often all images are seen.") var epochs: Int?
  @Option(parsing: .unconditional, help: "Images of a step.") var batchSize: Int?
  @Option(parsing: .unconditional, help: "The largest learning rate.") var learningRate: Double?
  @Option(
    parsing: .unconditional, help: "What initial weights and the order of images are drawn from.")
  var seed: UInt64 = 1
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
  @Option(help: "Where to write the model, as a safetensors file.") var save: String?
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  func run() throws {
    let begin = try startOptions.start()
    let recipe = try changed(begin.recipe)
    if let save { try Output.checkFolder(of: save) }
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let dataset = try dataOptions.load()
    let (training, test) = try (TrainingData(dataset.train), TrainingData(dataset.test))
    let model = try startOptions.model(begin, for: training, seed: seed)
    let layers = model.graph.batchNormalizationViews
    let trainer = try recipe.trainer(for: model, data: training, seed: seed, lanes: lanes)
    kernelOptions.remarkOnEnvironment()
    let clock = ContinuousClock()
    let start = clock.now
    var (last, failure) = try train(trainer, training, test, epochs: recipe.epochs, since: start)
    var trained = trainer.model
    if let averaged = trainer.averagedModel {
      trained = averaged
      if layers.contains(where: \.updates) {
        try trained.recalibrate(on: training, batchSize: recipe.batchSize, lanes: lanes)
        last = try Evaluator(trained, lanes: lanes).evaluate(test)
      }
    }
    if let save { try ModelFile.save(trained, to: save) }
    if let failure { throw failure }
    try report(
      TrainingResult(
        network: begin.name, batchNorm: !layers.isEmpty, seed: seed, epochs: recipe.epochs,
        parameters: model.graph.trainableCount, lanes: lanes.count, kernels: kernels,
        accuracy: last.accuracy, loss: last.loss, seconds: (clock.now - start) / .seconds(1),
        saved: save))
  }

  /// A recipe, changed by what the command line says.
  private func changed(_ recipe: Recipe) throws -> Recipe {
    var recipe = recipe
    if let epochs { recipe.epochs = epochs }
    if let batchSize { recipe.batchSize = batchSize }
    recipe.clipping = clipNorm.map { .norm($0) }
    recipe.averageDecay = ema
    recipe.checkpointing = memoryOptions.checkpointing
    if let learningRate {
      switch recipe.optimizer {
      case .sgd(var sgd):
        sgd.learningRate = learningRate
        recipe.optimizer = .sgd(sgd)
      case .adam(var adam):
        adam.learningRate = learningRate
        recipe.optimizer = .adam(adam)
      }
    }
    guard recipe.epochs >= 1 else {
      throw ToolError("--epochs must be at least 1, not \(recipe.epochs)")
    }
    return recipe
  }

  /// Runs all epochs; the last one's result on the test images, and why the curve could not be
  /// printed, which is no reason to lose the model.
  private func train(
    _ trainer: Trainer, _ training: TrainingData, _ test: TrainingData, epochs: Int,
    since start: ContinuousClock.Instant
  ) throws -> (last: Evaluation, failure: (any Error)?) {
    let bar = ProgressBar()
    var failure: (any Error)?
    var last = Evaluation(classCount: test.classCount)
    try trainer.run(epochs: epochs, data: training, validation: test) { progress in
      guard let validation = progress.validation else { return bar.update(progress) }
      last = validation
      // The epoch's line below takes the place of the bar.
      Output.clearBar()
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      let point = CurvePoint(progress, validation, seconds: seconds)
      do { try show(point, epochs: epochs) } catch { failure = error }
    }
    return (last, failure)
  }

  private func show(_ point: CurvePoint, epochs: Int) throws {
    if json { return try Output.json(point, isCompact: true) }
    let test =
      "test loss \(decimal(point.validationLoss, 4))  "
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

/// An epoch, as a line of JSON.
struct CurvePoint: Codable {
  var epoch: Int
  var loss: Double
  var accuracy: Double
  var validationLoss: Double
  var validationAccuracy: Double
  var learningRate: Double
  var imagesPerSecond: Double
  /// Since training began.
  var seconds: Double

  init(_ progress: TrainingProgress, _ validation: Evaluation, seconds: Double) {
    epoch = progress.epoch
    loss = progress.loss
    accuracy = progress.accuracy
    validationLoss = validation.loss
    validationAccuracy = validation.accuracy
    learningRate = progress.learningRate
    imagesPerSecond = progress.imagesPerSecond
    self.seconds = seconds
  }
}

/// What a training came to, as the last line of JSON; accuracy and loss are those of test images.
struct TrainingResult: Codable {
  var network: String
  var batchNorm: Bool
  var seed: UInt64
  var epochs: Int
  var parameters: Int
  var lanes: Int
  var kernels: String
  var accuracy: Double
  var loss: Double
  var seconds: Double
  var saved: String?
}
