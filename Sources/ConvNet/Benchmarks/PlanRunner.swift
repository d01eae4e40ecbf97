/// A plan with everything it needs to run, for measurements.
final class PlanRunner {
  let plan: Plan
  var workspace: Workspace

  /// Makes a plan and fills its float32 inputs with numbers in −1..<1.
  init(
    _ model: Model, inputShapes: [String: Shape], lanes: Lanes, options: PlanOptions
  ) throws {
    plan = try Plan(model.graph, inputShapes: inputShapes, lanes: lanes, options: options)
    workspace = plan.makeWorkspace(for: ParameterStore(model))
    for input in model.graph.inputViews where input.type.elementType == .float32 {
      let random = Philox(seed: 1, purpose: input.name)
      try workspace.withInput(input.name) { bytes in
        random.fill(bytes.assumingMemoryBound(to: Float.self), bound: 1)
      }
    }
  }

  func run() { plan.run(in: &workspace) }
}
