/// Folds batch norm with running statistics into the convolution or dense layer beside it.
///
/// With a = γ/√(σ̂² + ε) and b = β − a·μ̂ per channel, computed in Double and rounded once:
///
/// - *layer → batch norm*: a·(w ∗ x + c) + b = (a·w) ∗ x + (a·c + b), a and b by output channel.
/// - *batch norm → layer*: w ∗ (a·x + b) + c = (w·a) ∗ x + (c + Σ w·b), a and b by input channel; only
///   where the layer adds no padding or b = 0, because padding is zero after batch norm, not before it.
///
/// - *batch norm alone*: it stays as a·x + b, with running statistics of 0 and 1 and ε = 0.
///
/// The first two hold only where the value between the two has one reader and is no output, and where
/// the layer's parameters are the model's. What does not fold stays; the report says why. The derived
/// parameters have names of their own, so that nobody takes them for the trained ones.
public struct FoldBatchNormalization: ModelPass {
  /// What became of the batch-norm layers of a model.
  public struct Report: Sendable {
    /// One folded layer.
    public struct Fold: Sendable, Hashable {
      /// The batch-norm layer.
      public let normalization: String
      /// The layer that took it in; itself, where it became a scale and a shift.
      public let layer: String
      /// The value that both models compute: the batch norm's result, or that of the layer behind it,
      /// or of a batch norm behind that.
      package fileprivate(set) var value: Graph.ValueID
    }

    /// Layers that were folded, in the order of the graph.
    public internal(set) var folds: [Fold] = []
    /// Layers that were not, and why.
    public internal(set) var kept: [(normalization: String, reason: String)] = []

    /// The report on a model that was left as it is.
    package init() {}
  }

  /// Makes the pass.
  public init() {}

  /// The pass's name in reports.
  public var name: String { "fold batch norm" }

  /// The folded model, for inference.
  ///
  /// - Throws: as `fold(_:)`.
  public func apply(to model: Model) throws -> Model { try fold(model).model }

  /// The folded model, for inference, and what became of each layer.
  ///
  /// - Throws: `GraphError` where the model cannot be brought into inference form.
  public func fold(_ model: Model) throws -> (model: Model, report: Report) {
    var folder = Folder(
      graph: try RemoveIdentities().apply(to: ResolveMode(.inference).apply(to: model.graph)),
      model: model)
    for index in folder.graph.nodes.indices { folder.visit(index) }
    return (try folder.result(), folder.report)
  }
}

private struct Folder {
  var graph: Graph
  let model: Model
  var report = FoldBatchNormalization.Report()
  private var derived: [String: Values] = [:]
  private var weights: [String: Weight] = [:]
  private var removed: Set<Int> = []

  /// Numbers that are not rounded before the last fold.
  struct Values {
    var shape: Shape
    var doubles: [Double]

    var tensor: Tensor { Tensor(doubles.map { Float($0) }, shape: shape) }
  }

  init(graph: Graph, model: Model) {
    self.graph = graph
    self.model = model
  }

  func result() throws -> Model {
    var result = graph
    result.nodes = graph.nodes.indices.filter { !removed.contains($0) }.map { graph.nodes[$0] }
    let read = Set(result.nodes.flatMap(\.inputs) + result.outputs.map(\.value))
    result.parameters.removeAll { !read.contains($0.value) }
    result.states.removeAll { !read.contains($0.value) }
    try result.verify()
    let names = Set(result.parameters.map(\.name))
    var parameters = model.parameters.filter { names.contains($0.key) }
    for (name, values) in derived where names.contains(name) { parameters[name] = values.tensor }
    for (name, weight) in weights where names.contains(name) { parameters[name] = weight.tensor }
    let states = Set(result.states.map(\.name))
    return try Model(
      graph: result, parameters: parameters, state: model.state.filter { states.contains($0.key) },
      metadata: model.metadata)
  }

  mutating func visit(_ index: Int) {
    let node = graph.nodes[index]
    guard case .normalize(let normalize) = node.operation else { return }
    guard normalize.source == .running else {
      return report.kept.append((node.name, "it normalises with the batch's own statistics"))
    }
    guard let (a, b) = coefficients(node, normalize) else {
      return report.kept.append((node.name, "its statistics or parameters are not all finite"))
    }
    let rank = graph.type(of: node.inputs[0]).rank
    guard normalize.axis == -1 || normalize.axis == rank - 1 else {
      return reduceToScaleShift(index, a, b)
    }
    if foldIntoProducer(index, a, b) || foldIntoReader(index, a, b) { return }
    reduceToScaleShift(index, a, b)
  }

  // MARK: The three patterns

  private mutating func foldIntoProducer(_ index: Int, _ a: [Double], _ b: [Double]) -> Bool {
    let node = graph.nodes[index]
    guard let producer = live(producerOf: node.inputs[0]), isOnlyRead(node.inputs[0]),
      let layer = Layer(graph.nodes[producer], in: self)
    else { return false }
    var weight = layer.weight
    for output in a.indices { weight.outputScale[output] *= a[output] }
    let c = a.indices.map { a[$0] * layer.bias[$0] + b[$0] }
    replace(producer, layer, weight: weight, bias: c, normalization: node.name)
    graph.nodes[producer].outputs = node.outputs
    removed.insert(index)
    // A batch norm folded in before was to be seen in the value that has just gone.
    for earlier in report.folds.indices where report.folds[earlier].value == node.inputs[0] {
      report.folds[earlier].value = node.outputs[0]
    }
    report.folds.append(
      .init(normalization: node.name, layer: layer.name, value: node.outputs[0]))
    return true
  }

  private mutating func foldIntoReader(_ index: Int, _ a: [Double], _ b: [Double]) -> Bool {
    let node = graph.nodes[index]
    guard isOnlyRead(node.outputs[0]), let reader = live(readerOf: node.outputs[0]),
      graph.nodes[reader].inputs[0] == node.outputs[0],
      let layer = Layer(graph.nodes[reader], in: self),
      !layer.pads || b.allSatisfy({ $0 == 0 })
    else { return false }
    var c = layer.bias
    layer.weight.forEach { c[$0] += $2 * b[$1] }
    var weight = layer.weight
    for input in a.indices { weight.inputScale[input] *= a[input] }
    replace(reader, layer, weight: weight, bias: c, normalization: node.name)
    graph.nodes[reader].inputs[0] = node.inputs[0]
    removed.insert(index)
    report.folds.append(
      .init(
        normalization: node.name, layer: layer.name, value: graph.nodes[reader].outputs[0]))
    return true
  }

  private mutating func reduceToScaleShift(_ index: Int, _ a: [Double], _ b: [Double]) {
    let node = graph.nodes[index]
    guard case .normalize(let normalize) = node.operation else { return }
    let rows = [
      ("mean", a.map { _ in 0 }), ("variance", a.map { _ in 1 }), ("scale", a), ("shift", b),
    ]
    let values = rows.map { name, row in
      derive(
        "\(node.name).\(name)|scale-shift", Values(shape: [row.count], doubles: row),
        role: .normalizationShift)
    }
    graph.nodes[index].operation = .normalize(
      Normalize(
        axis: normalize.axis, epsilon: 0, source: .running, hasScale: true, hasShift: true))
    graph.nodes[index].inputs = [node.inputs[0]] + values
    report.folds.append(
      .init(normalization: node.name, layer: node.name, value: node.outputs[0]))
  }

  /// A new parameter of derived numbers.
  private mutating func derive(
    _ name: String, _ values: Values, role: ParameterRole
  ) -> Graph.ValueID {
    derived[name] = values
    return addParameter(name, values.shape, role: role)
  }

  private mutating func addParameter(
    _ name: String, _ shape: Shape, role: ParameterRole
  ) -> Graph.ValueID {
    graph.types.append(TensorType(.float32, shape))
    let value = Graph.ValueID(graph.types.count - 1)
    graph.parameters.append(
      Graph.Parameter(name: name, value: value, role: role, isTrainable: false))
    return value
  }

  private mutating func replace(
    _ index: Int, _ layer: Layer, weight: Weight, bias: [Double], normalization: String
  ) {
    let name = "\(layer.name).weight|\(normalization)"
    weights[name] = weight
    let values = [
      addParameter(name, weight.source.shape, role: layer.role),
      derive(
        "\(layer.name).bias|\(normalization)", Values(shape: [bias.count], doubles: bias),
        role: .bias),
    ]
    graph.nodes[index].inputs = [graph.nodes[index].inputs[0]] + values
  }

  // MARK: Looking around

  private func live(producerOf value: Graph.ValueID) -> Int? {
    graph.nodes.indices.first { !removed.contains($0) && graph.nodes[$0].outputs.contains(value) }
  }

  private func live(readerOf value: Graph.ValueID) -> Int? {
    graph.nodes.indices.first { !removed.contains($0) && graph.nodes[$0].inputs.contains(value) }
  }

  private func isOnlyRead(_ value: Graph.ValueID) -> Bool {
    let readers = graph.nodes.indices.reduce(0) { count, index in
      removed.contains(index)
        ? count : count + graph.nodes[index].inputs.count { $0 == value }
    }
    return readers == 1 && !graph.outputs.contains { $0.value == value }
  }

  /// A weight of the model, or one that was folded into.
  func weight(_ value: Graph.ValueID, groups: Int) -> Weight? {
    guard let name = graph.parameters.first(where: { $0.value == value })?.name else { return nil }
    return weights[name] ?? model.parameters[name].flatMap { Weight($0, groups: groups) }
  }

  /// The numbers of a parameter or state value.
  func values(_ value: Graph.ValueID) -> Values? {
    var tensor: Tensor?
    if let parameter = graph.parameters.first(where: { $0.value == value }) {
      if let values = derived[parameter.name] { return values }
      tensor = model.parameters[parameter.name]
    } else if let state = graph.states.first(where: { $0.value == value }) {
      tensor = model.state[state.name]
    }
    return tensor.map { Values(shape: $0.shape, doubles: $0.doubles) }
  }

  private func coefficients(
    _ node: Graph.Node, _ normalize: Normalize
  ) -> (a: [Double], b: [Double])? {
    guard let mean = values(node.inputs[1])?.doubles,
      let variance = values(node.inputs[2])?.doubles
    else { return nil }
    let scale = normalize.scaleIndex.map { values(node.inputs[$0])?.doubles } ?? mean.map { _ in 1 }
    let shift = normalize.shiftIndex.map { values(node.inputs[$0])?.doubles } ?? mean.map { _ in 0 }
    guard let scale, let shift else { return nil }
    let a = mean.indices.map { scale[$0] / (variance[$0] + normalize.epsilon).squareRoot() }
    let b = mean.indices.map { shift[$0] - a[$0] * mean[$0] }
    guard (a + b).allSatisfy(\.isFinite) else { return nil }
    return (a, b)
  }
}

/// A weight `[…, inputs of a group, outputs]` times factors of its channels, in Double.
///
/// The products are made when they are asked for, so that folding a network holds its weights once in
/// Float, never in Double.
private struct Weight {
  let source: Tensor
  let groups: Int
  /// By output channel.
  var outputScale: [Double]
  /// By input channel, through all groups.
  var inputScale: [Double]

  init?(_ source: Tensor, groups: Int) {
    guard source.shape.rank >= 2, source.count > 0 else { return nil }
    self.source = source
    self.groups = groups
    let (inputs, outputs) = (
      source.shape[source.shape.rank - 2], source.shape[source.shape.rank - 1]
    )
    outputScale = [Double](repeating: 1, count: outputs)
    inputScale = [Double](repeating: 1, count: inputs * groups)
  }

  /// Calls a closure with the output channel, the input channel and the value of every number in order.
  func forEach(_ body: (_ output: Int, _ input: Int, _ value: Double) -> Void) {
    let (inputs, outputs) = (inputScale.count / groups, outputScale.count)
    source.withElements { (values: Span<Float>) in
      var row = 0
      for start in stride(from: 0, to: values.count, by: outputs) {
        for output in 0..<outputs {
          let input = output / (outputs / groups) * inputs + row
          body(
            output, input, Double(values[start + output]) * outputScale[output] * inputScale[input])
        }
        row = (row + 1) % inputs
      }
    }
  }

  /// The products, rounded.
  var tensor: Tensor {
    var floats: [Float] = []
    floats.reserveCapacity(source.count)
    forEach { floats.append(Float($2)) }
    return Tensor(floats, shape: source.shape)
  }
}

/// A convolution or dense layer whose weight and bias are the model's.
private struct Layer {
  let name: String
  let weight: Weight
  let bias: [Double]
  let role: ParameterRole
  /// Whether zeros are added around the input.
  let pads: Bool

  init?(_ node: Graph.Node, in folder: Folder) {
    let groups: Int
    switch node.operation {
    case .convolution(let convolution):
      (role, groups) = (.convolutionFilter, convolution.groups)
      pads =
        switch convolution.window.padding {
        case .valid: false
        case .same, .sameLower: convolution.window.kernel.contains { $0 > 1 }
        case .explicit(let before, let after): (before + after).contains { $0 > 0 }
        }
    case .matrixMultiply(let multiply) where !multiply.transposesLeft && !multiply.transposesRight:
      (role, groups, pads) = (.denseWeight, 1, false)
    default: return nil
    }
    guard let weight = folder.weight(node.inputs[1], groups: groups) else { return nil }
    // Several matrices would need a bias each.
    if role == .denseWeight, weight.source.shape.rank != 2 { return nil }
    self.weight = weight
    name = node.name
    if node.inputs.count > 2 {
      guard let bias = folder.values(node.inputs[2]) else { return nil }
      self.bias = bias.doubles
    } else {
      bias = [Double](repeating: 0, count: weight.outputScale.count)
    }
  }
}
