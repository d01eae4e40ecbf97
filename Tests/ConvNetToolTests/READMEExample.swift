import ConvNet

/// What the README shows; ReadmeTests compares the two and runs this.
func readmeExample(_ train: TrainingData, _ test: TrainingData) throws -> Double {
  // README begins
  let graph = try Graph(input: .image(height: 28, width: 28, channels: 1)) { x in
    x.convolution(8, kernel: 3, bias: false).batchNormalization().relu()
      .residualBlock(16, stride: 2)
      .globalAveragePooling().dense(10)
  }
  var model = try Model(initializing: graph, seed: 1)
  model.normalization = try train.measuredNormalization()
  let trainer = try Trainer(model: model, optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: 64)
  try trainer.run(epochs: 1, data: train)
  let evaluation = try trainer.evaluate(test)
  print("accuracy \(evaluation.accuracy), loss \(evaluation.loss)")
  // README ends
  return evaluation.accuracy
}
