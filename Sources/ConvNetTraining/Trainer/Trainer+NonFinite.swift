import ConvNetEngine
import ConvNetGraph

extension Trainer {
  /// Where a batch whose loss is not finite stops being finite, as the end of a sentence.
  ///
  /// - Parameters:
  ///   - execution: of the part of the batch; its inputs are still there.
  ///   - part: the number of the part.
  func whereNotFinite(_ execution: Execution, part: Int) -> String {
    // The search is a service: that it cannot be made says nothing about the step.
    guard let place = try? firstNonFinite(execution, part: part) else { return "" }
    return "; the first numbers that are not finite are \(place)"
  }

  /// Runs forward once more with all values between the layers as outputs.
  private func firstNonFinite(_ execution: Execution, part: Int) throws -> String? {
    let drawn = [GraphBuilder.randomKeyName, GraphBuilder.renormalizationLimitsName]
    let names = graph.inputs.map(\.name).filter { !drawn.contains($0) }
    let inputs = try names.map { ($0, try execution.input($0)) }
    if let images = inputs.first(where: { $0.0 == ports.images })?.1, !images.isFinite {
      return "in the images themselves"
    }
    var forward = try graph.resolvedForTraining(
      inputShapes: Dictionary(
        inputs.map { ($0.0, $0.1.shape) }, uniquingKeysWith: { first, _ in first }))
    var places: [(layer: String, output: String)] = []
    for node in forward.nodes {
      for value in node.outputs where forward.type(of: value).elementType == .float32 {
        let output = "value/\(value.index)"
        forward.outputs.append(Graph.Port(name: output, value: value))
        places.append((node.name, output))
      }
    }
    let plan = try Plan(
      forward, inputShapes: [:], lanes: lanes, options: PlanOptions(keepsPackedWeights: false))
    let search = Execution(
      plan: plan, store: store, ports: ports, batchSize: execution.batchSize)
    for (name, tensor) in inputs { try search.workspace.setInput(name, to: tensor) }
    var profile: StepProfile?
    try search.run(
      seed: seed, step: stepCount * accumulation.steps + part,
      limits: renormalization.limits(at: stepCount), profile: &profile)
    return try places.first { try !search.tensor($0.output).isFinite }.map {
      "those of \($0.layer)"
    }
  }
}

extension Execution {
  /// A copy of what was loaded into an input.
  func input(_ name: String) throws -> Tensor {
    let type = try plan.inputType(name)
    var tensor = Tensor(zeros: type.shape ?? [], elementType: type.elementType)
    try workspace.withInput(name) { bytes in
      tensor.withMutableBytes { $0.copyMemory(from: UnsafeRawBufferPointer(bytes)) }
    }
    return tensor
  }
}

extension Tensor {
  /// Whether no number of float32 is infinite or NaN; true for other types.
  fileprivate var isFinite: Bool {
    elementType != .float32 || floats.allSatisfy(\.isFinite)
  }
}
