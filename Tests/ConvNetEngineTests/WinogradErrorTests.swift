import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct WinogradErrorTests {
  /// Layers small enough that every result is compared, with tiles of all shapes.
  static let shapes: [(input: Shape, filters: Int, tiles: String)] = [
    ([2, 8, 8, 30], 20, "F(4×4,3×3)"), ([1, 4, 2, 33], 64, "F(4×2,3×3)"),
    ([1, 2, 7, 17], 16, "F(2×4,3×3)"), ([3, 2, 2, 64], 48, "F(2×2,3×3)"),
  ]

  @Test(arguments: shapes) func isTheErrorAgainstTheReference(
    _ layer: (input: Shape, filters: Int, tiles: String)
  ) throws {
    let graph = try Graph(input: TensorType(.float32, layer.input)) {
      $0.convolution(layer.filters, kernel: 3)
    }
    let model = try randomModel(graph, seed: 2)
    let x = TestData.uniform(layer.input, seed: 3)
    let errors = try WinogradError.measure(model, inputs: ["input": x], lanes: TestLanes.all[1])
    let error = try #require(errors.first)
    let predictor = try Predictor(model, options: PredictorOptions(lanes: TestLanes.all[0]))
    let y = try predictor.predict(x)
    let expected = try #require(
      Reference(model, mode: .inference).runInDouble(["input": ReferenceTensor(x)])["output"])
    let worst = zip(y.doubles, expected.values).map { abs($0 - $1) }.max() ?? 0
    #expect(error.tiles == layer.tiles && error.largest == y.doubles.map(abs).max())
    // The sums in Double differ by their order alone.
    #expect(abs(error.difference - worst) <= 1e-12 && error.difference > 0, "\(error), \(worst)")
    #expect(error.relative <= 1e-5, "\(error)")
  }

  /// Deep sums, such as the middle of a ResNet has.
  @Test func staysWithinItsBoundForManyChannels() throws {
    let graph = try Graph(input: .image(height: 14, width: 14, channels: 256)) {
      $0.convolution(64, kernel: 3).relu()
    }
    let model = try randomModel(graph, seed: 5)
    let errors = try WinogradError.measure(
      model, inputs: ["input": TestData.uniform([1, 14, 14, 256], in: 0...1, seed: 6)])
    #expect(errors.map(\.layer) == ["convolution1"])
    #expect(errors.allSatisfy { $0.relative <= 1e-5 }, "\(errors)")
  }

  @Test func thereIsNoneWithoutWinograd() throws {
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 16)) {
      $0.convolution(16, kernel: 3)
    }
    let errors = try WinogradError.measure(
      randomModel(graph, seed: 2), inputs: ["input": TestData.uniform([1, 8, 8, 16], seed: 3)],
      options: PlanOptions(allowsWinograd: false))
    #expect(errors.isEmpty)
  }
}
