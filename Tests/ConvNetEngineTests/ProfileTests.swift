import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Testing

@Suite struct ProfileTests {
  @Test func everyStepIsTimedAndCounted() throws {
    let graph = try ResolveMode(.inference).apply(
      to: Graph(input: .image(height: 6, width: 5, channels: 3)) {
        $0.convolution(8, kernel: 3, name: "a.b").relu().globalAveragePooling().dense(4, name: "fc")
      })
    let model = try randomModel(graph, seed: 91)
    let plan = try Plan(graph, inputShapes: ["input": [2, 6, 5, 3]], lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: TestData.uniform([2, 6, 5, 3], seed: 92))
    plan.run(in: &workspace)
    let expected = try workspace.output("output")
    let profile = plan.profile(in: &workspace)
    #expect(try workspace.output("output") == expected)
    #expect(profile.count == plan.stepDescriptions.count)
    // One step ends where the next begins.
    var end = 0.0
    for step in profile {
      #expect(abs(step.start - end) < 1e-6 && step.seconds >= 0)
      end = step.start + step.seconds
    }
    let convolution = try #require(profile.first { $0.layer == "a.b" })
    #expect(convolution.operationCount == 2 * 2 * 6 * 5 * 8 * 27)
    #expect(convolution.byteCount == 4 * (2 * 6 * 5 * 3 + 27 * 8 + 8 + 2 * 6 * 5 * 8))
    #expect(convolution.strategy == plan.convolutionChoices[0].chosen)
    #expect(profile.filter { $0.layer == "fc" }.allSatisfy { $0.operationCount == 2 * 2 * 8 * 4 })
    #expect(Set(profile.map(\.layer)).isSubset(of: Set(graph.nodes.map(\.name))))
  }
}
