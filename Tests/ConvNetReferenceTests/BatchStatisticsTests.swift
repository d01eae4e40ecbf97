import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Ghost batches, single samples, masks and renormalisation, as graphs.
@Suite struct BatchStatisticsTests {
  private typealias Values = [String: ReferenceTensor]

  /// Batch norm of `x` as `y`, and the loss Σ w·y.
  private func layer(
    _ type: TensorType, _ statistics: BatchStatistics = BatchStatistics(), mask: TensorType? = nil
  ) throws -> Graph {
    let inputs = [("x", type), ("w", type)] + (mask.map { [("mask", $0)] } ?? [])
    return try Graph(inputs: inputs) { values in
      let y = values[0].batchNormalization(
        epsilon: 1e-3, name: "norm", statistics: statistics, mask: mask == nil ? nil : values[2])
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
  }

  private func values(_ graph: Graph, _ shape: Shape, seed: UInt64 = 4) throws -> Values {
    var values: Values = [
      "x": TestData.doubles(shape, seed: seed), "w": TestData.doubles(shape, seed: seed + 1),
    ]
    for (index, parameter) in graph.parameters.enumerated() {
      let shape = try #require(graph.type(of: parameter.value).shape)
      values[parameter.name] = TestData.doubles(
        shape, in: 0.5...1.5, seed: seed + 2 + UInt64(index))
    }
    for (name, tensor) in Model.initialState(of: graph) { values[name] = ReferenceTensor(tensor) }
    return values
  }

  private func step(_ graph: Graph, _ shape: Shape) throws -> (Graph, [StatisticsPorts]) {
    var shapes = ["x": shape, "w": shape]
    if graph.inputs.contains(where: { $0.name == "mask" }) { shapes["mask"] = [shape[0]] }
    let resolved = try graph.resolvedForTraining(inputShapes: shapes)
    let gradient = try resolved.gradient(
      of: "loss", withRespectTo: ["x", "norm.weight", "norm.bias"])
    let exposed = try JoinSliceGradients().apply(to: gradient).exposingStatistics()
    return (exposed.graph, exposed.layers)
  }

  /// Only what a graph asks for.
  private func run(_ graph: Graph, _ values: Values) throws -> Values {
    try Reference(unbound: graph).runInDouble(
      values.filter { name, _ in graph.value(named: name) != nil })
  }

  private func moments(_ layer: StatisticsPorts, _ results: Values) throws -> Moments {
    try layer.moments { try #require(results[$0]).tensor }
  }

  // MARK: Ghost batches

  /// Eight samples in groups of three: rows 0…2, 3…5 and 6…7 as batches of their own.
  @Test(arguments: [[8, 2], [8, 2, 3, 2]] as [Shape]) func ghostBatchesAreBatches(
    _ shape: Shape
  ) throws {
    let type = TensorType([.symbol("N")] + shape.dimensions.dropFirst().map(Dimension.fixed))
    let ghost = try layer(type, BatchStatistics(ghostBatchSize: 3))
    let plain = try layer(type)
    let values = try values(ghost, shape)
    let (graph, layers) = try step(ghost, shape)
    #expect(layers.count == 1 && layers[0].triples.count == 3)
    #expect(!graph.nodes.contains { $0.operation.name == "sliceGradient" })
    let results = try run(graph, values)
    var expected: [String: [Double]] = [:]
    let row = shape.count / 8
    for range in [0..<3, 3..<6, 6..<8] {
      let part = Shape([range.count] + shape.dimensions.dropFirst())
      var group = values
      for name in ["x", "w"] {
        let all = try #require(values[name]).values
        group[name] = ReferenceTensor(
          Array(all[range.lowerBound * row..<range.upperBound * row]), shape: part)
      }
      let results = try run(step(plain, part).0, group)
      for name in ["y", "gradient/x"] { expected[name, default: []] += results[name]?.values ?? [] }
      for name in ["gradient/norm.weight", "gradient/norm.bias"] {
        let sum = results[name]?.values ?? []
        expected[name] = expected[name].map { zip($0, sum).map { $0 + $1 } } ?? sum
      }
    }
    for (name, expected) in expected {
      expectClose(results[name]?.values ?? [], expected, tolerance: 1e-12, name)
    }
    // Pooled by Chan's formula, the groups' moments are those of the whole batch.
    let (whole, wholeLayers) = try step(plain, shape)
    let wholeMoments = try moments(wholeLayers[0], run(whole, values))
    let pooled = try moments(layers[0], results)
    #expect(pooled.count == wholeMoments.count)
    expectClose(pooled.mean, wholeMoments.mean, tolerance: 1e-14)
    expectClose(pooled.m2, wholeMoments.m2, tolerance: 1e-12)
  }

  @Test func ghostBatchesHaveAGradient() throws {
    let graph = try layer(TensorType([7, 2]), BatchStatistics(ghostBatchSize: 3))
    let resolved = try graph.resolvedForTraining(inputShapes: ["x": [7, 2], "w": [7, 2]])
    let values = try values(graph, [7, 2])
    // The last group of one sample is kept as it is here, y = β; the engine refuses it.
    try finiteDifferenceCheck(
      resolved, values, withRespectTo: ["x", "norm.weight", "norm.bias"])
  }

  @Test func ghostBatchesLeaveInferenceAndSmallBatchesAlone() throws {
    let ghost = try layer(TensorType(["N", 2]), BatchStatistics(ghostBatchSize: 4))
    let plain = try layer(TensorType(["N", 2]))
    func kinds(_ graph: Graph) -> [String] { graph.nodes.map(\.operation.name) }
    #expect(
      try kinds(ResolveMode(.inference).apply(to: ghost))
        == kinds(ResolveMode(.inference).apply(to: plain)))
    #expect(
      try kinds(ghost.resolvedForTraining(inputShapes: ["x": [4, 2], "w": [4, 2]]))
        == kinds(plain.resolvedForTraining(inputShapes: ["x": [4, 2], "w": [4, 2]])))
    let large = try Reference(
      Model(
        graph: ghost,
        parameters: ["norm.weight": Tensor([1, 1] as [Float]), "norm.bias": Tensor(zeros: [2])],
        state: Model.initialState(of: ghost)), mode: .training)
    let x = Tensor([0, 0, 2, 0, 0, 0, 2, 0, 100, 0, 102, 0] as [Float], shape: [6, 2])
    let y = try large.run(inputs: ["x": x, "w": x])["y"]?.doubles ?? []
    // Each group has σ² = 1: the second one's mean of 101 stays its own.
    let unit = 1 / 1.001.squareRoot()
    expectClose(
      stride(from: 0, to: 12, by: 2).map { y[$0] }, [-unit, unit, -unit, unit, -unit, unit],
      tolerance: 1e-7)
  }

  // MARK: One sample

  @Test func singleSamplesFollowThePolicy() throws {
    for policy in [SingleSamplePolicy.useRunning, .skipUpdate] {
      let graph = try layer(TensorType(["N", 3]), BatchStatistics(singleSample: policy))
      var values = try values(graph, [1, 3])
      values["norm.running_mean"] = TestData.doubles([3], seed: 8)
      values["norm.running_var"] = TestData.doubles([3], in: 0.5...1.5, seed: 9)
      let (step, layers) = try step(graph, [1, 3])
      #expect(layers.isEmpty, "\(policy)")
      let results = try run(step, values)
      if policy == .useRunning {
        let inference = try run(ResolveMode(.inference).apply(to: graph), values)
        #expect(results["y"]?.values == inference["y"]?.values, "\(policy)")
      } else {
        #expect(results["y"]?.values == values["norm.bias"]?.values)
      }
      #expect(try self.step(graph, [2, 3]).1.count == 1)
    }
    // Six groups of four and one of one sample, which is left out of the running statistics.
    let ghost = try layer(
      TensorType(["N", 3]), BatchStatistics(singleSample: .skipUpdate, ghostBatchSize: 4))
    #expect(try step(ghost, [25, 3]).1[0].triples.count == 6)
  }

  @Test func refusesWhatCannotBe() {
    for statistics in [BatchStatistics(ghostBatchSize: 0), BatchStatistics(ghostBatchSize: -1)] {
      #expect(throws: GraphError.self) { try self.layer(TensorType([4, 2]), statistics) }
    }
    for mask in [[5], [4, 2], [2], [4, 1]] as [Shape] {
      #expect(throws: GraphError.self) {
        try self.layer(TensorType([4, 2]), mask: TensorType(.float32, mask))
      }
    }
    let moments = BatchMoments(axis: -1, statistics: BatchStatistics(singleSample: .useRunning))
    #expect(throws: GraphError.self) {
      try Operation.batchMoments(moments).outputTypes([TensorType([4, 2])])
    }
  }

  // MARK: Masks

  /// Valid rows are normalised as if the others were not there.
  @Test func maskedPositionsDoNotCount() throws {
    let graph = try layer(TensorType(["N", 2]), mask: TensorType(["N"]))
    var all = try values(graph, [6, 2])
    all["mask"] = ReferenceTensor([1, 0, 1, 1, 0, 1], shape: [6])
    // A masked position without gradient, as padding has one.
    for row in [1, 4] { for c in 0..<2 { all["w"]?.values[row * 2 + c] = 0 } }
    let (step, layers) = try step(graph, [6, 2])
    let results = try run(step, all)
    let valid = [0, 2, 3, 5]
    func rows(_ name: String, _ values: Values) -> [Double] {
      valid.flatMap { row in (0..<2).map { values[name]?.values[row * 2 + $0] ?? .nan } }
    }
    var few = all
    for name in ["x", "w"] { few[name] = ReferenceTensor(rows(name, all), shape: [4, 2]) }
    let (plainStep, plainLayers) = try self.step(layer(TensorType(["N", 2])), [4, 2])
    let expected = try run(plainStep, few)
    for name in ["y", "gradient/x"] {
      expectClose(rows(name, results), expected[name]?.values ?? [], tolerance: 1e-14, name)
    }
    for name in ["gradient/norm.weight", "gradient/norm.bias"] {
      expectClose(
        results[name]?.values ?? [], expected[name]?.values ?? [], tolerance: 1e-14, name)
    }
    #expect(try moments(layers[0], results) == moments(plainLayers[0], expected))
    #expect([2, 3, 8, 9].allSatisfy { results["gradient/x"]?.values[$0] == 0 })
  }

  @Test(arguments: [[6, 2], [6, 3, 2], [6, 2, 2, 2]] as [Shape])
  func masksHaveAGradient(_ shape: Shape) throws {
    let graph = try layer(TensorType(.float32, shape), mask: TensorType([6]))
    var values = try values(graph, shape)
    values["mask"] = ReferenceTensor([1, 0, 1, 1, 0, 1], shape: [6])
    try finiteDifferenceCheck(
      ResolveMode(.training).apply(to: graph), values,
      withRespectTo: ["x", "norm.weight", "norm.bias"])
  }

  @Test func nothingValidIsNoNaN() throws {
    let graph = try layer(TensorType([3, 2]), mask: TensorType([3]))
    for mask in [[0, 0, 0], [0, 1, 0]] as [[Double]] {
      var values = try values(graph, [3, 2])
      values["mask"] = ReferenceTensor(mask, shape: [3])
      let results = try run(step(graph, [3, 2]).0, values)
      #expect(results.values.allSatisfy { $0.values.allSatisfy(\.isFinite) })
    }
  }

  // MARK: Renormalisation

  /// ε = 0, running mean 1 and variance 4; the batch has mean 4 and variance 9, so r = 3/2 and d = 3/2.
  @Test(arguments: [(3.0, 5.0, 1.5, 1.5), (1.25, 5, 1.25, 1.5), (3, 0.5, 1.5, 0.5), (1, 0, 1, 0)])
  func factorsAreClipped(_ scaleLimit: Double, _ shiftLimit: Double, _ r: Double, _ d: Double)
    throws
  {
    func double(_ values: [Double], _ shape: Shape) -> ReferenceTensor {
      ReferenceTensor(values, shape: shape, elementType: .float64)
    }
    let results = try evaluateInReference(
      .renormalize(Renormalize(epsilon: 0)), double([2], []), double([4, -2], [2]),
      double([18, 18], [2]), ReferenceTensor([1, 1], shape: [2]),
      ReferenceTensor([4, 4], shape: [2]),
      ReferenceTensor([scaleLimit, shiftLimit], shape: [2]))
    #expect(results.map(\.values) == [[r, r], [d, -d]])
  }

  /// With r and d as constants the layer is batch norm with the scale γ·r and the shift γ·d + β.
  @Test func renormalisationIsAScaleAndAShift() throws {
    let graph = try layer(TensorType(["N", 3]), BatchStatistics(renormalizes: true))
    var all = try values(graph, [8, 3])
    all["norm.running_mean"] = TestData.doubles([3], seed: 8)
    all["norm.running_var"] = TestData.doubles([3], in: 0.1...1.5, seed: 9)
    all[GraphBuilder.renormalizationLimitsName] = ReferenceTensor([2, 1], shape: [2])
    let (step, layers) = try step(graph, [8, 3])
    let results = try run(step, all)
    let (plainStep, plainLayers) = try self.step(layer(TensorType(["N", 3])), [8, 3])
    let batch = try moments(plainLayers[0], run(plainStep, all))
    #expect(try moments(layers[0], results) == batch)
    var (scaled, factors) = (all, [(r: Double, d: Double)]())
    for c in 0..<3 {
      let sigma = ((all["norm.running_var"]?.values[c] ?? 0) + 1e-3).squareRoot()
      let r = (batch.m2[c] / 8 + 1e-3).squareRoot() / sigma
      let d = (batch.mean[c] - (all["norm.running_mean"]?.values[c] ?? 0)) / sigma
      factors.append((min(max(r, 0.5), 2), min(max(d, -1), 1)))
      let gamma = all["norm.weight"]?.values[c] ?? 0
      scaled["norm.weight"]?.values[c] = gamma * factors[c].r
      scaled["norm.bias"]?.values[c] += gamma * factors[c].d
    }
    let plain = try run(plainStep, scaled)
    for name in ["y", "gradient/x", "gradient/norm.bias"] {
      expectClose(results[name]?.values ?? [], plain[name]?.values ?? [], tolerance: 1e-13, name)
    }
    // dγ = r·Σ dy·x̂ + d·Σ dy.
    let weight = plain["gradient/norm.weight"]?.values ?? []
    let bias = plain["gradient/norm.bias"]?.values ?? []
    expectClose(
      results["gradient/norm.weight"]?.values ?? [],
      (0..<3).map { factors[$0].r * weight[$0] + factors[$0].d * bias[$0] }, tolerance: 1e-13)
    // With the neutral limits it is batch norm.
    all[GraphBuilder.renormalizationLimitsName] = ReferenceTensor([1, 0], shape: [2])
    #expect(try run(step, all)["y"]?.values == run(plainStep, all)["y"]?.values)
  }
}
