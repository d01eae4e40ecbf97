import ConvNetEngine
import ConvNetGraph

/// What a graph with a loss takes and gives besides parameters.
struct TrainingPorts: Sendable {
  /// The input that takes images.
  let images: String
  /// Element type and extents of the labels.
  let labels: TensorType
  /// The number of logits.
  let classCount: Int
  /// Whether the loss takes two labels of each sample.
  let isMixed: Bool
  /// Whether something in the graph is random.
  let hasRandomKey: Bool

  /// Finds them in a graph that `Loss.added(to:)` gave.
  init(_ graph: Graph) throws {
    let special = [
      Loss.labelsName, Loss.partnerLabelsName, Loss.mixingWeightsName, GraphBuilder.randomKeyName,
    ]
    let inputs = graph.inputs.filter { !special.contains($0.name) }
    guard inputs.count == 1, let images = inputs.first else {
      let names = inputs.map(\.name).joined(separator: ", ")
      throw TrainingError(
        .invalidData, "a network to be trained has one input for images, not \(names)")
    }
    guard let labels = graph.inputs.first(where: { $0.name == Loss.labelsName }),
      let output = graph.outputs.first(where: { $0.name == Loss.predictionName }),
      graph.type(of: output.value).rank == 2,
      let classCount = graph.type(of: output.value).dimensions[1].extent
    else {
      throw TrainingError(
        .invalidData, "a classifier has an output “\(Loss.predictionName)” of [N, classes]")
    }
    self.images = images.name
    self.labels = graph.type(of: labels.value)
    self.classCount = classCount
    isMixed = graph.inputs.contains { $0.name == Loss.mixingWeightsName }
    hasRandomKey = graph.inputs.contains { $0.name == GraphBuilder.randomKeyName }
  }

  /// Refuses data of another number of classes.
  func check(_ data: any ImageSource) throws {
    guard data.classCount == classCount else {
      throw TrainingError(
        .invalidData,
        "a network of \(classCount) classes does not fit data of \(data.classCount) classes")
    }
  }
}

/// A plan for one batch size and the memory it runs in.
final class Execution {
  let plan: Plan
  let ports: TrainingPorts
  let batchSize: Int
  /// The layers whose statistics come out of a run.
  let statistics: [StatisticsPorts]
  private let hasRenormalizationLimits: Bool
  var workspace: Workspace

  init(
    plan: Plan, store: ParameterStore, ports: TrainingPorts, batchSize: Int,
    statistics: [StatisticsPorts] = []
  ) {
    self.plan = plan
    self.ports = ports
    self.batchSize = batchSize
    self.statistics = statistics
    hasRenormalizationLimits =
      (try? plan.inputType(GraphBuilder.renormalizationLimitsName)) != nil
    workspace = plan.makeWorkspace(for: store)
  }

  /// The shapes that a plan is made for.
  static func inputShapes(_ ports: TrainingPorts, images: Shape) -> [String: Shape] {
    let labels = [images[0]] + ports.labels.dimensions.dropFirst().map { $0.extent ?? 0 }
    var shapes = [ports.images: images, Loss.labelsName: Shape(labels)]
    if ports.isMixed {
      for name in [Loss.partnerLabelsName, Loss.mixingWeightsName] { shapes[name] = [images[0]] }
    }
    return shapes
  }

  /// Puts the next images of a loader and their labels into the inputs.
  ///
  /// - Returns: the samples: `batchSize` of them, unless the source leaves some out.
  func load(_ loader: BatchLoader) throws -> [Int] {
    let samples = try workspace.withInput(ports.images) {
      try loader.next(into: $0.assumingMemoryBound(to: Float.self))
    }
    try load(labels: samples, of: loader.data)
    return samples
  }

  private func load(labels samples: [Int], of data: any ImageSource) throws {
    let (labels, classes) = (data.labels, ports.classCount)
    try workspace.withInput(Loss.labelsName) { bytes in
      if ports.labels.elementType == .int64 {
        let output = bytes.assumingMemoryBound(to: Int64.self)
        for (i, sample) in samples.enumerated() { output[i] = labels[sample] }
      } else {
        let output = bytes.assumingMemoryBound(to: Float.self)
        output.update(repeating: 0)
        for (i, sample) in samples.enumerated() { output[i * classes + Int(labels[sample])] = 1 }
      }
    }
  }

  /// Puts the first of another execution's samples into the inputs.
  func load(_ samples: [Int], from other: Execution, of data: any ImageSource) throws {
    try workspace.withInput(ports.images) { bytes in
      try other.workspace.withInput(ports.images) {
        bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<bytes.count]))
      }
    }
    try load(labels: samples, of: data)
  }

  /// Puts tensors into the inputs.
  func load(images: Tensor, labels: Tensor) throws {
    try workspace.setInput(ports.images, to: images)
    try workspace.setInput(Loss.labelsName, to: labels)
    guard ports.isMixed else { return }
    // Whoever brings a batch has mixed it already, or not: one label counts.
    try workspace.setInput(Loss.partnerLabelsName, to: labels)
    try workspace.setInput(
      Loss.mixingWeightsName, to: Tensor(repeating: Float(1), shape: labels.shape))
  }

  /// Mixes the images in the inputs, and their labels, with those of their partners.
  ///
  /// - Parameters:
  ///   - labels: of the samples that were loaded.
  ///   - weights: λ of each.
  func mix(labels: [Int64], weights: [Float], lanes: Lanes) throws {
    try workspace.withInput(ports.images) {
      Mixup.mix($0.assumingMemoryBound(to: Float.self), weights: weights, lanes: lanes)
    }
    let partners = labels.indices.map { labels[Mixup.partner(of: $0, count: labels.count)] }
    guard ports.isMixed else {
      return try workspace.withInput(Loss.labelsName) { bytes in
        let targets = bytes.assumingMemoryBound(to: Float.self)
        for (i, weight) in weights.enumerated() {
          let row = i * ports.classCount
          targets[row + Int(labels[i])] = weight
          targets[row + Int(partners[i])] += 1 - weight
        }
      }
    }
    try workspace.withInput(Loss.partnerLabelsName) { bytes in
      let output = bytes.assumingMemoryBound(to: Int64.self)
      for (i, label) in partners.enumerated() { output[i] = label }
    }
    try workspace.withInput(Loss.mixingWeightsName) { bytes in
      let output = bytes.assumingMemoryBound(to: Float.self)
      for (i, weight) in weights.enumerated() { output[i] = weight }
    }
  }

  /// Runs the plan.
  ///
  /// - Parameters:
  ///   - seed: of everything random.
  ///   - step: the number of the run, which random numbers depend on too.
  ///   - limits: the bounds of batch renormalisation.
  ///   - profile: where to note how long each step of the plan takes; nil for a plain run.
  func run(
    seed: UInt64, step: Int, limits: RenormalizationSchedule.Limits, profile: inout StepProfile?
  ) throws {
    if hasRenormalizationLimits {
      try workspace.withInput(GraphBuilder.renormalizationLimitsName) { bytes in
        let values = bytes.assumingMemoryBound(to: Float.self)
        (values[0], values[1]) = (Float(limits.scale), Float(limits.shift))
      }
    }
    if ports.hasRandomKey {
      try workspace.withInput(GraphBuilder.randomKeyName) { bytes in
        let key = bytes.assumingMemoryBound(to: Int64.self)
        key[0] = Int64(bitPattern: seed)
        key[1] = Int64(step)
      }
    }
    if profile == nil {
      plan.run(in: &workspace)
    } else {
      profile?.run(plan, in: &workspace)
    }
  }

  /// Runs the plan of a network without bounds that change.
  func run(seed: UInt64, step: Int) throws {
    var profile: StepProfile?
    try run(seed: seed, step: step, limits: .none, profile: &profile)
  }

  /// The loss of the last run.
  func loss() throws -> Double {
    Double(try workspace.withOutput(Loss.lossName) { $0.assumingMemoryBound(to: Float.self)[0] })
  }

  /// The logits of the last run.
  func withLogits<Result>(
    _ body: (UnsafeBufferPointer<Float>) -> Result
  ) throws -> Result {
    try workspace.withOutput(Loss.predictionName) { body($0.assumingMemoryBound(to: Float.self)) }
  }

  /// The elements of an output; they stay where they are until the next run.
  func output<Element>(_ name: String, of type: Element.Type) throws -> UnsafeBufferPointer<Element>
  {
    try workspace.withOutput(name) { $0.assumingMemoryBound(to: Element.self) }
  }

  /// A copy of an output.
  func tensor(_ name: String) throws -> Tensor { try workspace.output(name) }
}
