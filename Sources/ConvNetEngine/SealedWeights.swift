import CConvNetThreads
import ConvNetGraph
import Synchronization

/// Parameters and running statistics that never change again, and what plans have packed from them.
///
/// Nothing is copied: values stay where the model's tensors have them, which writers copy first. Weights
/// are packed once, under a lock, when the first plan that reads them is made, and are shared by all plans.
/// What is packed into a storage is written before anybody else can see it and never after, so a running
/// plan reads without a lock.
final class SealedWeights: Sendable {
  private struct State {
    var values: [String: TensorStorage] = [:]
    var packs: [PackKey: TensorStorage] = [:]
  }

  private let state: Mutex<State>
  /// Whether every later plan asks for the layouts of the first, so that a source can go when it is packed.
  private let releasesSources: Bool

  /// Takes the values of a graph's parameters and float32 state.
  ///
  /// Sources that only packing reads are released once packed where every plan of the graph has the same
  /// geometry: the layouts of weights, and which of them are read as they are, follow from the extents of
  /// values without the leading one, because no strategy looks at the number of images or rows (a promise
  /// of the strategies' table: an image has the same bits in any batch).
  init(_ values: [String: Tensor], of graph: Graph) {
    let names =
      graph.parameters.map(\.name)
      + graph.states.filter { $0.role != .updateCount }.map(\.name)
    var state = State()
    for name in names {
      guard let tensor = values[name] else { fatalError("Nothing was given for \(name).") }
      state.values[name] = tensor.storage
    }
    self.state = Mutex(state)
    releasesSources = graph.types.allSatisfy { type in
      type.dimensions.dropFirst().allSatisfy { $0.extent != nil }
    }
  }

  /// An address that no program has: reading a source that has been released ends with a signal, not with
  /// other numbers.
  static var nowhere: UnsafeMutableRawPointer {
    guard let address = UnsafeMutableRawPointer(bitPattern: 1 << 62) else {
      fatalError("An address of 2⁶² is not null.")
    }
    return address
  }

  /// Bytes of the values that are still held and of everything packed.
  var byteCount: Int {
    state.withLock { state in
      state.values.values.reduce(0) { $0 + $1.byteCount }
        + state.packs.values.reduce(0) { $0 + $1.byteCount }
    }
  }

  /// Binds a plan: packs what no plan has asked for before.
  func seal(_ plan: Plan, shapes: [Shape]) throws -> SealedPlan {
    let weights = state.withLock { state in
      // What was released lies between what was packed, in a heap that would keep it.
      if pack(plan, &state), releasesSources { cnt_trim_heap() }
      return plan.origins.map { origin -> TensorStorage? in
        switch origin {
        case .arena: nil
        case .store(let name, _): state.values[name]
        case .pack(let number): state.packs[plan.packs[number].key]
        case .constant(let storage): storage
        }
      }
    }
    return try SealedPlan(plan, shapes: shapes, weights: weights)
  }

  /// Packs what has not been packed, and says whether there was anything.
  private func pack(_ plan: Plan, _ state: inout State) -> Bool {
    let known = state.packs.count
    let scratch = TensorStorage(byteCount: plan.scratchStride * plan.lanes.count)
    var pointers = plan.origins.map { origin -> UnsafeMutableRawPointer in
      guard case .store(let name, _) = origin else { return Self.nowhere }
      return state.values[name]?.base ?? Self.nowhere
    }
    var targets = [Int](repeating: 0, count: plan.packs.count)
    for (index, origin) in plan.origins.enumerated() {
      if case .pack(let number) = origin { targets[number] = index }
    }
    var lastUse: [String: Int] = [:]
    for (number, pack) in plan.packs.enumerated() {
      for name in pack.key.parameters { lastUse[name] = number }
    }
    for (number, pack) in plan.packs.enumerated() {
      let names = pack.key.parameters
      if state.packs[pack.key] == nil {
        // Sources go only where every plan has the layouts of the first, which packed them all.
        if let gone = names.first(where: { state.values[$0] == nil }) {
          fatalError("\(gone) was to be packed as \(pack.key.layout) after it was released.")
        }
        let target = TensorStorage(byteCount: pack.floatCount * 4)
        pointers[targets[number]] = target.base
        pointers.withUnsafeBufferPointer { table in
          guard let base = table.baseAddress else { return }
          let context = Context(
            pointers: base, scratch: scratch.base, scratchStride: plan.scratchStride)
          Lanes.withFlushedDenormals { plan.lanes.run(pack.step, in: context) }
        }
        state.packs[pack.key] = target
      }
      guard releasesSources else { continue }
      for name in names where lastUse[name] == number && !plan.directlyRead.contains(name) {
        state.values[name] = nil
      }
    }
    return state.packs.count > known
  }
}

/// A plan, its ports in the order of the graph, and the sealed weights behind its buffers.
final class SealedPlan: Sendable {
  let plan: Plan
  let shapes: [Shape]
  let inputs: [Plan.Port]
  let outputs: [Plan.Port]
  /// By buffer; nil for the arena and for sources that have been released.
  let weights: [TensorStorage?]

  init(_ plan: Plan, shapes: [Shape], weights: [TensorStorage?]) throws {
    self.plan = plan
    self.shapes = shapes
    self.weights = weights
    inputs = try plan.graph.inputs.map { try plan.input($0.name) }
    outputs = try plan.graph.outputs.map { try plan.output($0.name) }
  }
}
