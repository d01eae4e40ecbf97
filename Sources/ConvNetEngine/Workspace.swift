public import ConvNetGraph

/// What one run of a plan changes: the arena, scratch of the lanes, and the table of buffers.
///
/// It has one owner at a time (it cannot be copied) and is bound to the store it was made for.
///
/// `@unchecked Sendable`: a workspace is owned by exactly one task or thread at a time because it cannot
/// be copied, and everything it points to is its own, except the store, which its owner answers for, or
/// sealed weights, which nobody changes.
public struct Workspace: ~Copyable, @unchecked Sendable {
  let plan: Plan
  /// The store whose changes the packed weights follow; nil over sealed weights.
  let store: ParameterStore?
  let packs: [PackedWeights]
  /// The sealed weights behind the table, by buffer, kept alive here; empty over a store.
  private let weights: [TensorStorage?]
  /// The arena, then scratch of every lane.
  let storage: TensorStorage
  private let pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>

  /// A workspace on a store that may change.
  init(plan: Plan, store: ParameterStore, packs: [PackedWeights]) {
    self.init(
      plan: plan, store: store, packs: packs, weights: [],
      storage: TensorStorage(byteCount: plan.workspaceByteCount))
    for (index, origin) in plan.origins.enumerated() {
      switch origin {
      case .arena(let offset): pointers[index] = storage.base + offset
      case .store(_, let offset): pointers[index] = UnsafeMutableRawPointer(store.base + offset)
      case .pack(let number): pointers[index] = packs[number].storage.base
      case .constant(let storage): pointers[index] = storage.base
      }
    }
  }

  /// A workspace on sealed weights, in memory that is large enough for the plan.
  init(_ sealed: SealedPlan, in storage: TensorStorage) {
    self.init(
      plan: sealed.plan, store: nil, packs: [], weights: sealed.weights, storage: storage)
    for (index, origin) in sealed.plan.origins.enumerated() {
      if case .arena(let offset) = origin {
        pointers[index] = storage.base + offset
      } else {
        pointers[index] = sealed.weights[index]?.base ?? SealedWeights.nowhere
      }
    }
  }

  private init(
    plan: Plan, store: ParameterStore?, packs: [PackedWeights], weights: [TensorStorage?],
    storage: TensorStorage
  ) {
    self.plan = plan
    self.store = store
    self.packs = packs
    self.weights = weights
    self.storage = storage
    pointers = .allocate(capacity: max(plan.origins.count, 1))
    pointers.initialize(repeating: storage.base, count: max(plan.origins.count, 1))
  }

  deinit {
    pointers.deallocate()
  }

  var context: Context {
    Context(
      pointers: pointers, scratch: storage.base + plan.scratchOffset,
      scratchStride: plan.scratchStride)
  }

  func setPointer(_ index: Int, to pointer: UnsafeMutableRawPointer) {
    pointers[index] = pointer
  }

  /// Copies a tensor into an input.
  ///
  /// - Throws: `PlanError` where there is no such input, or it has another type or shape.
  public mutating func setInput(_ name: String, to tensor: Tensor) throws {
    let port = try plan.input(name)
    guard port.shape == tensor.shape, port.elementType == tensor.elementType else {
      throw PlanError(
        .mismatchedData,
        "is \(port.elementType.rawValue) \(port.shape), not "
          + "\(tensor.elementType.rawValue) \(tensor.shape)",
        at: name)
    }
    setInput(port, to: tensor)
  }

  /// Copies a tensor of the port's own type and shape into an input.
  mutating func setInput(_ port: Plan.Port, to tensor: Tensor) {
    tensor.withBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      pointers[port.buffer.index].copyMemory(from: start, byteCount: bytes.count)
    }
  }

  /// Calls a closure with the bytes of an input, to be filled.
  package mutating func withInput<Result>(
    _ name: String, _ body: (UnsafeMutableRawBufferPointer) throws -> Result
  ) throws -> Result {
    let port = try plan.input(name)
    let byteCount = port.shape.count * port.elementType.byteCount
    return try body(
      UnsafeMutableRawBufferPointer(start: pointers[port.buffer.index], count: byteCount))
  }

  /// Calls a closure with the bytes of an output, valid until the next run.
  package func withOutput<Result>(
    _ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let port = try plan.output(name)
    let byteCount = port.shape.count * port.elementType.byteCount
    return try body(UnsafeRawBufferPointer(start: pointers[port.buffer.index], count: byteCount))
  }

  /// A copy of an output of the last run.
  ///
  /// - Throws: `PlanError` where there is no such output.
  public func output(_ name: String) throws -> Tensor {
    output(try plan.output(name))
  }

  /// A copy of an output of the last run.
  func output(_ port: Plan.Port) -> Tensor {
    var tensor = Tensor(zeros: port.shape, elementType: port.elementType)
    tensor.withMutableBytes { target in
      guard let start = target.baseAddress else { return }
      start.copyMemory(from: pointers[port.buffer.index], byteCount: target.count)
    }
    return tensor
  }
}
