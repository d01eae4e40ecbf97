import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Glibc
import Testing

/// The unrolled long short-term memory against loops that say the same in Double.
@Suite struct RecurrentTests {
  static let (samples, steps, channels, units) = (5, 4, 3, 2)
  static let epsilon = 1e-3

  /// The equations of `lstm`, sample by sample but for the statistics.
  struct Loop {
    var values: [String: [Double]]
    var normalized: Bool
    var mode: ExecutionMode
    var forgetBias: Double
    var statistics = RecurrentStatistics.perStep

    func value(_ name: String) -> [Double] { values["lstm1.\(name)"] ?? [] }

    /// γ·x̂ + β of columns of rows, with the rows' mean and variance or running ones.
    func norm(
      _ rows: [[Double]], _ name: String, state: String, offset: Int = 0, shift: [Double]? = nil
    ) -> [[Double]] {
      guard normalized else { return rows }
      var rows = rows
      let scale = value("\(name).weight")
      for c in rows[0].indices {
        var mean = rows.reduce(0) { $0 + $1[c] } / Double(rows.count)
        var variance =
          rows.reduce(0) { $0 + ($1[c] - mean) * ($1[c] - mean) } / Double(rows.count)
        if mode == .inference {
          mean = value("\(state).running_mean")[offset + c]
          variance = value("\(state).running_var")[offset + c]
        }
        for n in rows.indices {
          rows[n][c] =
            scale[c] * (rows[n][c] - mean) / (variance + RecurrentTests.epsilon).squareRoot()
            + (shift?[c] ?? 0)
        }
      }
      return rows
    }

    func product(_ rows: [[Double]], _ name: String) -> [[Double]] {
      let weight = value(name)
      let columns = weight.count / rows[0].count
      return rows.map { row in
        (0..<columns).map { j in
          row.indices.reduce(0) { $0 + row[$1] * weight[$1 * columns + j] }
        }
      }
    }

    /// γ·x̂ of the inputs' products by time step, each normalised by itself or all together.
    func inputProducts(_ x: [Double]) -> [[[Double]]] {
      let (samples, steps) = (RecurrentTests.samples, RecurrentTests.steps)
      let channels = RecurrentTests.channels
      let products = (0..<steps).map { t in
        let rows = (0..<samples).map { n in
          Array(x[(n * steps + t) * channels..<(n * steps + t + 1) * channels])
        }
        return product(rows, "input.weight")
      }
      guard statistics == .shared else {
        return products.enumerated().map { t, rows in
          norm(
            rows, "input_norm", state: "input_norm", offset: t * 4 * RecurrentTests.units)
        }
      }
      let all = norm(products.flatMap(\.self), "input_norm", state: "input_norm")
      return (0..<steps).map { Array(all[$0 * samples..<($0 + 1) * samples]) }
    }

    /// The hidden states by time step, sample and unit.
    func hiddenStates(_ x: [Double]) -> [[[Double]]] {
      let (samples, steps) = (RecurrentTests.samples, RecurrentTests.steps)
      let units = RecurrentTests.units
      func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
      var c = [[Double]](repeating: [Double](repeating: 0, count: units), count: samples)
      var h = c
      var results: [[[Double]]] = []
      let inputs = inputProducts(x)
      for t in 0..<steps {
        let a = inputs[t]
        let step = statistics == .shared ? "" : ".\(t)"
        var b = [[Double]](repeating: [Double](repeating: 0, count: 4 * units), count: samples)
        if t > 0 {
          b = norm(product(h, "hidden.weight"), "hidden_norm", state: "hidden_norm\(step)")
        }
        func gate(_ n: Int, _ g: Int, _ u: Int) -> Double {
          a[n][g * units + u] + b[n][g * units + u] + value("bias")[g * units + u]
        }
        for n in 0..<samples {
          for u in 0..<units {
            let kept = sigmoid(gate(n, 0, u) + forgetBias) * c[n][u]
            c[n][u] = kept + sigmoid(gate(n, 1, u)) * tanh(gate(n, 3, u))
          }
        }
        let exposed = norm(
          c, "cell_norm", state: "cell_norm\(step)", shift: value("cell_norm.bias"))
        for n in 0..<samples {
          for u in 0..<units { h[n][u] = sigmoid(gate(n, 2, u)) * tanh(exposed[n][u]) }
        }
        results.append(h)
      }
      return results
    }
  }

  @Test(
    arguments: [nil, RecurrentStatistics.perStep, .shared], [ExecutionMode.training, .inference])
  func agreesWithLoops(statistics: RecurrentStatistics?, mode: ExecutionMode) throws {
    let shape: Shape = [Self.samples, Self.steps, Self.channels]
    let options = BatchNormalizationOptions(epsilon: Self.epsilon)
    let graph = try Graph(input: TensorType(.float32, shape)) {
      $0.lstm(
        Self.units, batchNormalization: statistics == nil ? nil : options,
        statistics: statistics ?? .perStep, forgetBias: 0.5, output: .sequence)
    }
    let resolved = try ResolveMode(mode).apply(to: graph)
    let model = try randomModel(graph, seed: 3)
    var values = model.parameters.merging(model.state) { $1 }.mapValues(ReferenceTensor.init)
    let x = TestData.doubles(shape, seed: 4)
    let loop = Loop(
      values: values.mapValues(\.values), normalized: statistics != nil, mode: mode,
      forgetBias: 0.5, statistics: statistics ?? .perStep)
    let states = loop.hiddenStates(x.values)
    var expected: [Double] = []
    for n in 0..<Self.samples {
      for t in 0..<Self.steps { expected += states[t][n] }
    }
    values["input"] = x
    let outputs = try Reference(unbound: resolved).runInDouble(values)
    let output = try #require(outputs["output"])
    #expect(output.shape == [Self.samples, Self.steps, Self.units])
    // Some hundred operations one after another, each off by 2⁻⁵³, and gains of some units.
    expectClose(output.values, expected, tolerance: 1e-12, "\(mode)")
  }

  @Test func lastStateIsTheEndOfTheSequence() throws {
    let type = TensorType(.float32, [3, 2, 4] as Shape)
    let sequence = try Graph(input: type) { $0.lstm(3, output: .sequence) }
    let last = try Graph(input: type) { $0.lstm(3) }
    let model = try randomModel(sequence, seed: 5)
    let x = TestData.uniform([3, 2, 4], seed: 6)
    let all = try Reference(model, mode: .inference).run(inputs: ["input": x])["output"]
    let end = try Reference(
      Model(graph: last, parameters: model.parameters, state: [:]), mode: .inference
    ).run(inputs: ["input": x])["output"]
    let values = try #require(all).doubles
    var expected: [Double] = []
    for n in 0..<3 { expected += values[(n * 2 + 1) * 3..<(n * 2 + 2) * 3] }
    #expect(try #require(end).doubles == expected)
  }

  @Test func refusesOtherThanSequences() {
    #expect(throws: GraphError.self) {
      try Graph(input: TensorType(.float32, [3, 4] as Shape)) { $0.lstm(3) }
    }
    #expect(throws: GraphError.self) {
      try Graph(input: TensorType(.float32, [.fixed(2), .symbol("T"), .fixed(3)])) { $0.lstm(3) }
    }
  }

  @Test func scalesCanStartSmall() throws {
    let graph = try Graph(input: TensorType(.float32, [3, 2, 4] as Shape)) {
      $0.lstm(2, batchNormalization: BatchNormalizationOptions()).batchNormalization(name: "other")
    }
    let model = try randomModel(graph, seed: 1).settingRecurrentScales(to: 0.1)
    for name in ["input_norm", "hidden_norm", "cell_norm"] {
      let scale = try #require(model.parameters["lstm1.\(name).weight"])
      #expect(scale.doubles.allSatisfy { $0 == Double(Float(0.1)) }, "\(name)")
    }
    #expect(model.parameters["other.weight"] == randomModelParameter(graph, "other.weight"))
  }

  private func randomModelParameter(_ graph: Graph, _ name: String) -> Tensor? {
    try? randomModel(graph, seed: 1).parameters[name]
  }
}
