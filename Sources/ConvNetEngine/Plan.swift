public import ConvNetGraph
import OpenBLAS

/// Everything about running a graph that can be decided before it runs: the strategy of each operation,
/// the layout of its weights, the pieces of its work, the place of every buffer in one arena.
///
/// A plan is immutable and may be shared; what a run changes is in a `Workspace`.
public final class Plan: Sendable {
  /// The graph with concrete shapes, after the engine's own passes.
  let graph: Graph
  /// The lanes that runs use.
  public let lanes: Lanes
  let steps: [any Step]
  let stepNames: [String]
  let packs: [PackPlan]
  let origins: [BufferOrigin]
  /// The parameters and state that steps read as they are, not packed.
  let directlyRead: Set<String>
  /// The nodes of every band of convolutions, by the name of the last, whose step computes them.
  let bands: [String: [Graph.Node]]
  private let inputs: [String: Port]
  private let outputs: [String: Port]
  private let layout: ParameterStore.Layout
  /// Bytes of the arena, where activations and gradients lie.
  public let arenaByteCount: Int
  /// The strategy of each convolution, and why others declined.
  public let convolutionChoices: [ConvolutionChoice]
  /// Bytes of scratch for each lane.
  public let scratchByteCount: Int

  /// A named input or output.
  struct Port: Sendable {
    var buffer: Buffer
    var shape: Shape
    var elementType: ElementType
  }

  /// Where a buffer lies, decided.
  enum BufferOrigin: Sendable {
    case arena(offset: Int)
    case store(name: String, floatOffset: Int)
    case pack(Int)
    case constant(TensorStorage)
  }

  /// Weights to be packed.
  struct PackPlan: Sendable {
    var key: PackKey
    var floatCount: Int
    var step: any Step
  }

  /// Makes a plan for a graph whose mode is resolved.
  ///
  /// - Parameters:
  ///   - graph: what to run; batch norm as it stands in it.
  ///   - inputShapes: the shape of every input with symbols in its type.
  ///   - lanes: the threads to run on.
  ///   - options: strategies to force.
  /// - Throws: `GraphError` where the shapes do not fit, `PlanError` where the engine cannot run them or they
  ///   need more memory than the machine has.
  public convenience init(
    _ graph: Graph, inputShapes: [String: Shape], lanes: Lanes = .shared,
    options: PlanOptions = PlanOptions()
  ) throws {
    try self.init(
      graph, inputShapes: inputShapes, lanes: lanes, options: options, bindsPorts: false)
  }

  /// Makes a plan; where it `bindsPorts`, inputs and outputs have no place in the arena, and the owner of
  /// a workspace points them to memory of its own before a run.
  init(
    _ graph: Graph, inputShapes: [String: Shape], lanes: Lanes, options: PlanOptions,
    bindsPorts: Bool
  ) throws {
    BLAS.bootstrap()
    var resolved = try RemoveUnused().apply(to: graph).resolved(inputShapes: inputShapes)
    resolved = try RemoveIdentities().apply(to: resolved)
    if options.fusesEpilogues, options.batchNormalization == .fused {
      resolved = try FuseActivationGradients().apply(to: resolved)
    }
    resolved = try ReuseActivationOutputs().apply(to: resolved)
    if options.fusesEpilogues { resolved = try FuseEpilogues().apply(to: resolved) }
    if options.recomputesSegments { resolved = try RecomputeSegments().apply(to: resolved) }
    if options.recomputesActivations { resolved = try RecomputeActivations().apply(to: resolved) }
    let compiler = try PlanCompiler(graph: resolved, options: options)
    self.graph = resolved
    self.lanes = lanes
    steps = compiler.steps
    convolutionChoices = compiler.choices
    bands = compiler.bands
    stepNames = compiler.stepNames
    packs = compiler.packs.map { PackPlan(key: $0.key, floatCount: $0.floatCount, step: $0.step) }
    scratchByteCount =
      (steps + packs.map(\.step)).reduce(0) { max($0, $1.scratchByteCount) }
    directlyRead = Set(
      compiler.readBuffers.compactMap {
        guard case .store(let name) = compiler.buffers[$0.index] else { return nil }
        return name
      })
    let layout = ParameterStore.Layout(graph)
    self.layout = layout
    inputs = Self.ports(resolved.inputs, of: resolved, compiler.inputPorts)
    outputs = Self.ports(resolved.outputs, of: resolved, compiler.ports(resolved.outputs))
    var buffers = compiler.buffers
    if bindsPorts {
      for port in [Port](inputs.values) + outputs.values {
        buffers[port.buffer.index] = .arena(.init(byteCount: 0, first: 0, last: 0))
      }
    }
    let arena = Self.placeBuffers(buffers, layout: layout)
    origins = arena.origins
    arenaByteCount = arena.byteCount
    let memory = TensorStorage.memoryByteCount
    guard workspaceByteCount <= memory else {
      throw PlanError(
        .unsupported, "a run needs \(workspaceByteCount) bytes, and the machine has \(memory)",
        at: "")
    }
  }

  /// Makes a plan for a model in a mode.
  ///
  /// In training the network also takes the input `random key`, int64 `[2]` = (seed, step), where it has
  /// dropout, and `renormalization limits`, float32 `[2]` = (r_max, d_max), where a layer renormalises.
  ///
  /// - Throws: as `init(_:inputShapes:lanes:options:)`.
  public convenience init(
    _ model: Model, mode: ExecutionMode, inputShapes: [String: Shape], lanes: Lanes = .shared,
    options: PlanOptions = PlanOptions()
  ) throws {
    switch mode {
    case .training:
      try self.init(
        model.graph.resolvedForTraining(inputShapes: inputShapes), inputShapes: [:], lanes: lanes,
        options: options)
    case .inference:
      try self.init(
        ResolveMode(mode).apply(to: model.graph), inputShapes: inputShapes, lanes: lanes,
        options: options)
    }
  }

  /// Bytes that a run needs besides the store: arena, scratch of all lanes, packed weights and constants.
  ///
  /// Packed weights are shared by all plans on one store.
  public var peakByteCount: Int {
    let constants = origins.reduce(0) {
      if case .constant(let storage) = $1 { $0 + storage.byteCount } else { $0 }
    }
    return workspaceByteCount + constants + packs.reduce(0) { $0 + $1.floatCount * 4 }
  }

  /// Bytes from one lane's scratch to the next: neighbours must not share a cache line or a page.
  var scratchStride: Int { (scratchByteCount + 4095) / 4096 * 4096 + 192 }

  /// Where scratch begins in a workspace, behind the arena.
  var scratchOffset: Int { (arenaByteCount + 63) / 64 * 64 }

  /// Bytes that one workspace allocates.
  var workspaceByteCount: Int { scratchOffset + scratchStride * lanes.count }

  /// The transposes that a run makes of activations.
  package var transposeCount: Int { graph.transposeCount }

  /// The names of the steps, in order, for reports.
  package var stepDescriptions: [String] {
    zip(stepNames, steps).map { "\($0) [\(type(of: $1)), \($1.pieces) pieces]" }
  }

  /// Allocates what a run changes, bound to the parameters of a store.
  ///
  /// A store of a model with other parameters stops the program.
  public func makeWorkspace(for store: ParameterStore) -> Workspace {
    guard store.layout == layout else {
      fatalError("A workspace is made for a store of the same parameters as its plan.")
    }
    let packed = packs.map { store.packedWeights($0.key, floatCount: $0.floatCount) }
    let workspace = Workspace(plan: self, store: store, packs: packed)
    packWeights(in: workspace)
    return workspace
  }

  /// Runs the plan once; allocates nothing.
  ///
  /// OpenBLAS's small-matrix kernels (SkylakeX, Cooperlake) may take a packing buffer from malloc inside a
  /// product in Double, which decorrelated batch norm takes in training, and free it again.
  ///
  /// A workspace of another plan stops the program.
  public func run(in workspace: inout Workspace) {
    guard workspace.plan === self else {
      fatalError("A workspace runs with the plan that made it.")
    }
    packWeights(in: workspace)
    let context = workspace.context
    Lanes.withFlushedDenormals {
      for index in 0..<steps.count { lanes.run(steps[index], in: context) }
    }
  }

  /// Packs the weights that have changed since they were packed.
  ///
  /// Over sealed weights there is nothing to do, and nothing that is shared is touched.
  func packWeights(in workspace: borrowing Workspace) {
    guard let store = workspace.store else { return }
    let version = store.version
    for index in 0..<packs.count where workspace.packs[index].version != version {
      Lanes.withFlushedDenormals { lanes.run(packs[index].step, in: workspace.context) }
      workspace.packs[index].version = version
    }
  }

  func input(_ name: String) throws -> Port { try port(name, in: inputs, kind: "input") }

  func output(_ name: String) throws -> Port { try port(name, in: outputs, kind: "output") }

  /// The element type and concrete shape of an input.
  ///
  /// - Throws: `PlanError` of code `.mismatchedData` where there is no such input.
  public func inputType(_ name: String) throws -> TensorType {
    let port = try input(name)
    return TensorType(port.elementType, port.shape)
  }

  private func port(_ name: String, in ports: [String: Port], kind: String) throws -> Port {
    if let port = ports[name] { return port }
    let known = ports.keys.sorted().joined(separator: ", ")
    throw PlanError(
      .mismatchedData, "there is no \(kind) of this name; there are: \(known)", at: name)
  }

  private static func ports(
    _ ports: [Graph.Port], of graph: Graph, _ buffers: [String: Buffer]
  ) -> [String: Port] {
    var result: [String: Port] = [:]
    for port in ports {
      let type = graph.type(of: port.value)
      guard let buffer = buffers[port.name], let shape = type.shape else { continue }
      result[port.name] = Port(buffer: buffer, shape: shape, elementType: type.elementType)
    }
    return result
  }

  private static func placeBuffers(
    _ buffers: [PlanCompiler.Origin], layout: ParameterStore.Layout
  ) -> (origins: [BufferOrigin], byteCount: Int) {
    var requests: [ArenaPlanner.Request] = []
    for case .arena(let request) in buffers { requests.append(request) }
    let (offsets, byteCount) = ArenaPlanner.plan(requests)
    var next = 0
    let origins = buffers.map { buffer -> BufferOrigin in
      switch buffer {
      case .arena:
        next += 1
        return .arena(offset: offsets[next - 1])
      case .store(let name): return .store(name: name, floatOffset: layout.offsets[name] ?? 0)
      case .pack(let number): return .pack(number)
      case .constant(let storage): return .constant(storage)
      }
    }
    return (origins, byteCount)
  }
}
