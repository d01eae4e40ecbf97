import CConvNetMallocCounter
import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import OpenBLAS
import Testing

/// Runs of a plan allocate nothing, on any lane; counted in a child process, where nothing else runs.
@Suite struct AllocationTests {
  /// Every kind of step that training has.
  static func trainingPlan(
    lanes: Int, decorrelates: Bool, options: PlanOptions = PlanOptions()
  ) throws -> (plan: Plan, model: Model) {
    let graph = try Graph(inputs: [
      ("input", .image(height: 12, width: 12, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let features = values[0].convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .residualBlock(24, stride: 2).depthwiseConvolution(kernel: 3).maxPooling(kernel: 2)
        .convolution(20, kernel: 1)
      let normalized =
        decorrelates
        ? features.decorrelatedBatchNormalization(groupSize: 5) : features.batchNormalization()
      let logits = normalized.sigmoid().dropout(0.25).globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
    let model = try randomModel(graph, seed: 1)
    let training = try ResolveMode(.training).apply(to: graph).gradient(of: "loss")
    let plan = try Plan(
      training, inputShapes: ["input": [4, 12, 12, 3], "labels": [4]],
      lanes: Lanes(count: lanes), options: options)
    return (plan, model)
  }

  private static func allocations(
    lanes: Int, kernel: BLAS.Kernel, decorrelates: Bool, options: PlanOptions = PlanOptions()
  ) throws -> Int {
    BLAS.bootstrap(kernel: kernel)
    let (plan, model) = try trainingPlan(
      lanes: lanes, decorrelates: decorrelates, options: options)
    let store = ParameterStore(model)
    var workspace = plan.makeWorkspace(for: store)
    plan.run(in: &workspace)
    cmc_start()
    for _ in 0..<3 {
      store.markChanged()
      plan.run(in: &workspace)
    }
    return cmc_stop()
  }

  @Test func theCounterCounts() async {
    await #expect(processExitsWith: .success) {
      cmc_start()
      let tensor = Tensor(zeros: [1000])
      guard cmc_stop() > 0, tensor.count == 1000 else { fatalError("Nothing was counted.") }
    }
  }

  @Test func aTrainingStepAllocatesNothing() async {
    await #expect(processExitsWith: .success) {
      for lanes in 1...2 {
        for strategy in [nil, "winograd"] {
          let count = try AllocationTests.allocations(
            lanes: lanes, kernel: .recommended, decorrelates: false,
            options: PlanOptions(convolution: strategy))
          guard count == 0 else { fatalError("\(count) allocations on \(lanes) lanes") }
        }
      }
    }
  }

  /// On Haswell's kernels: those of SkylakeX and Cooperlake take buffers from malloc inside `dgemm` of
  /// a few columns, OpenBLAS 0.3.21's, and what counts here are the engine's own.
  @Test func aDecorrelatingTrainingStepAllocatesNothing() async {
    await #expect(processExitsWith: .success) {
      for lanes in 1...2 {
        let count = try AllocationTests.allocations(
          lanes: lanes, kernel: .named("Haswell"), decorrelates: true)
        guard count == 0 else { fatalError("\(count) allocations on \(lanes) lanes") }
      }
    }
  }

  /// Inference of a folded network with every strategy of convolution, panels with tails among them.
  @Test func anInferenceAllocatesNothing() async {
    await #expect(processExitsWith: .success) {
      BLAS.bootstrap(kernel: .recommended)
      let graph = try Graph(input: .image(height: 20, width: 20, channels: 3)) {
        $0.convolution(18, kernel: 3, stride: 2).batchNormalization().relu()
          .convolution(66, kernel: 5).batchNormalization().relu()
          .residualBlock(35, stride: 2).depthwiseConvolution(kernel: 3).maxPooling(kernel: 2)
          .convolution(69, kernel: 1).globalAveragePooling().dense(5).softmax()
      }
      let model = try FoldBatchNormalization().fold(randomModel(graph, seed: 1)).model
      for lanes in 1...2 {
        let plan = try Plan(
          model, mode: .inference, inputShapes: ["input": [3, 20, 20, 3]],
          lanes: Lanes(count: lanes))
        var workspace = plan.makeWorkspace(for: ParameterStore(model))
        plan.run(in: &workspace)
        cmc_start()
        for _ in 0..<3 { plan.run(in: &workspace) }
        let count = cmc_stop()
        guard count == 0 else { fatalError("\(count) allocations on \(lanes) lanes") }
      }
    }
  }
}
