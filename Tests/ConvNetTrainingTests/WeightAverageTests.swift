import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct WeightAverageTests {
  let graph: Graph
  let data: TrainingData

  init() throws {
    graph = try smallNetwork(size: 8, classes: 2)
    data = try bands(48, size: 8, classes: 2, seed: 9)
  }

  func trainer(decay: Double?, optimizer: Optimizer = .adam(Adam()), lanes: Int = 1) throws
    -> Trainer
  {
    try Trainer(
      model: Model(initializing: graph, seed: 5), optimizer: optimizer, batchSize: 8, seed: 5,
      averageDecay: decay, lanes: Lanes(count: lanes))
  }

  /// Against the same formula in Double, over weights and statistics after each step.
  ///
  /// The decay is (1 + t)/(10 + t) until that exceeds ¼, at step 2. A step rounds three times at most.
  @Test(arguments: [Optimizer.adam(Adam()), .sgd(SGD(learningRate: 0.1))])
  func followsInDouble(optimizer: Optimizer) throws {
    let trainer = try trainer(decay: 0.25, optimizer: optimizer)
    func numbers(_ model: Model) -> [String: [Double]] {
      model.parameters.merging(model.state) { $1 }.filter { $1.elementType == .float32 }
        .mapValues(\.doubles)
    }
    var want = numbers(trainer.model)
    var largest = want.mapValues { $0.map(abs) }
    var step = 0
    try trainer.run(epochs: 1, data: data) { _ in
      let decay = min(0.25, Double(1 + step) / Double(10 + step))
      for (name, values) in numbers(trainer.model) {
        want[name] = want[name].map { zip($0, values).map { $0 + (1 - decay) * ($1 - $0) } }
        largest[name] = largest[name].map { zip($0, values).map { max($0, abs($1)) } }
      }
      step += 1
    }
    #expect(step == 6)
    let average = try #require(trainer.averagedModel)
    for (name, values) in numbers(average) {
      for (i, value) in values.enumerated() {
        let bound = 6 * 4 * Double(Float.ulpOfOne) * (largest[name]?[i] ?? 0)
        #expect(abs(value - (want[name]?[i] ?? .nan)) <= bound, "\(name)[\(i)]")
      }
    }
    #expect(average.parameters != trainer.model.parameters)
    let counter = "batchNormalization1.num_batches_tracked"
    #expect(average.state[counter] == trainer.model.state[counter])
  }

  /// Averaging changes nothing of the training itself, and depends on no number of lanes.
  @Test func trainingGoesOnAsWithout() throws {
    let (one, two, without) = (
      try trainer(decay: 0.9), try trainer(decay: 0.9, lanes: 2), try trainer(decay: nil)
    )
    for trainer in [one, two, without] { try trainer.run(epochs: 2, data: data) }
    #expect(
      one.model.parameters == without.model.parameters && one.model.state == without.model.state)
    #expect(one.averagedModel?.parameters == two.averagedModel?.parameters)
    #expect(one.averagedModel?.state == two.averagedModel?.state)
    #expect(without.averagedModel == nil)
    #expect(try one.evaluate(data) == Evaluator(#require(one.averagedModel)).evaluate(data))
    #expect(try one.evaluate(data) != without.evaluate(data))
  }

  @Test func stepsThatDoNotHappenLeaveIt() throws {
    let trainer = try trainer(decay: 0.5)
    try trainer.run(epochs: 1, data: data)
    let before = try #require(trainer.averagedModel)
    var pixels = [Float](repeating: 0, count: 4 * 64)
    pixels[7] = .nan
    #expect(throws: TrainingError.self) {
      try trainer.step(
        images: Tensor(pixels, shape: [4, 8, 8, 1]), labels: Tensor([0, 1, 0, 1] as [Int64]))
    }
    let after = try #require(trainer.averagedModel)
    #expect(after.parameters == before.parameters && after.state == before.state)
  }

  /// Frozen layers are averages of themselves, to the last bit.
  @Test func frozenLayersStayExact() throws {
    let frozen = try Model(initializing: graph, seed: 5).freezingBatchNormalization()
    let trainer = try Trainer(
      model: frozen, optimizer: .sgd(SGD(learningRate: 0.1)), batchSize: 8, averageDecay: 0.9)
    try trainer.run(epochs: 1, data: data)
    #expect(trainer.averagedModel?.state == frozen.state)
  }

  @Test func averagesComeBack() throws {
    let (trainer, other) = (try trainer(decay: 0.5), try trainer(decay: 0.5))
    try trainer.run(epochs: 1, data: data)
    let saved = try #require(trainer.averagedModel)
    try other.average?.restore(saved)
    #expect(other.averagedModel?.parameters == saved.parameters)
    #expect(other.averagedModel?.state == saved.state)
    let foreign = try Model(initializing: smallNetwork(size: 8, classes: 3), seed: 1)
    #expect(throws: TrainingError.self) { try other.average?.restore(foreign) }
    #expect(other.averagedModel?.parameters == saved.parameters)
  }
}
