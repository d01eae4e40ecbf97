import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Layer, group and instance normalisation.
@Suite struct NormalizationLayerTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var shape: Shape
    var layer: @Sendable (Graph.Value) -> Graph.Value

    init(_ name: String, _ shape: Shape, _ layer: @escaping @Sendable (Graph.Value) -> Graph.Value)
    {
      (testDescription, self.shape, self.layer) = ("\(name) \(shape)", shape, layer)
    }
  }

  static let cases: [Case] = [
    Case("layer", [3, 17]) { $0.layerNormalization(name: "n") },
    Case("layer", [2, 3, 5]) { $0.layerNormalization(shift: false, name: "n") },
    Case("layer", [2, 3, 4, 6]) { $0.layerNormalization(name: "n") },
    Case("group", [3, 8]) { $0.groupNormalization(groups: 2, name: "n") },
    Case("group", [2, 5, 6]) { $0.groupNormalization(groups: 3, name: "n") },
    Case("group", [2, 3, 4, 12]) { $0.groupNormalization(groups: 4, scale: false, name: "n") },
    Case("group", [2, 2, 3, 2, 4]) { $0.groupNormalization(groups: 1, name: "n") },
    Case("instance", [2, 7, 5]) { $0.instanceNormalization(name: "n") },
    Case("instance", [2, 3, 4, 17]) { $0.instanceNormalization(name: "n") },
    Case("instance", [2, 2, 3, 2, 3]) {
      $0.instanceNormalization(scale: false, shift: false, name: "n")
    },
  ]

  /// The layer and Σ w·y, with the batch as a symbol.
  private func graph(_ c: Case) throws -> Graph {
    let type = TensorType([.symbol("N")] + c.shape.dimensions.dropFirst().map { .fixed($0) })
    let graph = try Graph(inputs: [("x", type), ("w", type)]) { values in
      let y = c.layer(values[0])
      return ["y": y, "loss": (y * values[1]).reduced(.sum, axes: Array(0..<type.rank))]
    }
    return try graph.resolved(inputShapes: ["x": c.shape, "w": c.shape])
  }

  private func values(_ c: Case, _ graph: Graph) -> [String: Tensor] {
    var values = [
      "x": TestData.uniform(c.shape, in: -2...2, seed: 41),
      "w": TestData.integers(c.shape, in: -3...3, seed: 42),
    ]
    for parameter in graph.parameters {
      let shape = graph.type(of: parameter.value).shape ?? []
      values[parameter.name] = TestData.uniform(shape, in: 0.5...1.5, seed: 43)
    }
    return values
  }

  @Test(arguments: cases) func gradientsAgreeWithFiniteDifferences(_ c: Case) throws {
    let graph = try graph(c)
    try finiteDifferenceCheck(
      graph, values(c, graph).mapValues(ReferenceTensor.init),
      withRespectTo: ["x"] + graph.parameters.map(\.name))
  }

  /// |x̂| ≤ √m; the engine's way back has products of 1/σ, γ and w, and sums over a group and the batch.
  @Test(arguments: cases) func engineAgreesWithTheReference(_ c: Case) throws {
    let graph = try graph(c)
    let values = values(c, graph)
    let gradient = try graph.gradient(
      of: "loss", withRespectTo: ["x"] + graph.parameters.map(\.name))
    let deviation = try smallestDeviation(graph, values)
    let bound = Tolerance.bound(
      terms: c.shape.count / c.shape[0], maxA: 4 / deviation, maxB: 4.5 / deviation)
    for fuses in [true, false] {
      try checkGraph(gradient, values, options: PlanOptions(fusesEpilogues: fuses)) { _ in bound }
    }
  }

  private func smallestDeviation(_ graph: Graph, _ values: [String: Tensor]) throws -> Double {
    var graph = graph
    let node = try #require(graph.nodes.first { $0.name == "n.deviation" })
    graph.outputs = [Graph.Port(name: "deviation", value: node.outputs[0])]
    let results = try Reference(unbound: graph).runInDouble(
      values.mapValues(ReferenceTensor.init))
    return try #require(results["deviation"]?.values.min())
  }

  private func run(
    _ input: Tensor, _ layer: (Graph.Value) -> Graph.Value
  ) throws -> [Double] {
    let graph = try Graph(input: TensorType(.float32, input.shape)) { layer($0) }
    let model = try Model(
      graph: graph,
      parameters: Dictionary(
        uniqueKeysWithValues: graph.parameters.map { parameter in
          let shape = graph.type(of: parameter.value).shape ?? []
          let value: Float = parameter.role == .normalizationScale ? 2 : 10
          return (parameter.name, Tensor(repeating: value, shape: shape))
        }), state: [:])
    let output = try Reference(model, mode: .training).run(inputs: ["input": input])["output"]
    return try #require(output).doubles
  }

  /// x = [1 3 | 5 9], one sample of two positions and two channels, ε = 0, γ = 2, β = 10.
  @Test func valuesWorkedByHand() throws {
    let x = Tensor([1, 3, 5, 9] as [Float], shape: [1, 2, 2])
    // Each position: (1, 3) and (5, 9) are −1 and 1 deviation from their means.
    #expect(try run(x) { $0.layerNormalization(epsilon: 0) } == [8, 12, 8, 12])
    // Each channel: (1, 5) and (3, 9).
    #expect(try run(x) { $0.instanceNormalization(epsilon: 0) } == [8, 8, 12, 12])
    #expect(try run(x) { $0.groupNormalization(groups: 2, epsilon: 0) } == [8, 8, 12, 12])
    // One group: mean 4.5, variance (12.25 + 2.25 + 0.25 + 20.25)/4 = 8.75.
    let all = try run(x) { $0.groupNormalization(groups: 1, epsilon: 0) }
    let expected = [-3.5, -1.5, 0.5, 4.5].map { 2 * $0 / 8.75.squareRoot() + 10 }
    expectClose(all, expected, tolerance: Tolerance.ulps(1, magnitude: 16))
    // ε under the root: variance 1 + 3 → half a deviation.
    #expect(try run(x) { $0.layerNormalization(epsilon: 3) }.prefix(2) == [9, 11])
  }

  /// USERS §9, trap 4: a constant gives exactly β, and the mean of a million does not cost the variance.
  @Test func trap4ConstantsAndLargeMeans() throws {
    let constant = Tensor(repeating: Float(3.25), shape: [1, 4, 6])
    let layers: [(Graph.Value) -> Graph.Value] = [
      { $0.layerNormalization() }, { $0.instanceNormalization() },
      { $0.groupNormalization(groups: 3) },
    ]
    for layer in layers {
      #expect(try run(constant, layer).allSatisfy { $0 == 10 })
      let large = Tensor((0..<24).map { Float(1_000_000 + $0 % 5) }, shape: [1, 4, 6])
      let small = Tensor((0..<24).map { Float($0 % 5) }, shape: [1, 4, 6])
      expectClose(
        try run(large, layer), try run(small, layer), tolerance: Tolerance.ulps(1, magnitude: 16))
    }
  }

  /// What a sample becomes depends on no other: training and inference are one graph without state.
  @Test(arguments: cases) func samplesAreIndependent(_ c: Case) throws {
    let graph = try graph(c)
    #expect(graph.states.isEmpty)
    #expect(try ResolveMode(.training).apply(to: graph) == ResolveMode(.inference).apply(to: graph))
    #expect(graph.parameters.map(\.role).allSatisfy { !$0.decaysByDefault })
  }

  @Test func mistakesNameTheLayer() {
    let layers: [(Graph.Value) -> Graph.Value] = [
      { $0.groupNormalization(groups: 4, name: "n") },
      { $0.groupNormalization(groups: 0, name: "n") },
      { $0.flatten().instanceNormalization(name: "n") },
      { $0.layerNormalization(epsilon: -1, name: "n") },
      { $0.layerNormalization(epsilon: .nan, name: "n") },
    ]
    for layer in layers {
      let error = #expect(throws: GraphError.self) {
        try Graph(input: .image(height: 2, width: 2, channels: 6), layer)
      }
      #expect(error?.place == "n")
    }
  }
}
