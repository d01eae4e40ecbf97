import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ElementwiseTests {
  static let functions: [UnaryFunction] = [
    .relu, .relu6, .leakyRelu(slope: 0.1), .clip(low: -0.5, high: 0.7),
    .affine(scale: -2, offset: 3), .sigmoid, .tanh, .exp, .log, .squareRoot, .reciprocal, .absolute,
    .square, .softplus, .silu, .hardSwish, .hardSigmoid(slope: 0.3, offset: 0.45), .elu(alpha: 1.3),
    .gelu, .geluTanh, .erf, .floor, .ceiling, .round, .sign,
  ]

  /// Functions with a second derivative in the graph.
  static let twice: [UnaryFunction] = [
    .relu, .leakyRelu(slope: 0.1), .affine(scale: -2, offset: 3), .sigmoid, .tanh, .exp, .log,
    .squareRoot, .reciprocal, .square, .erf, .absolute, .hardSigmoid(slope: 0.3, offset: 0.45),
    .floor, .ceiling, .round, .sign,
  ]

  /// Arguments on both sides of every corner and at least 0.01 away from it, or positive ones.
  private func arguments(_ function: UnaryFunction) -> ReferenceTensor {
    let all = [-7.4, -3.3, -2.9, -1.6, -1.4, -0.6, -0.4, -0.1, 0.1, 0.6, 0.8, 1.7, 2.9, 3.3, 6.4]
    let values =
      switch function {
      case .log, .squareRoot, .reciprocal: all.filter { $0 > 0.5 }
      default: all
      }
    return ReferenceTensor(values, shape: [values.count])
  }

  @Test(
    arguments: [
      (.relu, [-1, 0, 2], [0, 0, 2]),
      (.relu6, [-1, 0, 2, 6, 9], [0, 0, 2, 6, 6]),
      (.leakyRelu(slope: 0.5), [-4, 0, 3], [-2, 0, 3]),
      (.clip(low: -1, high: 2), [-3, -1, 0.5, 2, 4], [-1, -1, 0.5, 2, 2]),
      (.affine(scale: 2, offset: -1), [3], [5]), (.negate, [3, -2], [-3, 2]),
      (.sigmoid, [0, 1000, -1000], [0.5, 1, 0]), (.tanh, [0, 100, -100], [0, 1, -1]),
      (.exp, [0, -.infinity], [1, 0]), (.log, [1, 0], [0, -.infinity]),
      (.squareRoot, [9, 0], [3, 0]), (.reciprocal, [4, -0.5], [0.25, -2]),
      (.absolute, [-3, 0, 2], [3, 0, 2]), (.square, [-3, 2], [9, 4]),
      (.softplus, [1000, -1000], [1000, 0]), (.silu, [0, 1000, -1000], [0, 1000, 0]),
      (.hardSwish, [-4, -3, 0, 1.5, 3, 5], [0, 0, 0, 1.125, 3, 5]),
      (.hardSigmoid(slope: 0.25, offset: 0.5), [-3, -2, 1, 2, 9], [0, 0, 0.75, 1, 1]),
      (.elu(alpha: 2), [3, 0, -.infinity], [3, 0, -2]),
      (.floor, [-1.5, -1, 0.7], [-2, -1, 0]), (.ceiling, [-1.5, 2, 0.2], [-1, 2, 1]),
      (.round, [-2.5, -0.6, 0.5, 1.5, 2.4], [-2, -1, 0, 2, 2]),
      (.sign, [-3, 0, 0.1], [-1, 0, 1]), (.geluTanh, [0, 100, -100], [0, 100, 0]),
      (.gelu, [0, 100, -100], [0, 100, 0]), (.erf, [0, 100, -100], [0, 1, -1]),
    ] as [(UnaryFunction, [Double], [Double])])
  func mapsKnownValues(_ function: UnaryFunction, _ x: [Double], _ y: [Double]) throws {
    #expect(try map(.map(function), x) == y)
  }

  @Test func mapsIrrationalValues() throws {
    // log 2, 1/(1 + e), Φ(1) = 0.8413447460685429 and erf(1), from tables.
    expectClose(try map(.map(.softplus), [0]), [0.6931471805599453], tolerance: 1e-15)
    expectClose(try map(.map(.sigmoid), [-1]), [0.2689414213699951], tolerance: 1e-15)
    expectClose(
      try map(.map(.gelu), [1, -1]), [0.8413447460685429, -0.15865525393145707], tolerance: 1e-15)
    // √(2/π)·1.044715 = 0.8335629…, whose hyperbolic tangent is 0.6823839….
    expectClose(
      try map(.map(.geluTanh), [1, -1]), [0.8411919906082768, -0.15880800939172324],
      tolerance: 1e-15)
    expectClose(try map(.map(.erf), [1]), [0.8427007929497149], tolerance: 1e-15)
  }

  @Test(arguments: functions) func passesNaNOn(_ function: UnaryFunction) throws {
    #expect(try map(.map(function), [.nan])[0].isNaN)
  }

  @Test(arguments: functions) func mapHasAGradient(_ function: UnaryFunction) throws {
    try checkGradient(of: .map(function), [arguments(function)])
  }

  @Test(arguments: twice) func mapHasASecondGradient(_ function: UnaryFunction) throws {
    let x = arguments(function)
    let dy = TestData.doubles(x.shape, seed: 1)
    try checkGradient(of: .combine(.derivative(function)), [dy, x])
  }

  @Test func refusesASecondGradientItLacks() throws {
    let x = TestData.doubles([3], seed: 1)
    let error = #expect(throws: GraphError.self) {
      try checkGradient(of: .combine(.derivative(.gelu)), [x, x])
    }
    #expect(error?.code == .noGradient)
    #expect(error?.description == "operation: gelu is differentiated once, not twice")
    try checkGradient(of: .combine(.derivative(.gelu)), [x, x], wanted: [0])
  }

  @Test(
    arguments: [
      (.add, [4, 7]), (.subtract, [2, 3]), (.multiply, [3, 10]), (.divide, [3, 2.5]),
      (.maximum, [3, 5]), (.minimum, [1, 2]), (.power, [3, 25]), (.equal, [0, 0]),
      (.greater, [1, 1]),
      (.derivative(.square), [6, 20]),
    ] as [(BinaryFunction, [Double])])
  func combinesKnownValues(_ function: BinaryFunction, _ y: [Double]) throws {
    #expect(try map(.combine(function), [3, 5], [1, 2]) == y)
  }

  @Test func combinesIntegersAsCDoes() throws {
    func combine(
      _ function: BinaryFunction, _ type: ElementType, _ a: [Double], _ b: [Double]
    ) throws -> [Double] {
      let operands = [a, b].map { ReferenceTensor($0, shape: [$0.count], elementType: type) }
      return try evaluateInReference(.combine(function), operands[0], operands[1])[0].values
    }
    #expect(try combine(.add, .uint8, [250, 1], [10, 2]) == [4, 3])
    #expect(try combine(.subtract, .uint8, [3], [5]) == [254])
    #expect(try combine(.multiply, .int32, [65_536], [65_536]) == [0])
    #expect(try combine(.divide, .int64, [-7, 7, 5], [2, -2, 0]) == [-3, -3, 0])
    #expect(try combine(.divide, .int32, [-2_147_483_648], [-1]) == [-2_147_483_648])
    #expect(try combine(.maximum, .int32, [-3, 2], [1, 1]) == [1, 2])
    #expect(try combine(.minimum, .int64, [-3, 2], [1, 1]) == [-3, 1])
    #expect(
      try combine(.power, .int64, [2, -1, -1, 1, 3, 0, -3], [10, -3, -2, -5, -1, -1, 3])
        == [1024, -1, 1, 1, 0, 0, -27])
    #expect(try combine(.power, .uint8, [3], [6]) == [217])
  }

  @Test(arguments: [BinaryFunction.maximum, .minimum, .add, .multiply])
  func combinesNaN(_ function: BinaryFunction) throws {
    #expect(try map(.combine(function), [.nan, 1], [1, .nan]).allSatisfy(\.isNaN))
  }

  @Test func broadcastsFromTheLastAxis() throws {
    let a = ReferenceTensor([10, 20], shape: [2, 1])
    let b = ReferenceTensor([1, 2, 3], shape: [3])
    let y = try evaluateInReference(.combine(.add), a, b)[0]
    #expect(y.shape == [2, 3])
    #expect(y.values == [11, 12, 13, 21, 22, 23])
  }

  static let binary: [BinaryFunction] = [
    .add, .subtract, .multiply, .divide, .maximum, .minimum, .power, .equal, .greater,
  ]

  @Test(
    arguments: [
      ([2, 3], [2, 3]), ([2, 3], [3]), ([3], [2, 3]), ([2, 1, 3], [4, 1]), ([], [2, 2]),
      ([1], [1, 1]),
      ([2, 3, 2], [2, 1, 2]),
    ] as [(Shape, Shape)])
  func combineHasAGradient(_ a: Shape, _ b: Shape) throws {
    for function in Self.binary {
      // Positive and, between the two, never equal.
      var left = TestData.distinct(a, seed: 1)
      var right = TestData.distinct(b, seed: 2)
      left.values = left.values.map { abs($0) + 0.5 }
      right.values = right.values.map { abs($0) + 0.53 }
      try checkGradient(of: .combine(function), [left, right])
    }
  }

  @Test func givesTiesToTheFirst() throws {
    for function in [BinaryFunction.maximum, .minimum] {
      let gradients = try gradients(.combine(function), [1, 2], [1, 2])
      #expect(gradients == [[1, 1], [0, 0]])
    }
  }

  @Test func definesPowersAtTheEdge() throws {
    // ∂0⁰/∂a = 0 and ∂0²/∂b = 0, no NaN; (−2)³ has the slope 12 in a.
    #expect(try gradients(.combine(.power), [0, 0, -2], [0, 2, 3]) == [[0, 0, 12], [0, 0, 0]])
  }

  private func map(_ operation: Operation, _ operands: [Double]...) throws -> [Double] {
    let tensors = operands.map { ReferenceTensor($0, shape: [$0.count]) }
    return try tensors.count == 1
      ? evaluateInReference(operation, tensors[0])[0].values
      : evaluateInReference(operation, tensors[0], tensors[1])[0].values
  }

  /// The gradients of Σ y with respect to both operands.
  private func gradients(_ operation: Operation, _ a: [Double], _ b: [Double]) throws -> [[Double]]
  {
    let shape: Shape = [a.count]
    let type = TensorType(.float32, shape)
    let graph = try operationGraph(operation, [type, type])
      .gradient(of: "loss", withRespectTo: ["x0", "x1"])
    let results = try Reference(unbound: graph).runInDouble([
      "x0": ReferenceTensor(a, shape: shape), "x1": ReferenceTensor(b, shape: shape),
      "w0": ReferenceTensor(a.map { _ in 1 }, shape: shape),
    ])
    return try ["x0", "x1"].map { try #require(results["gradient/\($0)"]).values }
  }
}
