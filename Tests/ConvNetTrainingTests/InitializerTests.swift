import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct InitializerTests {
  func model(
    _ network: Network = .lenet, normalized: Bool = true, _ initializer: Initializer = .he,
    seed: UInt64 = 7
  ) throws -> Model {
    try Model(
      initializing: network.graph(batchNormalization: normalized), initializer: initializer,
      seed: seed)
  }

  /// Published test vectors of 64-bit FNV-1a.
  @Test func purposesHashByFNV() {
    #expect(Philox(seed: 1, purpose: "").stream == 0xCBF2_9CE4_8422_2325)
    #expect(Philox(seed: 1, purpose: "a").stream == 0xAF63_DC4C_8601_EC8C)
    #expect(Philox(seed: 1, purpose: "foobar").stream == 0x8594_4171_F739_67E8)
  }

  @Test func normalsDoNotDependOnTheirNumber() {
    let random = Philox(seed: 3, stream: 5)
    #expect(random.normals(7) == Array(random.normals(8)[..<7]))
    #expect(random.normals(0) == [])
  }

  /// Mean, variance and tails of n standard normal numbers within five standard deviations of the
  /// sample's own spread: 1/√n, √(2/n) and √(p(1 − p)/n).
  @Test(arguments: [UInt64(1), 2, 3]) func normalsAreNormal(seed: UInt64) {
    let n = 20_000
    let values = Philox(seed: seed, purpose: "normals").normals(n)
    let mean = values.reduce(0, +) / Double(n)
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(n) - mean * mean
    let inside = Double(values.count { abs($0) < 1 }) / Double(n)
    #expect(abs(mean) <= 5 / Double(n).squareRoot(), "seed \(seed)")
    #expect(abs(variance - 1) <= 5 * (2 / Double(n)).squareRoot(), "seed \(seed)")
    let p = 0.682_689_492_137_086
    #expect(abs(inside - p) <= 5 * (p * (1 - p) / Double(n)).squareRoot(), "seed \(seed)")
  }

  /// The variance of dense and convolution weights is 2/fan-in, or (bound²)/3 for Glorot.
  @Test func variances() throws {
    let fans = ["convolution2.weight": (150, 400), "dense1.weight": (400, 120)]
    for (name, (fanIn, fanOut)) in fans {
      let he = try #require(try model().parameters[name]).doubles
      let n = Double(he.count)
      let variance = he.reduce(0) { $0 + $1 * $1 } / n * Double(fanIn) / 2
      #expect(abs(variance - 1) <= 5 * (2 / n).squareRoot(), "\(name)")

      let glorot = try #require(try model(.lenet, .glorot).parameters[name]).doubles
      let bound = (6 / Double(fanIn + fanOut)).squareRoot()
      #expect(glorot.allSatisfy { abs($0) <= bound * (1 + Double(Float.ulpOfOne)) }, "\(name)")
      let square = glorot.reduce(0) { $0 + $1 * $1 } / n / (bound * bound)
      #expect(abs(square - 1.0 / 3) <= 5 * (4.0 / 45 / n).squareRoot(), "\(name)")
    }
  }

  /// The shorter side's vectors are orthonormal.
  ///
  /// Rounding to float changes an inner product of unit
  /// vectors by at most ε; Householder's QR by a modest multiple of mn·ε in Double.
  @Test(arguments: [1.0, 2.0]) func orthogonal(gain: Double) throws {
    let model = try model(.lenet, .orthogonal(gain: gain))
    for name in ["convolution1.weight", "convolution2.weight", "dense1.weight", "dense3.weight"] {
      let weight = try #require(model.parameters[name])
      let columns = try #require(weight.shape.dimensions.last)
      let rows = weight.count / columns
      let values = weight.doubles.map { $0 / gain }
      let (count, length) = (min(rows, columns), max(rows, columns))
      let (step, next) = rows >= columns ? (columns, 1) : (1, columns)
      let bound = Double(Float.ulpOfOne) + Double(rows * columns) * Double.ulpOfOne
      var worst = 0.0
      for a in 0..<count {
        for b in a..<count {
          let product = (0..<length).reduce(0.0) {
            $0 + values[$1 * step + a * next] * values[$1 * step + b * next]
          }
          worst = max(worst, abs(product - (a == b ? 1 : 0)))
        }
      }
      #expect(worst <= bound, "\(name)")
    }
  }

  /// The diagonal of a Haar-distributed matrix has no preferred sign; LAPACK's own Q has.
  @Test func orthogonalHasNoPreferredSigns() throws {
    let graph = try Graph(input: .features(3)) { $0.dense(3, bias: false) }
    let positive = try (0..<200).count { seed in
      let model = try Model(
        initializing: graph, initializer: .orthogonal(), seed: UInt64(seed))
      return try #require(model.parameters["dense1.weight"]).doubles[0] > 0
    }
    #expect(abs(positive - 100) <= 35, "five standard deviations of a fair coin: \(positive)")
  }

  @Test func otherRoles() throws {
    let model = try model()
    #expect(
      model.parameters["batchNormalization1.weight"] == Tensor(repeating: Float(1), shape: [6]))
    #expect(model.parameters["batchNormalization1.bias"] == Tensor(zeros: [6]))
    #expect(model.parameters["dense3.bias"] == Tensor(zeros: [10]))
    #expect(
      model.state["batchNormalization1.running_var"] == Tensor(repeating: Float(1), shape: [6]))
  }

  @Test(arguments: [Network.lenet, .fashion])
  func filtersDoNotDependOnBatchNorm(network: Network) throws {
    let (with, without) = (
      try model(network, normalized: true), try model(network, normalized: false)
    )
    let weights = with.graph.parameterViews.filter(\.role.decaysByDefault).map(\.name)
    #expect(!weights.isEmpty)
    for name in weights { #expect(with.parameters[name] == without.parameters[name], "\(name)") }
    #expect(without.state.isEmpty)
    #expect(try model(network, seed: 8).parameters[weights[0]] != with.parameters[weights[0]])
  }

  @Test func unknownNetworksAreNamed() throws {
    #expect(try Network.named("fashion") == .fashion)
    let error = #expect(throws: GraphError.self) { try Network.named("lenett") }
    #expect(error?.reason.contains("lenet, fashion") == true)
    #expect(throws: GraphError.self) { try Network.lenet.graph(size: 4) }
    #expect(throws: GraphError.self) { try Network.fashion.graph(classes: 0) }
  }
}
