import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Glibc
import Testing

@Suite struct LocalResponseTests {
  @Test(arguments: [(1, 4), (3, 4), (4, 5), (5, 2)], [0.75, 0.6]) func dividesByNeighbours(
    _ form: (size: Int, channels: Int), beta: Double
  ) throws {
    let (size, channels) = form
    // Constants of a graph are float32 numbers.
    let exponent = Double(Float(beta))
    let graph = try Graph(input: TensorType(["N", 2, 3, .fixed(channels)])) {
      $0.localResponseNormalization(size: size, alpha: 0.5, beta: beta, bias: 2)
    }
    let x = TestData.doubles(Shape([2, 2, 3, channels]), in: -3...3, seed: 1)
    let y = try Reference(graph).runInDouble(["input": x])["output"]
    let expected = x.values.indices.map { index in
      let (c, row) = (index % channels, index / channels * channels)
      let neighbours = max(0, c - (size - 1) / 2)...min(channels - 1, c + size / 2)
      let sum = neighbours.reduce(0) { $0 + x.values[row + $1] * x.values[row + $1] }
      return x.values[index] / pow(2 + 0.5 * sum / Double(size), exponent)
    }
    expectClose(try #require(y).values, expected, tolerance: 1e-14)
  }

  @Test func hasAGradient() throws {
    let builder = GraphBuilder()
    let x = Graph.Value(builder: builder, id: builder.addInput("x", TensorType([2, 3, 4])))
    let w = Graph.Value(builder: builder, id: builder.addInput("w", TensorType([2, 3, 4])))
    let loss = (x.localResponseNormalization(size: 3, alpha: 0.5) * w)
      .reduced(.sum, axes: [0, 1, 2])
    builder.addOutput("loss", loss.id)
    try finiteDifferenceCheck(
      builder.finish(),
      [
        "x": TestData.doubles([2, 3, 4], in: -2...2, seed: 2),
        "w": TestData.doubles([2, 3, 4], seed: 3),
      ], withRespectTo: ["x"])
  }
}
