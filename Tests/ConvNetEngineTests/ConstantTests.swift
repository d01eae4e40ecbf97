import ConvNetEngine
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct ConstantTests {
  @Test func constantsAgree() throws {
    for type in ElementType.allCases {
      let numbers = Constant(numbers: [1.5, 0, 300], shape: [3], elementType: type)
      let integers = Constant(integers: [1, 0, -7], shape: [1, 3], elementType: type)
      try checkOperation(
        .constant(type.isFloatingPoint ? numbers : integers), [], differentiates: false)
    }
  }

  /// Constants that are read, handed out, stretched and gathered by, in a plan and in a predictor.
  private func graph() throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(["N", 4]))
    let scale = builder.addParameter("scale", [4], role: .normalizationScale)
    let numbers = builder.add(.constant(Constant(numbers: [1, -2, 3, 4], shape: [4])))
    let indices = builder.add(.constant(Constant(integers: [3, 0], shape: [2])))
    let product = builder.add(.combine(.multiply), numbers, scale)
    let sum = builder.add(.combine(.add), x, product)
    builder.addOutput("y", builder.add(.gather(Gather(axis: 1)), sum, indices))
    builder.addOutput("indices", indices)
    return try builder.finish()
  }

  @Test func constantsStayInEveryRun() throws {
    let model = try randomModel(graph(), seed: 1)
    let predictor = try Predictor(model)
    for count in 1...3 {
      let x = TestData.uniform([count, 4], seed: UInt64(count))
      let expected = try Reference(model, mode: .inference).run(inputs: ["x": x])
      let plan = try Plan(model, mode: .inference, inputShapes: ["x": x.shape])
      var workspace = plan.makeWorkspace(for: ParameterStore(model))
      try workspace.setInput("x", to: x)
      let predicted = try predictor.predict(["x": x])
      for _ in 0..<2 {
        plan.run(in: &workspace)
        for (name, value) in expected {
          // One product and one sum of numbers below 8.
          let tolerance = Tolerance.ulps(2, magnitude: 8)
          expectClose(try workspace.output(name), value, tolerance: tolerance)
          expectClose(try #require(predicted[name]), value, tolerance: tolerance)
        }
      }
    }
  }

  @Test func foldWithParameters() throws {
    let folded = try FoldConstants().apply(to: randomModel(graph(), seed: 2))
    #expect(folded.graph.nodes.map(\.operation.name) == ["constant", "add", "gather"])
    #expect(folded.parameters["scale"] == nil && folded.parameters.count == 1)
  }
}
