import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Parameters brought into the order their reader wants.
@Suite struct SettleParametersTests {
  /// A dense layer behind a flattened map that was channels first: its weights go through three moves.
  @Test func weightsBehindAFlattenedMap() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(["N", 3, 4, 2]))
    let w = builder.addParameter("fc.weight", [24, 5], role: .denseWeight)
    let turned = builder.add(.transpose(Transpose([0, 3, 1, 2])), x)
    let flat = builder.add(.reshape(Reshape([.copy(0), .rest])), turned)
    builder.addOutput("y", builder.add(.matrixMultiply(MatrixMultiply()), flat, w))
    let graph = try builder.finish()
    let weights = TestData.integers([24, 5], in: -4...4, seed: 3)
    let model = try Model(graph: graph, parameters: ["fc.weight": weights], state: [:])
    let moved = try MoveTransposes().apply(to: model)
    #expect(moved.graph.transposeCount == 0)
    let settled = try SettleParameters().apply(to: moved)
    #expect(settled.graph.nodes.count == 2)
    let permuted = try #require(settled.parameters["fc.weight"])
    #expect(permuted.shape == [24, 5] && permuted != weights)
    let input = ["x": TestData.integers([2, 3, 4, 2], in: -4...4, seed: 4)]
    let expected = try Reference(model, mode: .inference).run(inputs: input)
    #expect(try Reference(settled, mode: .inference).run(inputs: input) == expected)
    #expect(try SettleParameters().apply(to: settled).graph == settled.graph)
  }

  /// What someone else reads, or would change its shape, stays.
  @Test func sharedParametersStay() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(["N", 3]))
    let w = builder.addParameter("w", [3, 3], role: .denseWeight)
    let turned = builder.add(.transpose(Transpose([1, 0])), w)
    let y = builder.add(.matrixMultiply(MatrixMultiply()), x, turned)
    builder.addOutput("y", builder.add(.matrixMultiply(MatrixMultiply()), y, w))
    let model = try Model(
      graph: builder.finish(), parameters: ["w": TestData.integers([3, 3], in: -4...4, seed: 5)],
      state: [:])
    #expect(try SettleParameters().apply(to: model).graph == model.graph)
  }
}
