import ConvNet
import ConvNetImages
import ConvNetReference
import OpenBLAS

// Every example of the documentation, to be compiled; DocumentationTests compares them with the articles
// and runs those that need neither files nor minutes.

func gettingStarted() throws {
  let dataset = try FashionMNIST.load()
  let (train, test) = try (TrainingData(dataset.train), TrainingData(dataset.test))

  var model = try Model(initializing: Network.fashion.graph(for: train), seed: 1)
  model.normalization = try train.measuredNormalization()
  let recipe = Recipe.standard(for: .fashion)
  let trainer = try recipe.trainer(for: model, data: train, seed: 1)
  try trainer.run(epochs: recipe.epochs, data: train, validation: test)
  try ModelFile.save(trainer.model, to: "fashion.safetensors")
}

func kernels() {
  let report = BLAS.bootstrap(kernel: .automatic)
  print(report.core)
}

func prediction(_ pixels: Tensor) throws -> Tensor {
  let model = try ModelFile.load("fashion.safetensors")
  let predictor = try Predictor(model)
  let images = try model.normalization?.applied(to: pixels) ?? pixels
  let logits = try predictor.predict(images)
  return logits
}

func describing() throws -> (Graph, TensorType, Graph) {
  let graph = try Graph(input: .image(height: 32, width: 32, channels: 3)) { x in
    let stem = x.convolution(16, kernel: 3, bias: false).batchNormalization().relu()
    let branch = stem.convolution(16, kernel: 3, bias: false).batchNormalization()
    return (stem + branch).relu().globalAveragePooling().dense(10)
  }
  let anySize = TensorType(.float32, ["N", "H", "W", 3])
  let named = try Graph(input: .image(height: 8, width: 8, channels: 1)) { x in
    x.scoped("stem") { $0.convolution(4, kernel: 3, name: "first").relu() }
      .globalAveragePooling().dense(2, name: "head")
  }
  return (graph, anySize, named)
}

func sequences() throws -> Model {
  let keywords = try Graph(input: TensorType(.float32, ["N", 32, 8])) { x in
    x.convolution(16, window: Window(kernel: [5], stride: [2], padding: .same), bias: false)
      .batchNormalization().relu()
      .lstm(24, batchNormalization: .init()).dense(6)
  }
  let recurrent = try Model(initializing: keywords, seed: 1).settingRecurrentScales(to: 0.1)
  return recurrent
}

func workedNumbers() throws -> (
  norm: BatchNormalization, x: Tensor, gamma: Tensor, y: Tensor,
  batch: BatchNormalization.Statistics, running: BatchNormalization.Running?
) {
  let norm = BatchNormalization(BatchNormalizationOptions(epsilon: 0))
  let x = Tensor([1, 2, 3, 6] as [Float], shape: [4, 1])
  let (gamma, beta) = (Tensor([2] as [Float]), Tensor([1] as [Float]))
  let (y, batch) = try norm.forward(x, scale: gamma, shift: beta)
  let running = norm.updated(BatchNormalization.Running(channels: 1), with: batch)
  return (norm, x, gamma, y, batch, running)
}

func switches(_ model: Model) throws -> (Model, Model) {
  let frozen = try model.freezingBatchNormalization(["batchNormalization1"])
  let onlyStatistics = try model.settingBatchNormalization(
    ["batchNormalization2"], source: .running, updates: false)
  return (frozen, onlyStatistics)
}

func statistics(_ trainer: Trainer, _ train: TrainingData, _ test: TrainingData) throws -> Model {
  var trained = trainer.model
  for diagnosis in try trained.diagnose(on: test) { print(diagnosis) }
  try trained.recalibrate(on: train)
  return trained
}

func comparison(_ model: Model, _ images: Tensor) throws -> ([String: Tensor], [String: Tensor]) {
  let reference = try Reference(model, mode: .inference)
  let expected = try reference.run(inputs: ["input": images])
  let found = try Predictor(model).predict(["input": images])
  return (expected, found)
}

func files(_ model: Model) throws -> [Model] {
  try ModelFile.save(model, to: "model.safetensors")
  let same = try ModelFile.load("model.safetensors")
  let pretrained = try PyTorchCheckpoint.load(
    "resnet18.safetensors", into: Network.resnet18.graph())
  try PyTorchCheckpoint.save(pretrained, to: "again.safetensors")
  let imported = try ONNXFile.load("network.onnx")
  try ONNXFile.save(imported, to: "again.onnx", mode: .training)
  return [same, pretrained, imported]
}

func training(
  _ model: Model, _ train: TrainingData, _ test: TrainingData
) throws -> Trainer {
  let bar = ProgressBar()
  let trainer = try Trainer(
    model: model, loss: .softmaxCrossEntropy(labelSmoothing: 0.1),
    optimizer: .sgd(SGD(learningRate: 0.1, nesterov: true, weightDecay: .coupled(5e-4))),
    schedule: .cosine(steps: 10 * train.stepCount(batchSize: 128), warmUpSteps: 100),
    batchSize: 128, seed: 1, augmentation: .light, averageDecay: 0.999)
  try trainer.run(epochs: 10, data: train, validation: test) { bar.update($0) }
  return trainer
}

func photographs(_ model: inout Model) throws -> ImageFolderSplits {
  let preprocessing = try ImagePreprocessing(height: 224, width: 224, channels: 3)
  let folder = try ImageFolderSplits("photographs", preprocessing: preprocessing, unreadable: .skip)
  model.imagePreprocessing = preprocessing
  model.normalization = .imageNet
  return folder
}

func checkpoints(
  _ trainer: Trainer, _ train: TrainingData, _ test: TrainingData, _ bar: ProgressBar
) throws -> (TrainingRun.Outcome, Model) {
  let run = try TrainingRun(
    trainer, data: train, validation: test,
    options: .init(epochs: 20, checkpointInterval: 500, earlyStopping: EarlyStopping(patience: 3)),
    checkpoints: CheckpointFolder("run", keep: 3))
  try run.resume()
  let outcome = try run.run { bar.update($0) }
  let best = try run.finishedModel()
  return (outcome, best)
}

func sampleLayer(
  _ x: Tensor, gamma: Tensor, beta: Tensor, moving: BatchNormalization.Running
) throws -> [Tensor] {
  let layer = BatchNormalization()

  func batchNormalizationLayer(
    _ x: Tensor, isTraining: Bool, gamma: Tensor, beta: Tensor, moving: BatchNormalization.Running
  ) throws -> (output: Tensor, update: BatchNormalization.Statistics?) {
    guard isTraining else {
      return (try layer.inference(x, scale: gamma, shift: beta, running: moving), nil)
    }
    let (y, statistics) = try layer.forward(x, scale: gamma, shift: beta)
    return (y, statistics)
  }

  let training = try batchNormalizationLayer(
    x, isTraining: true, gamma: gamma, beta: beta, moving: moving)
  let moved = training.update.flatMap { layer.updated(moving, with: $0) } ?? moving
  let inference = try batchNormalizationLayer(
    x, isTraining: false, gamma: gamma, beta: beta, moving: moved)
  return [training.output, inference.output]
}
