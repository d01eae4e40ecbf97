public import ConvNetGraph

/// What one run of a plan changes: the arena, scratch of the lanes, and the table of buffers.
///
/// It has one owner at a time (it cannot be copied) and is bound to the store it was made for.
///
/// `@unchecked Sendable`: a workspace is owned by exactly one task or thread at a time because it cannot
/// be copied, and everything it points to is its own, except the store, which its owner answers for.
public struct Workspace: ~Copyable, @unchecked Sendable {
  let plan: Plan
  let store: ParameterStore
  let packs: [PackedWeights]
  let arena: TensorStorage
  private let scratch: TensorStorage
  private let pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>

  init(plan: Plan, store: ParameterStore, packs: [PackedWeights], bufferCount: Int) {
    self.plan = plan
    self.store = store
    self.packs = packs
    arena = TensorStorage(byteCount: plan.arenaByteCount)
    scratch = TensorStorage(byteCount: Self.stride(plan) * plan.lanes.count)
    pointers = .allocate(capacity: max(bufferCount, 1))
    pointers.initialize(repeating: arena.base, count: max(bufferCount, 1))
  }

  deinit {
    pointers.deallocate()
  }

  /// Scratch of neighbouring lanes must not share a cache line or a page.
  private static func stride(_ plan: Plan) -> Int {
    (plan.scratchByteCount + 4095) / 4096 * 4096 + 192
  }

  var context: Context {
    Context(pointers: pointers, scratch: scratch.base, scratchStride: Self.stride(plan))
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
    let port = try plan.output(name)
    var tensor = Tensor(zeros: port.shape, elementType: port.elementType)
    try withOutput(name) { source in
      tensor.withMutableBytes { target in target.copyMemory(from: source) }
    }
    return tensor
  }
}
