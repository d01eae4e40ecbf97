import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ReduceTests {
  private let x = ReferenceTensor([1, 2, 3, 4, 5, 9], shape: [2, 3])

  @Test func reducesKnownValues() throws {
    func y(_ reduction: Reduction, _ axes: [Int]) throws -> [Double] {
      try evaluateInReference(.reduce(Reduce(reduction, axes: axes)), x)[0].values
    }
    #expect(try y(.sum, [0]) == [5, 7, 12])
    #expect(try y(.sum, [-1]) == [6, 18])
    #expect(try y(.mean, [1]) == [2, 6])
    #expect(try y(.mean, [0, 1]) == [4])
    #expect(try y(.maximum, [0]) == [4, 5, 9])
    #expect(try y(.minimum, [1, 0]) == [1])
    #expect(try y(.sum, []) == x.values)
  }

  @Test func keepsAxesWhenAsked() throws {
    let y = try evaluateInReference(.reduce(Reduce(.sum, axes: [1], keepsAxes: true)), x)[0]
    #expect(y.shape == [2, 1])
    #expect(y.values == [6, 18])
  }

  @Test func findsNaN() throws {
    for values in [[.nan, 1, 2], [1, .nan, 2], [1, 2, .nan]] as [[Double]] {
      for reduction in [Reduction.maximum, .minimum, .sum, .mean] {
        let x = ReferenceTensor(values, shape: [3])
        let y = try evaluateInReference(.reduce(Reduce(reduction, axes: [0])), x)[0]
        #expect(y.values[0].isNaN, "\(reduction) of \(values)")
      }
    }
  }

  @Test func sumsNothingToZero() throws {
    let empty = ReferenceTensor([], shape: [0, 2])
    #expect(try evaluateInReference(.reduce(Reduce(.sum, axes: [0])), empty)[0].values == [0, 0])
    let means = try evaluateInReference(.reduce(Reduce(.mean, axes: [0])), empty)[0].values
    #expect(means.count == 2 && means.allSatisfy(\.isNaN))
  }

  @Test func expandsSumsAndMeans() throws {
    let dy = ReferenceTensor([3, 6], shape: [2])
    #expect(
      try evaluateInReference(.expand(Reduce(.sum, axes: [1])), dy, x)[0].values
        == [3, 3, 3, 6, 6, 6])
    #expect(
      try evaluateInReference(.expand(Reduce(.mean, axes: [1])), dy, x)[0].values
        == [1, 1, 1, 2, 2, 2])
  }

  @Test(arguments: [[0], [1], [-1], [0, 2], [0, 1, 2], []] as [[Int]], [true, false])
  func hasAGradient(_ axes: [Int], _ keepsAxes: Bool) throws {
    let x = TestData.distinct([2, 3, 2], seed: 1)
    for reduction in [Reduction.sum, .mean, .maximum, .minimum] {
      let reduce = Reduce(reduction, axes: axes, keepsAxes: keepsAxes)
      try checkGradient(of: .reduce(reduce), [x])
      guard reduction == .sum || reduction == .mean else { continue }
      let dy = try evaluateInReference(.reduce(reduce), x)[0]
      try checkGradient(of: .expand(reduce), [dy, x])
    }
  }

  @Test func sharesTheGradientOfTies() throws {
    let graph = try operationGraph(.reduce(Reduce(.maximum, axes: [0])), [TensorType([4])])
      .gradient(of: "loss", withRespectTo: ["x0"])
    let results = try Reference(unbound: graph).runInDouble([
      "x0": ReferenceTensor([1, 5, 5, 2], shape: [4]), "w0": ReferenceTensor([3], shape: []),
    ])
    #expect(results["gradient/x0"]?.values == [0, 1.5, 1.5, 0])
  }
}
