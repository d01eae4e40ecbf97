import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Gradients of activated normalisations whose activation is recomputed rather than read.
@Suite struct ActivationGradientTests {
  static let functions: [UnaryFunction] = [.relu, .relu6, .clip(low: -0.5, high: 0.75)]

  /// Loss Σ w·f(BN(x)) and its gradients.
  private func graph(
    _ shape: Shape, _ function: UnaryFunction, scale: Bool = true, shift: Bool = true
  ) throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(.float32, shape))
    let w = builder.addInput("w", TensorType(.float32, [shape.count]))
    let row = TensorType(.float32, [shape[shape.rank - 1]] as Shape)
    let names = [("scale", scale), ("shift", shift)].filter(\.1).map(\.0)
    let moments = builder.add(.batchMoments(BatchMoments(axis: -1)), [x])
    let normalize = Normalize(
      axis: -1, epsilon: 1e-5, source: .batch, hasScale: scale, hasShift: shift)
    let n = builder.add(
      .normalize(normalize), [x] + moments + names.map { builder.addInput($0, row) })[0]
    let z = builder.add(.map(function), n)
    // Reshaped, dz is not the result of a step that would take the sums in blocks of its own.
    let weighted = builder.add(
      .combine(.multiply), builder.add(.reshape(Reshape([.fixed(shape.count)])), z), w)
    builder.addOutput("z", z)
    builder.addOutput("loss", builder.add(.reduce(Reduce(.sum, axes: [0])), weighted))
    return try builder.finish().gradient(of: "loss", withRespectTo: ["x"] + names)
  }

  private func inputs(_ graph: Graph, _ shape: Shape) -> [String: Tensor] {
    let row: Shape = [shape[shape.rank - 1]]
    return [
      "x": TestData.uniform(shape, in: -2...2, seed: 31),
      "w": TestData.uniform([shape.count], in: -1...1, seed: 32),
      "scale": TestData.uniform(row, in: -2...2, seed: 33),
      "shift": TestData.uniform(row, seed: 34),
    ].filter { graph.value(named: $0.key) != nil }
  }

  private func derivativeSteps(_ graph: Graph, _ options: PlanOptions) throws -> Int {
    try Plan(graph, inputShapes: [:], lanes: TestLanes.all[0], options: options)
      .stepDescriptions.count { $0.contains("Derivative") }
  }

  /// Same operations, same coefficients, same order: same bits.
  @Test(
    arguments: [[6, 3], [3, 4, 5, 16], [2, 9, 8, 17], [130, 7], [260, 130], [70, 300]] as [Shape],
    functions)
  func fusedGradientsHaveTheBitsOfUnfusedOnes(_ shape: Shape, _ function: UnaryFunction) throws {
    for (scale, shift) in [(true, true), (true, false), (false, true), (false, false)] {
      let graph = try graph(shape, function, scale: scale, shift: shift)
      let inputs = inputs(graph, shape)
      let expected = try runEngine(
        graph, inputs, options: PlanOptions(fusesEpilogues: false), lanes: TestLanes.all[0])
      for lanes in TestLanes.all {
        let results = try runEngine(graph, inputs, lanes: lanes)
        for (name, tensor) in expected where name != "loss" {
          #expect(results[name] == tensor, "\(name), \(lanes.count) lanes, \(scale), \(shift)")
        }
      }
    }
  }

  @Test func fusionCanBeTurnedOff() throws {
    let graph = try graph([4, 3], .relu)
    #expect(try derivativeSteps(graph, PlanOptions()) == 0)
    #expect(try derivativeSteps(graph, PlanOptions(fusesEpilogues: false)) == 1)
    #expect(try derivativeSteps(graph, PlanOptions(batchNormalization: .blas)) == 1)
  }

  /// n on both corners, in channels of one value (n = β exactly), and well inside and outside.
  @Test(arguments: functions) func cornersAgreeWithTheReference(_ function: UnaryFunction) throws {
    let shape: Shape = [8, 5]
    let graph = try graph(shape, function)
    let corners: (Float, Float) =
      switch function {
      case .relu6: (0, 6)
      case .clip(let low, let high): (Float(low), Float(high))
      default: (0, 0)
      }
    var x = [Float](repeating: 3, count: shape.count)
    // The last two channels: ±1 about 0, so that n = β ± γ/√(1+ε), far from every corner.
    for row in 0..<8 {
      x[row * 5 + 3] = row % 2 == 0 ? 1 : -1
      x[row * 5 + 4] = row < 4 ? 1 : -1
    }
    let inputs: [String: Tensor] = [
      "x": Tensor(x, shape: shape), "w": TestData.integers([shape.count], in: 1...3, seed: 3),
      "scale": Tensor([2, 2, 2, 2, 9] as [Float]),
      "shift": Tensor([corners.0, corners.1, 0.25, 1.5, -2] as [Float]),
    ]
    try checkGraph(graph, inputs) { _ in 0x1p-18 * 9 / 1e-5.squareRoot() }
    let gradient = try runEngine(graph, inputs, lanes: TestLanes.all[0])
    #expect(try #require(gradient["gradient/shift"]).floats[..<2] == [0, 0])
    #expect(try #require(gradient["gradient/shift"]).floats[2] > 0)
  }

  @Test(arguments: functions) func theReferenceInterpretsPrologues(_ function: UnaryFunction) throws
  {
    let graph = try graph([6, 3], function)
    let fused = try FuseActivationGradients().apply(to: graph)
    #expect(fused.nodes.count == graph.nodes.count - 1)
    let inputs = inputs(graph, [6, 3]).mapValues(ReferenceTensor.init)
    let expected = try Reference(unbound: graph).runInDouble(inputs)
    let results = try Reference(unbound: fused).runInDouble(inputs)
    for (name, tensor) in expected { #expect(results[name]?.values == tensor.values, "\(name)") }
  }
}
