import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Operations on numbers other than float32.
@Suite struct ElementTypeTests {
  static let numbers: [ElementType] = [.float64, .int64, .int32, .uint8]

  static func integers(
    _ shape: Shape, in range: ClosedRange<Int> = 0...9, _ type: ElementType, seed: UInt64
  ) -> Tensor {
    TestData.integers(shape, in: range, seed: seed).converted(to: type)
  }

  @Test(arguments: numbers) func combineAgrees(_ type: ElementType) throws {
    let lowest = type == .uint8 ? 0 : -6
    for (a, b) in OperationTests.broadcasts {
      let a = Self.integers(a, in: lowest...6, type, seed: 1)
      let b = Self.integers(b, in: lowest...5, type, seed: 2)
      for function in [BinaryFunction.add, .subtract, .multiply, .maximum, .minimum] {
        try checkOperation(.combine(function), [a, b], differentiates: false)
      }
      // Both take the quotient and the C library's power of the same numbers in Double.
      try checkOperation(.combine(.divide), [a, b], differentiates: false)
      try checkOperation(.combine(.power), [a, b], differentiates: false)
    }
  }

  /// What passes an integer wraps around, to the bit, where a Double has not enough of them.
  @Test func integersWrapAround() throws {
    let a = Tensor([.max, .min, 1 << 62, -3, 7, 3] as [Int64])
    let b = Tensor([1, -1, 4, 41, 0, -1] as [Int64])
    func combine(_ function: BinaryFunction) throws -> [Int64] {
      let type = TensorType(.int64, a.shape)
      let graph = try operationGraph(.combine(function), [type, type])
      let results = try runEngine(graph, ["x0": a, "x1": b], lanes: TestLanes.all[0])
      return try #require(results["y0"]).elements()
    }
    #expect(try combine(.add) == [.min, .max, (1 << 62) + 4, 38, 7, 2])
    #expect(try combine(.subtract) == [.max - 1, .min + 1, (1 << 62) - 4, -44, 7, 4])
    #expect(try combine(.multiply) == [.max, .min, 0, -123, 0, -3])
    #expect(try combine(.divide) == [.max, .min, 1 << 60, 0, 0, -3])
    let power = (0..<41).reduce(Int64(1)) { product, _ in product &* -3 }
    #expect(try combine(.power) == [.max, 0, 0, power, 1, 0])
    #expect(try combine(.maximum) == [.max, -1, 1 << 62, 41, 7, 3])
    #expect(try combine(.minimum) == [1, .min, 4, -3, 0, -1])
  }

  static let comparisons: [Comparison] = [.equal, .less, .lessOrEqual, .greater, .greaterOrEqual]

  @Test(arguments: ElementType.allCases) func comparisonsAgree(_ type: ElementType) throws {
    for (a, b) in OperationTests.broadcasts {
      let a = Self.integers(a, in: 0...3, type, seed: 3)
      let b = Self.integers(b, in: 0...3, type, seed: 4)
      for comparison in Self.comparisons {
        try checkOperation(.compare(comparison), [a, b], differentiates: false)
      }
      guard type == .bool else { continue }
      for comparison in [Comparison.and, .or, .exclusiveOr] {
        try checkOperation(.compare(comparison), [a, b], differentiates: false)
      }
    }
  }

  @Test func comparisonsOfNaNAgree() throws {
    let a = Tensor([.nan, 1, .nan, -0.0] as [Float])
    let b = Tensor([1, .nan, .nan, 0] as [Float])
    for comparison in Self.comparisons {
      try checkOperation(.compare(comparison), [a, b], differentiates: false)
    }
  }

  static let choices: [(Shape, Shape, Shape)] = [
    ([2, 3, 5], [2, 3, 5], [2, 3, 5]), ([2, 1, 5], [3, 1], []), ([], [4, 3], [3]),
    ([70, 33], [1, 33], [70, 1]), ([3, 1, 2, 1], [1, 4, 1, 5], [2, 1]),
  ]

  @Test(arguments: choices) func selectAgrees(_ shapes: (Shape, Shape, Shape)) throws {
    let condition = Self.integers(shapes.0, in: 0...1, .bool, seed: 5)
    for type in ElementType.allCases {
      let a = Self.integers(shapes.1, type, seed: 6)
      let b = Self.integers(shapes.2, type, seed: 7)
      try checkOperation(.select, [condition, a, b], differentiates: type == .float32)
    }
  }

  @Test(arguments: OperationTests.functions) func mapsDoubles(_ function: UnaryFunction) throws {
    let x = TestData.uniform([37], in: 0.25...6.9, seed: 8).converted(to: .float64)
    // Another order of a few operations on numbers below 1000.
    try checkOperation(
      .map(function), [x], differentiates: false, tolerance: { _ in 16 * 1000 * 0x1p-52 })
  }

  @Test(arguments: OperationTests.reductions, [false, true])
  func reducesDoubles(_ form: (shape: Shape, axes: [Int]), keepsAxes: Bool) throws {
    let x = Self.integers(form.shape, in: -9...9, .float64, seed: 9)
    for reduction in [Reduction.sum, .mean, .maximum, .minimum] {
      try checkOperation(
        .reduce(Reduce(reduction, axes: form.axes, keepsAxes: keepsAxes)), [x],
        differentiates: false)
    }
  }

  @Test func castsSaturate() throws {
    let x = Tensor([.max, .min, 1 << 40, -5, 0, 300] as [Int64])
    func cast(_ type: ElementType) throws -> Tensor {
      let graph = try operationGraph(.cast(type), [TensorType(.int64, x.shape)])
      var inputs = ["x0": x]
      inputs["w0"] = Tensor(zeros: x.shape)
      return try #require(runEngine(graph, inputs, lanes: TestLanes.all[0])["y0"])
    }
    for type in ElementType.allCases { #expect(try cast(type) == x.converted(to: type)) }
    #expect(try cast(.int32).elements() == [.max, .min, .max, -5, 0, 300] as [Int32])
    #expect(try cast(.int64) == x)
    #expect(try cast(.bool).elements() == [true, true, true, true, false, true])
  }
}
