import ConvNetGraph

/// Turns a graph of concrete shapes into steps and buffers.
///
/// Each operation has a method in a file of its own that emits its steps; the compiler keeps track of
/// which buffer lives from where to where.
struct PlanCompiler {
  /// What a buffer is.
  enum Origin {
    /// Part of the arena, alive between two steps.
    case arena(ArenaPlanner.Request)
    /// A parameter or float32 state of the store.
    case store(String)
    /// Packed weights, by number.
    case pack(Int)
    /// Numbers that the plan keeps; nobody writes there.
    case constant(TensorStorage)
  }

  /// Weights to be packed before the first step that reads them.
  struct Pack {
    var key: PackKey
    var floatCount: Int
    var step: any Step
  }

  /// What is compiled; operations that are computed by others add values of their own.
  private(set) var graph: Graph
  let options: PlanOptions
  let kernels: PanelKernels
  private(set) var buffers: [Origin] = []
  private(set) var steps: [any Step] = []
  private(set) var stepNames: [String] = []
  private(set) var packs: [Pack] = []
  /// The strategy of each convolution.
  var choices: [ConvolutionChoice] = []
  /// The nodes of every band of convolutions, by the name of the last.
  var bands: [String: [Graph.Node]] = [:]
  private var bufferOfValue: [Graph.ValueID: Buffer] = [:]
  /// The nodes that read each value, by index; below 0 whoever gets an output.
  let readers: [[Int]]
  /// The buffers of the inputs by name.
  private(set) var inputPorts: [String: Buffer] = [:]
  private var zeros: (buffer: Buffer, count: Int)?
  private var packNumbers: [PackKey: Buffer] = [:]
  /// The coefficients of normalisations that a run computes, for those who need them again.
  var normalizeCoefficients: [NormalizeKey: Buffer] = [:]
  /// The sums that steps take of their results, by the first result of the nodes that want them.
  var partialSums: [Graph.ValueID: PartialSums] = [:]
  /// Whether the step at work makes the node's result as its readers see it.
  private(set) var takesSums = true
  /// The normalisations that are computed by those who load their results; the buffer is that of x.
  var loadedNormalizations: [Graph.ValueID: LoadedNormalization] = [:]
  /// What steps read; sources of packed weights that are not among them are read by packing alone.
  private(set) var readBuffers: Set<Buffer> = []
  /// The node at work, for names and errors.
  var node: Graph.Node

  init(graph: Graph, options: PlanOptions) throws {
    self.graph = graph
    self.options = options
    kernels = PanelKernels.current
    readers = graph.readers
    node = Graph.Node(name: "", operation: .softmax, inputs: [], outputs: [])
    let strategies = ConvolutionStrategy.allCases.map(\.rawValue) + [ConvolutionBand.name]
    if let name = options.convolution, !strategies.contains(name) {
      throw PlanError(
        .unknownStrategy, "the strategies are \(strategies.joined(separator: ", "))", at: name)
    }
    for input in graph.inputs {
      // Inputs keep their bytes, so that a second run sees what was set once.
      let buffer = addArenaBuffer(byteCount: try byteCount(of: input.value))
      extend(buffer, to: Int.max)
      bufferOfValue[input.value] = buffer
    }
    for parameter in graph.parameters {
      bufferOfValue[parameter.value] = add(.store(parameter.name))
    }
    for state in graph.states where state.role != .updateCount {
      bufferOfValue[state.value] = add(.store(state.name))
    }
    inputPorts = ports(graph.inputs)
    for state in graph.states
    where state.role == .updateCount && !readers[state.value.index].isEmpty {
      throw PlanError(
        .unsupported, "a counter of updates is no part of a computation", at: state.name)
    }
    let (bands, covered) = try findBands()
    for (index, node) in graph.nodes.enumerated() where !covered.contains(index) {
      self.node = node
      if let band = bands[index] { try emitBand(band) } else { try emit(node) }
    }
    for output in graph.outputs { try pin(output) }
  }

  /// The buffer of each named input and output.
  func ports(_ ports: [Graph.Port]) -> [String: Buffer] {
    Dictionary(ports.map { ($0.name, buffer($0.value)) }) { first, _ in first }
  }

  // MARK: Shapes

  /// The concrete shape of a value.
  func shape(_ value: Graph.ValueID) -> Shape {
    guard let shape = graph.type(of: value).shape else {
      fatalError("A plan is made of concrete shapes, not \(graph.type(of: value)).")
    }
    return shape
  }

  /// The bytes of a value, which the machine could have.
  func byteCount(of value: Graph.ValueID) throws -> Int {
    let type = graph.type(of: value)
    let count = shape(value).count * type.elementType.byteCount
    let memory = TensorStorage.memoryByteCount
    guard count <= memory else {
      throw unsupported("\(type) takes \(count) bytes, and the machine has \(memory)")
    }
    return count
  }

  func unsupported(_ reason: String) -> PlanError {
    PlanError(.unsupported, reason, at: node.name)
  }

  // MARK: Buffers

  private mutating func add(_ origin: Origin) -> Buffer {
    buffers.append(origin)
    return Buffer(index: buffers.count - 1)
  }

  private mutating func addArenaBuffer(byteCount: Int) -> Buffer {
    add(.arena(ArenaPlanner.Request(byteCount: byteCount, first: steps.count, last: steps.count)))
  }

  /// The buffer of a value that has been computed.
  func buffer(_ value: Graph.ValueID) -> Buffer {
    guard let buffer = bufferOfValue[value] else {
      fatalError("The value \(value.index) is read by \(node.name) before it is made.")
    }
    return buffer
  }

  /// Whether a value has been computed.
  func isMade(_ value: Graph.ValueID) -> Bool { bufferOfValue[value] != nil }

  /// The buffer of the node's operand.
  func input(_ index: Int) -> Buffer { buffer(node.inputs[index]) }

  /// A new buffer for the node's result.
  mutating func output(_ index: Int = 0) throws -> Buffer {
    let value = node.outputs[index]
    let buffer = addArenaBuffer(byteCount: try byteCount(of: value))
    bufferOfValue[value] = buffer
    return buffer
  }

  /// Lets the node's result share the bytes of a buffer.
  mutating func alias(_ buffer: Buffer, output index: Int = 0) {
    bufferOfValue[node.outputs[index]] = buffer
  }

  /// A float32 value that the graph does not have, in a buffer, or to be computed.
  mutating func value(_ shape: Shape, _ buffer: Buffer?) -> Graph.ValueID {
    graph.types.append(TensorType(.float32, shape))
    let value = Graph.ValueID(graph.types.count - 1)
    bufferOfValue[value] = buffer
    return value
  }

  /// A buffer that only the node's own steps use.
  mutating func temporary(floats count: Int) -> Buffer { addArenaBuffer(byteCount: count * 4) }

  /// A buffer of doubles that only the node's own steps use.
  mutating func temporary(doubles count: Int) -> Buffer { addArenaBuffer(byteCount: count * 8) }

  /// A buffer that holds a tensor in every run.
  mutating func constant(_ tensor: Tensor) -> Buffer { add(.constant(tensor.storage)) }

  /// A row of at least `count` zeros.
  mutating func zeros(_ count: Int) -> Buffer {
    if let zeros, zeros.count >= count { return zeros.buffer }
    let buffer = addArenaBuffer(byteCount: count * 4)
    zeros = (buffer, count)
    emit(
      FillStep(output: buffer, count: count, value: 0), reads: [], writes: [buffer], suffix: "zeros"
    )
    extend(buffer, to: Int.max)
    return buffer
  }

  private mutating func extend(_ buffer: Buffer, to step: Int) {
    guard case .arena(var request) = buffers[buffer.index] else { return }
    request.last = max(request.last, step)
    buffers[buffer.index] = .arena(request)
  }

  // MARK: Steps

  /// Adds a step and notes which buffers it touches.
  mutating func emit(
    _ step: any Step, reads: [Buffer], writes: [Buffer], suffix: String = ""
  ) {
    for buffer in reads + writes { extend(buffer, to: steps.count) }
    readBuffers.formUnion(reads)
    steps.append(step)
    stepNames.append(suffix.isEmpty ? node.name : "\(node.name).\(suffix)")
  }

  /// The buffer of packed weights, which `make` packs from the parameters when they have changed; nil
  /// where one of the values is neither a parameter nor float32 state, or nothing is to be kept.
  ///
  /// The layout's name must say everything that `make` depends on besides the values' shapes, which are part
  /// of it here: a parameter may also be read under another shape.
  mutating func pack(
    parameters: [Graph.ValueID], layout: String, floatCount: Int,
    make: (_ sources: [Buffer], _ target: Buffer) -> any Step
  ) -> Buffer? {
    guard options.keepsPackedWeights else { return nil }
    let sources = parameters.map { buffer($0) }
    let shapes = parameters.map { shape($0).description }.joined()
    var key = PackKey(parameters: [], layout: "\(layout) \(shapes)")
    for source in sources {
      guard case .store(let name) = buffers[source.index] else { return nil }
      key.parameters.append(name)
    }
    if let known = packNumbers[key] { return known }
    let target = add(.pack(packs.count))
    packNumbers[key] = target
    packs.append(Pack(key: key, floatCount: floatCount, step: make(sources, target)))
    return target
  }

  /// The same for weights that are packed from one parameter.
  mutating func pack(
    parameter: Graph.ValueID, layout: String, floatCount: Int,
    make: (_ source: Buffer, _ target: Buffer) -> any Step
  ) -> Buffer? {
    pack(parameters: [parameter], layout: layout, floatCount: floatCount) { make($0[0], $1) }
  }

  /// Keeps an output to the end; a parameter or an input handed out unchanged is copied, and the value's
  /// buffer is the copy from then on.
  private mutating func pin(_ output: Graph.Port) throws {
    node.name = output.name
    let source = buffer(output.value)
    switch buffers[source.index] {
    case .arena where !inputPorts.values.contains(source): extend(source, to: Int.max)
    case .arena, .store, .pack, .constant:
      let byteCount = try byteCount(of: output.value)
      let copy = addArenaBuffer(byteCount: byteCount)
      emit(
        CopyStep(input: source, output: copy, byteCount: byteCount), reads: [source], writes: [copy]
      )
      extend(copy, to: Int.max)
      bufferOfValue[output.value] = copy
    }
  }

  // MARK: Operations

  private mutating func emit(_ node: Graph.Node) throws {
    switch node.operation {
    case .convolution(let a): try emitConvolution(a, epilogue: .none)
    case .convolutionInputGradient(let a):
      try emitConvolutionInputGradient(a, epilogue: .none)
    case .convolutionFilterGradient(let a): try emitConvolutionFilterGradient(a)
    case .batchMoments(let a): try emitBatchMoments(a)
    case .normalize(let a): try emitNormalize(a, epilogue: .none)
    case .normalizeGradientSums(let a): try emitNormalizeGradientSums(a, gate: nil)
    case .normalizeGradientInput(let a): try emitNormalizeGradientInput(a, gate: nil)
    case .renormalize(let a): try emitRenormalize(a)
    case .covariance(let a): try emitCovariance(a)
    case .decorrelate(let a): try emitDecorrelate(a)
    case .decorrelateGradient(let a): try emitDecorrelateGradient(a)
    case .map(let function): try emitMap(function)
    case .combine(let function): try emitCombine(function)
    case .reduce(let a): try emitReduce(a)
    case .expand(let a): try emitExpand(a)
    case .fill(let value): try emitFill(value)
    case .maxPool(let a): try emitMaxPool(a)
    case .maxPoolGradient(let a): try emitMaxPoolGradient(a)
    case .averagePool(let a): try emitAveragePool(a)
    case .averagePoolGradient(let a): try emitAveragePoolGradient(a)
    case .matrixMultiply(let a): try emitMatrixMultiply(a, epilogue: .none)
    case .concatenate(let a): try emitConcatenate(a)
    case .slice(let a): try emitSlice(a)
    case .sliceGradient(let a): try emitSliceGradient(a)
    case .reshape, .reshapeLike: emitReshape()
    case .transpose(let a): try emitTranspose(a)
    case .cast(let type): try emitCast(type)
    case .dropout(let a): try emitDropout(a)
    case .softmax: try emitSoftmax()
    case .softmaxCrossEntropy(let a): try emitSoftmaxCrossEntropy(a)
    case .softmaxCrossEntropyGradient(let a): try emitSoftmaxCrossEntropyGradient(a)
    case .transposedConvolution(let a): try emitTransposedConvolution(a)
    case .resize(let a): try emitResize(a)
    case .resizeGradient(let a): try emitResizeGradient(a)
    case .constant(let a): alias(constant(a.tensor))
    case .compare(let comparison): try emitCompare(comparison)
    case .select: try emitSelect()
    case .broadcast: try emitBroadcast()
    case .pad(let a): try emitPad(a)
    case .padGradient(let a): try emitPadGradient(a)
    case .gather(let a): try emitGather(a)
    case .gatherGradient(let a): try emitGatherGradient(a)
    case .deferred:
      throw unsupported("\(node.operation.name)")
    case .fused(let a): try emitFused(a)
    }
  }

  /// Whether what an epilogue adds is of the result's own shape; a row broadcast over it is not.
  private func isWhole(_ epilogue: Epilogue) -> Bool {
    guard epilogue.low <= epilogue.high else { return false }
    guard let residual = epilogue.residual else { return true }
    return shape(node.inputs[residual]) == shape(node.outputs[0])
  }

  /// Runs a fused node: its anchor with the epilogue where the anchor's strategy takes it, otherwise step
  /// by step.
  private mutating func emitFused(_ fused: Fused) throws {
    let operands = node.inputs
    if let prologue = fused.prologue { return try emitGated(fused, prologue) }
    if let epilogue = Epilogue(fused, firstOperand: fused.anchorInputCount), isWhole(epilogue) {
      switch fused.anchor {
      case .convolution(let a): return try emitConvolution(a, epilogue: epilogue)
      case .convolutionInputGradient(let a) where a.window.rank < 3:
        return try emitConvolutionInputGradient(a, epilogue: epilogue)
      case .normalize(let a): return try emitNormalize(a, epilogue: epilogue)
      case .matrixMultiply(let a): return try emitMatrixMultiply(a, epilogue: epilogue)
      default: break
      }
    }
    var next = fused.anchorInputCount
    let outer = node
    node.inputs = Array(operands.prefix(next))
    node.operation = fused.anchor
    // Readers want sums of what the last step makes.
    takesSums = fused.epilogue.isEmpty
    try emit(node)
    for (index, step) in fused.epilogue.enumerated() {
      takesSums = index + 1 == fused.epilogue.count
      node.inputs = [outer.outputs[0]]
      if case .combine = step {
        node.inputs.append(operands[next])
        next += 1
      }
      node.operation = step.operation
      try emit(node)
    }
  }
}
