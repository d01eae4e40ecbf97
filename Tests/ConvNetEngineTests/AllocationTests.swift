import CConvNetMallocCounter
import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import OpenBLAS
import Testing

/// Runs of a plan allocate nothing, on any lane; counted in a child process, where nothing else runs.
@Suite struct AllocationTests {
  /// Every kind of step that training has.
  static func trainingPlan(lanes: Int) throws -> (plan: Plan, model: Model) {
    let graph = try Graph(inputs: [
      ("input", .image(height: 12, width: 12, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let logits = values[0].convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .residualBlock(24, stride: 2).depthwiseConvolution(kernel: 3).maxPooling(kernel: 2)
        .convolution(20, kernel: 1).decorrelatedBatchNormalization(groupSize: 5).sigmoid().dropout(
          0.25
        ).globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
    let model = try randomModel(graph, seed: 1)
    let training = try ResolveMode(.training).apply(to: graph).gradient(of: "loss")
    let plan = try Plan(
      training, inputShapes: ["input": [4, 12, 12, 3], "labels": [4]],
      lanes: Lanes(count: lanes))
    return (plan, model)
  }

  /// With Haswell kernels: OpenBLAS 0.3.21's small-matrix kernels of SkylakeX and Cooperlake take a buffer
  /// from malloc inside some calls of sgemm, and what is counted here are the engine's own allocations.
  private static func allocations(lanes: Int) throws -> Int {
    BLAS.bootstrap(kernel: .named("Haswell"))
    let (plan, model) = try trainingPlan(lanes: lanes)
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
        let count = try AllocationTests.allocations(lanes: lanes)
        guard count == 0 else { fatalError("\(count) allocations on \(lanes) lanes") }
      }
    }
  }
}
