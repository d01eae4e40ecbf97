import ConvNetGraph
import Testing

/// The residual network for small images.
@Suite struct FashionResNetTests {
  /// Convolutions of 1 → 16, 16 → 48, 48 → 96 and 96 → 192 channels at 28², 28², 14² and 7², two of each
  /// stage's own channels after its pooling, and a dense layer.
  @Test func countsAreTheSums() throws {
    let graph = try Network.fashionResNet.graph()
    let (convolutions, dense) = (9 * (16 + 16 * 48 + 48 * 96 + 96 * 192), 192 * 10)
    let residuals = 9 * 2 * (48 * 48 + 96 * 96 + 192 * 192)
    let normalized = 16 + 3 * (48 + 96 + 192)
    #expect(graph.trainableCount == convolutions + residuals + dense + 10 + 2 * normalized)
    #expect(graph.trainableCount == 1_089_306)
    #expect(graph.outputViews[0].type == TensorType(["N", 10]))
    let work = try ResolveMode(.inference).apply(to: graph)
      .resolved(inputShapes: ["input": [1, 28, 28, 1]]).multiplyAddCount
    let stages = [
      784 * 9 * (16 + 16 * 48), 196 * 9 * (2 * 48 * 48 + 48 * 96),
      49 * 9 * (2 * 96 * 96 + 96 * 192), 9 * 9 * 2 * 192 * 192,
    ]
    #expect(work == stages.reduce(dense, +))
  }

  /// Pooling is left out of maps of a single row.
  @Test(arguments: [1, 2, 3, 8, 28, 33], [true, false])
  func imagesOfAnySizeFit(size: Int, normalized: Bool) throws {
    let graph = try Network.fashionResNet.graph(
      classes: 3, batchNormalization: normalized, size: size, channels: 3)
    try graph.verify()
    #expect(graph.outputViews[0].type == TensorType(["N", 3]))
    let isBiased = graph.parameterViews.contains { $0.name == "convolution1.bias" }
    #expect(isBiased == !normalized)
  }
}
