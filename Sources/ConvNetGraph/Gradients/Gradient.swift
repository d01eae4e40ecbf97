extension Graph {
  /// The graph with the gradient of one output with respect to every trainable parameter.
  ///
  /// Reverse-mode differentiation as a transformation: the result keeps all outputs and adds one named
  /// `gradient/NAME` per trainable parameter, of the parameter's type; 0 where the output does not
  /// depend on it. An output that is no scalar is differentiated as the sum of its elements. Taken after
  /// `ResolveMode` and on the unfused graph only. Operations on the way from a parameter to the output
  /// must have a gradient; what lies elsewhere is not looked at, so nothing is computed for inputs.
  ///
  /// - Throws: `GraphError` with code `.noGradient` naming the operation that has none.
  package func gradient(of output: String) throws -> Graph {
    try gradient(
      of: output, withRespectTo: parameters.filter(\.isTrainable).map(\.name))
  }

  /// The graph with the gradient of one output with respect to inputs or parameters, by name.
  package func gradient(of output: String, withRespectTo names: [String]) throws -> Graph {
    guard let target = outputs.first(where: { $0.name == output })?.value else {
      throw GraphError(.malformedGraph, "there is no output of this name", at: output)
    }
    guard type(of: target).elementType == .float32 else {
      throw GraphError(.noGradient, "\(type(of: target)) cannot be differentiated", at: output)
    }
    let wanted = try names.map { name in
      guard let value = value(named: name), type(of: value).elementType == .float32,
        !states.contains(where: { $0.value == value })
      else {
        throw GraphError(.noGradient, "is no float32 input or parameter", at: name)
      }
      return Port(name: name, value: value)
    }
    let builder = GraphBuilder(self)
    var gradients = GradientTable(builder: builder, active: dependents(of: wanted.map(\.value)))
    gradients.add(
      builder.add(.fill(1), target, name: builder.uniqueName("gradient seed")), to: target)
    for node in nodes.reversed() {
      do { try gradients.passThrough(node, of: self) } catch {
        throw GraphBuilder.place(error, at: node.name)
      }
    }
    for port in wanted {
      let gradient = gradients[port.value] ?? builder.add(.fill(0), port.value)
      builder.addOutput("gradient/\(port.name)", gradient)
    }
    let result = try builder.finish()
    try result.verify()
    return result
  }

  /// Which values change when the given ones do; operands that lend only their shape pass nothing on.
  private func dependents(of values: [ValueID]) -> [Bool] {
    var active = [Bool](repeating: false, count: types.count)
    for value in values { active[value.index] = true }
    for node in nodes {
      let shapeOnly = node.operation.shapeOnlyInputs
      let depends = node.inputs.enumerated().contains { index, input in
        active[input.index] && !shapeOnly.contains(index)
      }
      for output in node.outputs where depends && type(of: output).elementType.isFloatingPoint {
        active[output.index] = true
      }
    }
    return active
  }
}

/// The gradients found so far, by value; several contributions to one value are added up.
struct GradientTable {
  let builder: GraphBuilder
  /// By value of the original graph: whether a gradient is wanted.
  let active: [Bool]
  private var gradients: [Graph.ValueID: Graph.ValueID] = [:]

  init(builder: GraphBuilder, active: [Bool]) {
    self.builder = builder
    self.active = active
  }

  subscript(value: Graph.ValueID) -> Graph.ValueID? { gradients[value] }

  /// Adds a contribution to the gradient of a value, if that is wanted.
  mutating func add(_ contribution: Graph.ValueID, to value: Graph.ValueID, near layer: String = "")
  {
    guard active[value.index] else { return }
    gradients[value] =
      gradients[value].map {
        builder.add(
          .combine(.add), $0, contribution, name: builder.uniqueName("\(layer).gradientSum"))
      } ?? contribution
  }

  /// Takes the gradients of a node's results to its operands.
  mutating func passThrough(_ node: Graph.Node, of graph: Graph) throws {
    let results = node.outputs.map { gradients[$0] }
    guard results.contains(where: { $0 != nil }) else { return }
    var step = GradientStep(
      graph: graph, builder: builder, node: node, resultGradients: results,
      wants: node.inputs.map { active[$0.index] })
    try node.operation.differentiate(&step)
    for (operand, contribution) in step.contributions {
      add(contribution, to: node.inputs[operand], near: node.name)
    }
  }
}

/// One node on the way back: what its rule reads, and the contributions it makes.
struct GradientStep {
  let graph: Graph
  let builder: GraphBuilder
  let node: Graph.Node
  /// The gradient of each result; nil where the differentiated output does not depend on it.
  let resultGradients: [Graph.ValueID?]
  /// For each operand whether its gradient is wanted.
  let wants: [Bool]
  private(set) var contributions: [(operand: Int, gradient: Graph.ValueID)] = []

  init(
    graph: Graph, builder: GraphBuilder, node: Graph.Node, resultGradients: [Graph.ValueID?],
    wants: [Bool]
  ) {
    self.graph = graph
    self.builder = builder
    self.node = node
    self.resultGradients = resultGradients
    self.wants = wants
  }

  /// The gradient of a result that is known to have one, as the first of one result always is.
  func gradient(of result: Int = 0) -> Graph.ValueID {
    guard let gradient = resultGradients[result] else {
      fatalError("Result \(result) of \(node.name) has no gradient.")
    }
    return gradient
  }

  func input(_ index: Int) -> Graph.ValueID { node.inputs[index] }

  func output(_ index: Int = 0) -> Graph.ValueID { node.outputs[index] }

  func type(_ value: Graph.ValueID) -> TensorType { builder.type(of: value) }

  /// Contributes to an operand's gradient, and computes the contribution only where it is wanted.
  mutating func contribute(to operand: Int, _ gradient: (GradientStep) throws -> Graph.ValueID)
    rethrows
  {
    guard wants[operand] else { return }
    contributions.append((operand, try gradient(self)))
  }

  /// Adds an operation, named after the node it belongs to.
  func add(_ operation: Operation, _ inputs: Graph.ValueID...) -> Graph.ValueID {
    addAll(operation, inputs)[0]
  }

  func addAll(_ operation: Operation, _ inputs: [Graph.ValueID]) -> [Graph.ValueID] {
    builder.add(operation, inputs, name: builder.uniqueName("\(node.name).\(operation.name)"))
  }

  func multiply(_ a: Graph.ValueID, _ b: Graph.ValueID) -> Graph.ValueID {
    add(.combine(.multiply), a, b)
  }

  func affine(_ x: Graph.ValueID, scale: Double, offset: Double = 0) -> Graph.ValueID {
    add(.map(.affine(scale: scale, offset: offset)), x)
  }

  /// The sum over the last axis, or over all axes but the last.
  func sumOverLast(_ x: Graph.ValueID, keepsAxes: Bool) -> Graph.ValueID {
    add(.reduce(Reduce(.sum, axes: [-1], keepsAxes: keepsAxes)), x)
  }

  func sumToLast(_ x: Graph.ValueID) -> Graph.ValueID {
    add(.reduce(Reduce(.sum, axes: Array(0..<(type(x).rank - 1)))), x)
  }

  func noGradient(_ reason: String) -> GraphError { GraphError(.noGradient, reason) }
}

extension Operation {
  /// Contributes to the gradients of a node's operands.
  func differentiate(_ step: inout GradientStep) throws {
    switch self {
    case .convolution(let a): a.differentiate(&step)
    case .convolutionInputGradient(let a): a.differentiateInputGradient(&step)
    case .convolutionFilterGradient(let a): a.differentiateFilterGradient(&step)
    case .transposedConvolution(let a): try a.differentiate(&step)
    case .resize(let a): a.differentiate(&step)
    case .resizeGradient(let a): a.differentiateGradient(&step)
    case .constant, .compare: break
    case .select: differentiateSelect(&step)
    case .broadcast: step.contributeBroadcast(to: 0) { $0.gradient() }
    case .pad(let a): a.differentiate(&step)
    case .padGradient(let a): a.differentiateGradient(&step)
    case .gather(let a): a.differentiate(&step)
    case .gatherGradient(let a): a.differentiateGradient(&step)
    case .deferred:
      throw step.noGradient("the gradient is taken on a graph of concrete shapes only")
    case .batchMoments(let a): try a.differentiate(&step)
    case .normalize(let a): try a.differentiate(&step)
    case .normalizeGradientSums, .normalizeGradientInput:
      throw step.noGradient("batch normalisation is differentiated once, not twice")
    case .covariance:
      throw step.noGradient("a covariance has a gradient only through the decorrelation it serves")
    case .decorrelate(let a): try a.differentiate(&step)
    case .decorrelateGradient:
      throw step.noGradient("decorrelation is differentiated once, not twice")
    case .map(let function):
      step.contribute(to: 0) {
        $0.add(.combine(.derivative(function)), $0.gradient(), $0.input(0))
      }
    case .combine(let function): try function.differentiate(&step)
    case .reduce(let a): a.differentiate(&step)
    case .expand(let a): step.contribute(to: 0) { $0.add(.reduce(a), $0.gradient()) }
    case .fill, .renormalize: break
    case .maxPool(let window):
      step.contribute(to: 0) { $0.add(.maxPoolGradient(window), $0.gradient(), $0.input(0)) }
    case .maxPoolGradient: throw step.noGradient("max pooling is differentiated once, not twice")
    case .averagePool(let a):
      step.contribute(to: 0) { $0.add(.averagePoolGradient(a), $0.gradient(), $0.input(0)) }
    case .averagePoolGradient(let a):
      step.contribute(to: 0) { $0.add(.averagePool(a), $0.gradient()) }
    case .matrixMultiply(let a): a.differentiate(&step)
    case .concatenate(let a): try a.differentiate(&step)
    case .slice(let a):
      step.contribute(to: 0) { $0.add(.sliceGradient(a), $0.gradient(), $0.input(0)) }
    case .sliceGradient(let a): step.contribute(to: 0) { $0.add(.slice(a), $0.gradient()) }
    case .reshape, .reshapeLike:
      step.contribute(to: 0) { $0.add(.reshapeLike, $0.gradient(), $0.input(0)) }
    case .transpose(let a):
      step.contribute(to: 0) { $0.add(.transpose(a.inverse), $0.gradient()) }
    case .cast:
      step.contribute(to: 0) { $0.add(.cast($0.type($0.input(0)).elementType), $0.gradient()) }
    case .dropout(let a):
      // Linear in x with the same elements dropped, which the same key finds again.
      step.contribute(to: 0) { $0.add(.dropout(a), $0.gradient(), $0.input(1)) }
    case .softmax: differentiateSoftmax(&step)
    case .softmaxCrossEntropy(let a): a.differentiate(&step)
    case .softmaxCrossEntropyGradient(let a): a.differentiateGradient(&step)
    case .fused:
      throw step.noGradient("the gradient is taken on the unfused graph only")
    }
  }
}
