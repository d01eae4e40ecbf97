import ConvNetGraph

/// Makes an ONNX graph of a model, node after node.
///
/// ONNX works channels first and this package channels last. No transposes are written for that: every
/// value is a tensor of the ONNX graph and the order of axes in which it is that tensor's transpose. What
/// cares about the order asks for the one it needs.
final class ONNXExporter {
  /// A value as a tensor of the ONNX graph: axis i of the value is axis `axes[i]` of the tensor.
  struct Place {
    var name: String
    var axes: [Int]
  }

  /// The operator set that is written.
  static let opset: Int64 = 20
  /// The version of the file format that goes with it.
  static let irVersion: Int64 = 9
  private static let problemLimit = 20

  let model: Model
  let graph: Graph
  /// Whether batch norm and dropout work as in training.
  let isTraining: Bool
  let producers: [Int?]
  /// The node at work.
  private(set) var node = Graph.Node(name: "", operation: .softmax, inputs: [], outputs: [])
  private(set) var nodes: [ONNXNode] = []
  private var initializers: [ONNXTensor] = []
  private var places: [Graph.ValueID: Place] = [:]
  /// Parameters and state by value, which become initialisers when they are read.
  private var stored: [Graph.ValueID: (name: String, tensor: Tensor)] = [:]
  /// Transposes and initialisers that exist, by value and order of axes.
  private var made: [Graph.ValueID: [[Int]: String]] = [:]
  private var names: Set<String> = []
  private var constants: [String: String] = [:]

  init(_ model: Model, isTraining: Bool) throws {
    self.model = model
    self.isTraining = isTraining
    graph = isTraining ? model.graph : try ResolveMode(.inference).apply(to: model.graph)
    producers = graph.producers
    names = Set((graph.inputs + graph.outputs).map(\.name))
    for parameter in graph.parameters {
      stored[parameter.value] = model.parameters[parameter.name].map { (parameter.name, $0) }
      names.insert(parameter.name)
    }
    for state in graph.states where state.role != .updateCount {
      stored[state.value] = model.state[state.name].map { (state.name, $0) }
      names.insert(state.name)
    }
  }

  /// The model as ONNX describes it.
  ///
  /// - Throws: `GraphError` listing everything that ONNX has no operator for.
  func export() throws -> ONNXModel {
    var problems: [String] = []
    for port in graph.inputs where port.name != GraphBuilder.randomKeyName {
      places[port.value] = Place(name: port.name, axes: identity(port.value))
    }
    for node in graph.nodes {
      self.node = node
      do { try emit(node) } catch let error as GraphError {
        problems.append("\(node.name): \(error.reason)")
        for output in node.outputs { places[output] = Place(name: "", axes: identity(output)) }
      }
    }
    guard problems.isEmpty else {
      let shown = problems.prefix(Self.problemLimit).joined(separator: "; ")
      let more = problems.count - min(problems.count, Self.problemLimit)
      throw GraphError(
        .malformedGraph, "cannot be written: " + shown + (more > 0 ? "; and \(more) more" : ""))
    }
    for port in graph.outputs { try addOutput(port) }
    var result = ONNXModel()
    result.irVersion = Self.irVersion
    result.producerName = "ConvNet"
    result.opsetImports = ["": Self.opset]
    result.metadata = model.metadata
    result.metadata[ONNXTrainingState.key] = ONNXTrainingState(model).text
    result.graph.name = "model"
    result.graph.nodes = nodes
    result.graph.initializers = initializers
    result.graph.inputs = graph.inputs.filter { $0.name != GraphBuilder.randomKeyName }.map(info)
    result.graph.outputs = graph.outputs.map(info)
    return result
  }

  private func info(_ port: Graph.Port) -> ONNXValueInfo {
    let type = graph.type(of: port.value)
    let dimensions = type.dimensions.map { dimension -> ONNXValueInfo.Dimension in
      switch dimension {
      case .fixed(let extent): .fixed(extent)
      case .symbol(let name): .symbol(name)
      }
    }
    return ONNXValueInfo(port.name, .tensor(ONNXDataType(type.elementType), dimensions))
  }

  /// An output has its own name and the value's own order of axes.
  private func addOutput(_ port: Graph.Port) throws {
    let name = try input(port.value)
    nodes.append(
      ONNXNode(
        "Identity", name: uniqueName("\(port.name).output"), inputs: [name],
        outputs: [port.name]))
  }

  // MARK: Values

  func rank(_ value: Graph.ValueID) -> Int { graph.type(of: value).rank }

  func identity(_ value: Graph.ValueID) -> [Int] { Array(0..<rank(value)) }

  /// The order of axes in which `[N, …, C]` is `[N, C, …]`.
  func channelsFirst(_ value: Graph.ValueID) -> [Int] {
    let rank = rank(value)
    return rank > 2 ? [0] + Array(2..<rank) + [1] : Array(0..<rank)
  }

  /// The order of axes that a value is had in; its own for parameters.
  func axes(of value: Graph.ValueID) -> [Int] { places[value]?.axes ?? identity(value) }

  /// Whether a value is a parameter or state, to be had in any order for nothing.
  func isStored(_ value: Graph.ValueID) -> Bool { stored[value] != nil }

  /// A value as a tensor, in its own order of axes or another.
  func input(_ value: Graph.ValueID, as axes: [Int]? = nil) throws -> String {
    let wanted = axes ?? identity(value)
    if let name = made[value]?[wanted] { return name }
    let name: String
    if let (own, tensor) = stored[value] {
      let isFree = made[value] == nil && !graph.outputs.contains { $0.name == own }
      name = isFree ? own : uniqueName(made[value] == nil ? own : "\(own).\(wanted)")
      initializers.append(
        ONNXTensor(name, tensor, permutedBy: Transpose(wanted).inverse.permutation))
    } else {
      guard let place = places[value] else {
        throw GraphError(.malformedGraph, "reads value \(value.index), which is not written")
      }
      if place.axes == wanted { return place.name }
      // Axis `wanted[i]` of the result is axis `place.axes[i]` of the tensor.
      var order = wanted
      for (to, from) in zip(wanted, place.axes) { order[to] = from }
      name = emit("Transpose", [place.name], [ints("perm", order)])
    }
    made[value, default: [:]][wanted] = name
    return name
  }

  /// Notes that the node's result is a tensor in an order of axes.
  func finish(_ name: String, axes: [Int]? = nil, output index: Int = 0) {
    let value = node.outputs[index]
    places[value] = Place(name: name, axes: axes ?? identity(value))
  }

  /// The tensor that a value is had as.
  func place(_ value: Graph.ValueID) throws -> Place {
    if let place = places[value] { return place }
    return Place(name: try input(value), axes: identity(value))
  }

  // MARK: Nodes and constants

  func uniqueName(_ base: String) -> String {
    var name = base
    var number = 1
    while !names.insert(name).inserted {
      name = "\(base).\(number)"
      number += 1
    }
    return name
  }

  /// Adds a node of one result, named after the node at work.
  func emit(_ opType: String, _ inputs: [String], _ attributes: [ONNXAttribute] = []) -> String {
    let name = uniqueName(node.name.isEmpty ? opType : node.name)
    let output = uniqueName("\(name).out")
    nodes.append(
      ONNXNode(opType, name: name, inputs: inputs, outputs: [output], attributes: attributes))
    return output
  }

  /// Adds a node as it is.
  func append(_ node: ONNXNode) { nodes.append(node) }

  /// Adds an initialiser as it is.
  func constant(_ tensor: Tensor, _ base: String) -> String {
    let name = uniqueName(base)
    initializers.append(ONNXTensor(name, tensor))
    return name
  }

  /// int64 `[k]`.
  func constant(_ integers: [Int]) -> String {
    shared("integers \(integers)") { Tensor(integers.map { Int64($0) }, shape: [integers.count]) }
  }

  /// One number, float32 unless said otherwise.
  func constant(_ number: Double, _ type: ElementType = .float32) -> String {
    shared("\(type.rawValue) \(number)") {
      Tensor(doubles: [number], shape: [], elementType: type)
    }
  }

  private func shared(_ key: String, _ make: () -> Tensor) -> String {
    if let name = constants[key] { return name }
    let name = constant(make(), "constant.\(constants.count)")
    constants[key] = name
    return name
  }

  func ints(_ name: String, _ values: [Int]) -> ONNXAttribute {
    ONNXAttribute(name, .ints(values.map { Int64($0) }))
  }

  func int(_ name: String, _ value: Int) -> ONNXAttribute {
    ONNXAttribute(name, .int(Int64(value)))
  }

  func float(_ name: String, _ value: Double) -> ONNXAttribute {
    ONNXAttribute(name, .float(Float(value)))
  }

  func text(_ name: String, _ value: String) -> ONNXAttribute {
    ONNXAttribute(name, .string(value))
  }

  func unsupported(_ reason: String) -> GraphError { GraphError(.malformedGraph, reason) }

  // MARK: Operations

  private func emit(_ node: Graph.Node) throws {
    switch node.operation {
    case .convolution(let a): try emitConvolution(a)
    case .transposedConvolution(let a): try emitTransposedConvolution(a)
    case .batchMoments: try checkMoments()
    case .normalize(let a): try emitNormalize(a)
    case .maxPool(let window): try emitPool("MaxPool", window)
    case .averagePool(let a):
      try emitPool(
        "AveragePool", a.window, [int("count_include_pad", a.countsPadding ? 1 : 0)])
    case .matrixMultiply(let a): try emitMatrixMultiply(a)
    case .softmax: try emitSoftmax()
    case .dropout(let a): try emitDropout(a)
    case .resize(let a): try emitResize(a)
    case .map(let function): try emitMap(function)
    case .combine(let function): try emitCombine(function)
    case .compare(let comparison): try emitElementwise(comparison.operatorName)
    case .select: try emitElementwise("Where")
    case .cast(let type): try emitCast(type)
    case .reduce(let a): try emitReduce(a)
    case .fill(let value): try emitFill(value)
    case .constant(let a): finish(constant(a.tensor, node.name))
    case .broadcast(let a):
      finish(emit("Expand", [try input(node.inputs[0]), constant(a.extents)]))
    case .concatenate(let a): try emitConcatenate(a)
    case .slice(let a): try emitSlice(a)
    case .pad(let a): try emitPad(a)
    case .gather(let a):
      finish(
        emit(
          "Gather", [try input(node.inputs[0]), try input(node.inputs[1])], [int("axis", a.axis)]))
    case .reshape(let a): try emitReshape(a)
    case .reshapeLike: try emitReshapeLike()
    case .transpose(let a):
      let place = try place(node.inputs[0])
      finish(place.name, axes: a.permutation.map { place.axes[$0] })
    case .deferred(let a): try emitDeferred(a)
    case .convolutionInputGradient, .convolutionFilterGradient, .normalizeGradientSums,
      .normalizeGradientInput, .renormalize, .covariance, .decorrelate, .decorrelateGradient,
      .expand, .maxPoolGradient, .averagePoolGradient, .padGradient, .gatherGradient,
      .resizeGradient, .sliceGradient, .softmaxCrossEntropy, .softmaxCrossEntropyGradient, .fused:
      throw unsupported("ONNX has no operator for \(node.operation.name)")
    }
  }
}
