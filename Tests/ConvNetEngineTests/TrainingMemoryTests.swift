import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

/// What a training step does to need less memory changes none of its bits.
@Suite struct TrainingMemoryTests {
  /// Plain, residual, depthwise and dense layers, deep enough that activations wait for the backward pass.
  private func trainingGraph() throws -> Graph {
    let graph = try Graph(inputs: [
      ("input", .image(height: 9, width: 10, channels: 3)), ("labels", TensorType(.int64, ["N"])),
    ]) { values in
      let x = values[0].convolution(16, kernel: 3, bias: false).batchNormalization().relu()
        .convolution(24, kernel: 3, bias: false).batchNormalization().map(.relu6)
      let logits = x.residualBlock(24).residualBlock(32, stride: 2)
        .depthwiseConvolution(kernel: 3, bias: false).batchNormalization()
        .convolution(20, kernel: 1, bias: false).batchNormalization().relu()
        .globalAveragePooling().dense(5)
      let loss = logits.softmaxCrossEntropy(labels: values[1]).reduced(.mean, axes: [0])
      return ["output": logits, "loss": loss]
    }
    return try ResolveMode(.training).apply(to: graph).gradient(of: "loss")
  }

  private func run(_ options: PlanOptions, lanes: Lanes) throws -> (
    results: [String: Tensor], byteCount: Int
  ) {
    let graph = try trainingGraph().resolved(inputShapes: ["input": [4, 9, 10, 3], "labels": [4]])
    let model = try randomModel(graph, seed: 8)
    let plan = try Plan(graph, inputShapes: [:], lanes: lanes, options: options)
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: TestData.uniform([4, 9, 10, 3], seed: 9))
    try workspace.setInput("labels", to: TestData.labels([4], in: 0...4, seed: 10))
    plan.run(in: &workspace)
    plan.run(in: &workspace)
    var results: [String: Tensor] = [:]
    for output in graph.outputs { results[output.name] = try workspace.output(output.name) }
    return (results, plan.peakByteCount)
  }

  private static let choices = [
    (true, true, false), (false, false, false), (false, true, false), (false, true, true),
    (true, false, true),
  ]

  /// Where batch norm's sums are not taken in the steps before, which may be others, no bit changes.
  @Test func recomputationAndTemporaryPacksKeepTheBits() throws {
    let kept = try run(
      PlanOptions(fusesEpilogues: false, keepsPackedWeights: true, recomputesActivations: false),
      lanes: TestLanes.all[0])
    #expect(kept.results.keys.contains { $0.hasPrefix("gradient/") })
    for (keeps, recomputes, segments) in Self.choices {
      let options = PlanOptions(
        fusesEpilogues: false, keepsPackedWeights: keeps, recomputesActivations: recomputes,
        recomputesSegments: segments)
      for lanes in TestLanes.all {
        let other = try run(options, lanes: lanes)
        for (name, result) in kept.results {
          #expect(other.results[name] == result, "\(name), \(lanes.count) lanes, \(options)")
        }
      }
    }
  }

  @Test func recomputationAndTemporaryPacksNeedLessMemory() throws {
    let kept = try run(
      PlanOptions(keepsPackedWeights: true, recomputesActivations: false), lanes: TestLanes.all[0])
    for (keeps, recomputes, segments) in Self.choices {
      let options = PlanOptions(
        keepsPackedWeights: keeps, recomputesActivations: recomputes, recomputesSegments: segments)
      #expect(try run(options, lanes: TestLanes.all[0]).byteCount < kept.byteCount, "\(options)")
    }
  }

  @Test func whatIsRepeatedStandsBeforeItsBackwardReaders() throws {
    let graph = try FuseEpilogues().apply(
      to: ReuseActivationOutputs().apply(to: RemoveUnused().apply(to: trainingGraph())))
    let again = try RecomputeActivations().apply(to: graph)
    try again.verify()
    let repeated = again.nodes.filter { $0.name.hasSuffix(".again") }
    #expect(!repeated.isEmpty && again.nodes.count == graph.nodes.count + repeated.count)
    for node in repeated {
      // No statistics are taken twice, and none but a normalisation is repeated.
      #expect(node.operation.running == nil && node.operation.resultCount == 1)
    }
    // Without a backward pass there is nothing to wait for.
    let forward = try ResolveMode(.training).apply(
      to: Graph(input: .image(height: 9, width: 9, channels: 3)) { x in
        (0..<8).reduce(x) { x, _ in x.convolution(3, kernel: 3).batchNormalization().relu() }
      })
    #expect(try RecomputeActivations().apply(to: forward) == forward)
  }

  /// Every segment is repeated behind the forward pass, without its statistics, and nobody reads the first
  /// results of what is repeated any more.
  @Test func segmentsAreRepeatedButNotTheirStatistics() throws {
    let shapes: [String: Shape] = ["input": [4, 9, 10, 3], "labels": [4]]
    let step = try trainingGraph().exposingStatistics().graph.resolved(inputShapes: shapes)
    let graph = try FuseEpilogues().apply(to: RemoveUnused().apply(to: step))
    let again = try RecomputeSegments().apply(to: graph)
    try again.verify()
    #expect(again.outputs == graph.outputs)
    let repeated = again.nodes.filter { $0.name.hasSuffix(".again") }
    #expect(repeated.count { again.multiplyAddCount(of: $0) > 0 } >= 2)
    #expect(repeated.allSatisfy { $0.operation.running == nil })
    let statistics = graph.nodes.filter { $0.operation.running != nil }
    #expect(again.nodes.filter { $0.operation.running != nil } == statistics)
    #expect(again.aliveByteCount < graph.aliveByteCount)
    let first = try #require(again.nodes.firstIndex { $0.name.hasSuffix(".again") })
    for node in repeated where node.operation.resultCount == 1 {
      let original = try #require(again.nodes.first { $0.name + ".again" == node.name })
      let last = again.dataReaders[original.outputs[0].index].max() ?? 0
      #expect(last < first, "\(original.name) is read by \(again.nodes[last].name)")
    }
  }

  @Test func whatHasNoBackwardPassIsLeftAlone() throws {
    let forward = try ResolveMode(.training).apply(
      to: Graph(input: .image(height: 9, width: 9, channels: 3)) { x in
        (0..<8).reduce(x) { x, _ in x.convolution(3, kernel: 3).batchNormalization().relu() }
      }
    ).resolved(inputShapes: ["input": [2, 9, 9, 3]])
    #expect(try RecomputeSegments().apply(to: forward) == forward)
    let empty = try Graph(input: .features(3)) { $0 }.resolved(inputShapes: ["input": [2, 3]])
    #expect(try RecomputeSegments().apply(to: empty) == empty)
  }
}
