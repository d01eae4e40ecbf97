import ConvNetGraph
import Synchronization

/// What a predictor's callers and threads compute with: sealed weights, plans by shape, workspaces.
final class PredictorCore: Sendable {
  let graph: Graph
  let weights: SealedWeights
  private let options: PredictorOptions
  /// Plans, least recently used first.
  private let plans = Mutex<[SealedPlan]>([])
  /// Held while a plan is made, so that the first callers of a shape make one together.
  private let making = Mutex<Void>(())
  private let workspaces = PredictorWorkspaces()

  init(graph: Graph, weights: SealedWeights, options: PredictorOptions) {
    self.graph = graph
    self.weights = weights
    self.options = options
  }

  /// Bytes of weights and workspaces.
  var byteCount: Int { weights.byteCount + workspaces.byteCount }

  /// Computes the wanted outputs.
  func run(_ request: PredictorRequest) throws -> [Tensor] {
    let sealed = try plan(for: request.shapes)
    return workspaces.run(sealed) { workspace in
      for (port, tensor) in zip(sealed.inputs, request.inputs) {
        workspace.setInput(port, to: tensor)
      }
      sealed.plan.run(in: &workspace)
      return request.wanted.map { workspace.output(sealed.outputs[$0]) }
    }
  }

  /// Computes all outputs and says how long each step took.
  func profile(_ request: PredictorRequest) throws -> [Plan.StepTiming] {
    let sealed = try plan(for: request.shapes)
    return workspaces.run(sealed) { workspace in
      for (port, tensor) in zip(sealed.inputs, request.inputs) {
        workspace.setInput(port, to: tensor)
      }
      return sealed.plan.profile(in: &workspace)
    }
  }

  /// The plan for input shapes in the order of the graph, made where it is not kept.
  func plan(for shapes: [Shape]) throws -> SealedPlan {
    if let known = kept(shapes) { return known }
    return try making.withLock { _ in
      if let known = kept(shapes) { return known }
      let named = zip(graph.inputs, shapes).map { ($0.name, $1) }
      let plan = try Plan(
        graph, inputShapes: Dictionary(named) { first, _ in first }, lanes: options.lanes,
        options: options.plan)
      let sealed = try weights.seal(plan, shapes: shapes)
      let largest = plans.withLock { plans in
        plans.append(sealed)
        if plans.count > options.planCacheLimit { plans.removeFirst() }
        return plans.reduce(0) { max($0, $1.plan.workspaceByteCount) }
      }
      workspaces.trim(to: largest)
      return sealed
    }
  }

  /// The plan for these shapes where there is one, which has then been used most recently.
  private func kept(_ shapes: [Shape]) -> SealedPlan? {
    plans.withLock { plans in
      guard let index = plans.lastIndex(where: { $0.shapes == shapes }) else { return nil }
      let known = plans[index]
      if index < plans.count - 1 {
        plans.remove(at: index)
        plans.append(known)
      }
      return known
    }
  }
}

/// Workspaces that serve any plan in turn, as many as ever were used at once.
///
/// The one used last is used next, so that few callers keep few workspaces; one that is too small for a
/// plan is replaced, and one larger than any kept plan needs is freed.
private final class PredictorWorkspaces: Sendable {
  private final class Slot: Sendable {
    /// Locked by the only caller that has the slot, so nobody ever waits here.
    let workspace = Mutex<Workspace?>(nil)
    let byteCount = Atomic<Int>(0)

    func clear() {
      workspace.withLock { $0 = nil }
      byteCount.store(0, ordering: .relaxed)
    }
  }

  private struct State {
    var all: [Slot] = []
    var idle: [Slot] = []
    /// Bytes that the largest kept plan needs.
    var largest = 0
  }

  private let state = Mutex(State())

  var byteCount: Int {
    state.withLock { state in
      state.all.reduce(0) { $0 + $1.byteCount.load(ordering: .relaxed) }
    }
  }

  /// Frees what idles and is larger than any kept plan needs.
  func trim(to largest: Int) {
    state.withLock { state in
      state.largest = largest
      for slot in state.idle where slot.byteCount.load(ordering: .relaxed) > largest {
        slot.clear()
      }
    }
  }

  /// Calls a closure with a workspace for a plan, which nobody else has meanwhile.
  func run<Result>(_ sealed: SealedPlan, _ body: (inout Workspace) -> Result) -> Result {
    let slot = state.withLock { state in
      if let slot = state.idle.popLast() { return slot }
      let slot = Slot()
      state.all.append(slot)
      return slot
    }
    defer {
      state.withLock { state in
        if slot.byteCount.load(ordering: .relaxed) > state.largest { slot.clear() }
        state.idle.append(slot)
      }
    }
    return slot.workspace.withLock { kept in
      var workspace = Self.fit(kept.take(), to: sealed)
      slot.byteCount.store(workspace.storage.byteCount, ordering: .relaxed)
      let results = body(&workspace)
      kept = consume workspace
      return results
    }
  }

  /// The workspace, or another one in its memory where that suffices, or a new one.
  private static func fit(_ old: consuming Workspace?, to sealed: SealedPlan) -> Workspace {
    guard let old = old.take() else { return fresh(sealed) }
    if old.plan === sealed.plan { return old }
    guard old.storage.byteCount >= sealed.plan.workspaceByteCount else {
      // The old memory goes before the new comes.
      _ = consume old
      return fresh(sealed)
    }
    return Workspace(sealed, in: old.storage)
  }

  private static func fresh(_ sealed: SealedPlan) -> Workspace {
    Workspace(sealed, in: TensorStorage(byteCount: sealed.plan.workspaceByteCount))
  }
}
