import ArgumentParser
import ConvNet

/// `convnet inspect`: what is in a saved model, and how it would be run.
struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows layers, shapes, parameters and batch-norm state of a saved model.")

  @Argument(help: "A model that train --save wrote.") var model: String
  @Flag(help: "Show the steps of an inference plan and the bytes it needs.") var plan = false
  @Option(parsing: .unconditional, help: "Images the plan is made for.") var batch = 1
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions

  func run() throws {
    guard batch >= 1 else { throw ToolError("--batch must be at least 1, not \(batch)") }
    let model = try Model.load(model)
    try printMetadata(model)
    try printLayers(model.graph)
    try printParameters(model.graph)
    try printBatchNormalization(model)
    if plan { try printPlan(model) }
  }

  private func printMetadata(_ model: Model) throws {
    guard !model.metadata.isEmpty else { return }
    try Output.table(
      model.metadata.sorted { $0.key < $1.key }.map { key, value in
        [key, value.split(separator: "\n").joined(separator: ", ")]
      })
    try Output.line()
  }

  private func printLayers(_ graph: Graph) throws {
    let inputs = graph.inputViews.map { [$0.name, "input", $0.type.description] }
    let layers = graph.nodeViews.map {
      [$0.name, $0.operation, $0.outputs.map(\.description).joined(separator: ", ")]
    }
    let outputs = graph.outputViews.map { [$0.name, "output", $0.type.description] }
    try Output.table([["layer", "operation", "result"]] + inputs + layers + outputs)
  }

  private func printParameters(_ graph: Graph) throws {
    try Output.line()
    let rows = graph.parameterViews.map { parameter in
      [
        parameter.name, parameter.role.rawValue, parameter.type.description,
        "\(parameter.type.shape?.count ?? 0)", parameter.isTrainable ? "" : "frozen",
      ]
    }
    try Output.table([["parameter", "role", "type", "numbers"]] + rows, right: [3])
    try Output.line("\(graph.trainableCount) numbers are trained")
  }

  private func printBatchNormalization(_ model: Model) throws {
    let layers = model.graph.nodes.compactMap { node -> RunningStatistics? in
      if case .batchMoments(let moments) = node.operation { moments.running } else { nil }
    }
    guard !layers.isEmpty else { return }
    let rows = layers.map { layer in
      [
        layer.layer, model.state[layer.updateCount].map { "\(Int($0.doubles.first ?? 0))" } ?? "",
        range(model.state[layer.mean]), range(model.state[layer.variance]), "\(layer.decay)",
        layer.estimator.rawValue,
      ]
    }
    try Output.line()
    try Output.table(
      [["batch norm", "updates", "running mean", "running variance", "decay", "variance"]] + rows,
      right: [1])
  }

  private func range(_ tensor: Tensor?) -> String {
    let values = tensor?.doubles ?? []
    guard let low = values.min(), let high = values.max() else { return "none" }
    return "\(decimal(low, 4)) to \(decimal(high, 4))"
  }

  private func printPlan(_ model: Model) throws {
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let graph = try ResolveMode(.inference).apply(to: model.graph)
    var shapes: [String: Shape] = [:]
    for input in graph.inputViews {
      shapes[input.name] = try Shape(checking: input.type.dimensions.map { $0.extent ?? batch })
    }
    let plan = try Plan(graph, inputShapes: shapes, lanes: lanes)
    try Output.line("\nplan for a batch of \(batch), \(lanes.count) lanes, \(kernels) kernels")
    for step in plan.stepDescriptions { try Output.line("  \(step)") }
    try Output.line(
      "\(plan.peakByteCount) bytes: arena \(plan.arenaByteCount), scratch of a lane "
        + "\(plan.scratchByteCount), the rest packed weights")
  }
}
