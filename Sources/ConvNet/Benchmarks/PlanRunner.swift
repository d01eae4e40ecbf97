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
        let values = bytes.assumingMemoryBound(to: Float.self)
        for start in stride(from: 0, to: values.count, by: 4) {
          let words = random.block(UInt64(start / 4))
          for index in start..<min(start + 4, values.count) {
            values[index] = Float(words[index - start]) / 0x8000_0000 - 1
          }
        }
      }
    }
  }

  func run() { plan.run(in: &workspace) }
}
