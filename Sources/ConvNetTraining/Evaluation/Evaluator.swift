public import ConvNetEngine
public import ConvNetGraph

/// Measures a model on labelled data, with running statistics and without dropout.
///
///     let evaluation = try Evaluator(model).evaluate(test)
///     print(evaluation.accuracy)
///
/// Images are normalised as the model's metadata say. Nothing of the model changes.
public final class Evaluator {
  /// How images that are not in memory are read ahead; results do not depend on it.
  public var loading = Loading()
  private let model: Model
  private let ports: TrainingPorts
  private let store: ParameterStore
  private let batchSize: Int
  private let lanes: Lanes
  private var executions: [Shape: Execution] = [:]

  /// Makes an evaluator.
  ///
  /// - Parameters:
  ///   - model: a classifier with an output named `output`, `[N, classes]`.
  ///   - loss: which loss to measure; label smoothing is left out.
  ///   - batchSize: how many images are computed together; the result does not depend on it but for
  ///     rounding, and for layers without running statistics, which normalise with the batch's own.
  ///   - lanes: the threads that compute.
  /// - Throws: `GraphError` or `TrainingError` where the model is no classifier; `TrainingError` where
  ///   `batchSize` is below 1.
  public init(
    _ model: Model, loss: Loss = .softmaxCrossEntropy(), batchSize: Int = 100,
    lanes: Lanes = .shared
  ) throws {
    guard batchSize >= 1 else {
      throw TrainingError(.invalidOption, "a batch cannot have \(batchSize) images")
    }
    let graph = try loss.withoutSmoothing.added(to: model.graph)
    self.model = try Model(
      graph: graph, parameters: model.parameters, state: model.state, metadata: model.metadata)
    ports = try TrainingPorts(ResolveMode(.inference).apply(to: graph))
    store = ParameterStore(self.model)
    self.batchSize = batchSize
    self.lanes = lanes
  }

  /// Loss, accuracy and confusion of all samples, the last smaller batch included.
  ///
  /// Samples that their source leaves out as unreadable are not counted.
  ///
  /// - Throws: `TrainingError` where the data have other classes than the model or other channels than its
  ///   normalisation, or a number of `loading` is below 1; `GraphError` or `PlanError` where the model
  ///   cannot take images of their size; `FileError` or whatever else the source throws where an image
  ///   cannot be read.
  public func evaluate(_ data: any ImageSource) throws -> Evaluation {
    try ports.check(data)
    let assembler = try BatchAssembler(data: data, normalization: model.normalization)
    let loader = try BatchLoader(
      assembler, order: 0..<data.count, batchSize: batchSize, lanes: lanes, loading: loading)
    var result = Evaluation(classCount: data.classCount)
    while loader.remaining > 0 {
      var execution = try execution(for: data.batchShape(min(batchSize, loader.remaining)))
      let samples = try execution.load(loader)
      guard !samples.isEmpty else { break }
      if samples.count < execution.batchSize {
        let smaller = try self.execution(for: data.batchShape(samples.count))
        try smaller.load(samples, from: execution, of: data)
        execution = smaller
      }
      try execution.run(seed: 0, step: 0)
      let loss = try execution.loss()
      try execution.withLogits { logits in
        result.add(loss: loss, logits: logits, labels: samples.map { data.labels[$0] })
      }
    }
    return result
  }

  private func execution(for images: Shape) throws -> Execution {
    if let execution = executions[images] { return execution }
    let plan = try Plan(
      model, mode: .inference, inputShapes: Execution.inputShapes(ports, images: images),
      lanes: lanes)
    let execution = Execution(plan: plan, store: store, ports: ports, batchSize: images[0])
    executions[images] = execution
    return execution
  }
}

extension Loss {
  /// The loss that is comparable between trainings.
  var withoutSmoothing: Loss {
    if case .softmaxCrossEntropy = self { .softmaxCrossEntropy() } else { self }
  }
}
