public import ConvNetGraph

/// The parameters and running statistics of a model as training changes them, in one aligned allocation.
///
/// `version` counts changes; weights that a plan has packed are packed anew when it has moved. A store is
/// used by one thread at a time; `snapshot` copies its values into a `Model`.
public final class ParameterStore {
  /// Where each float32 parameter and state value lies.
  struct Layout: Hashable, Sendable {
    /// Offsets in floats, each a multiple of 16.
    private(set) var offsets: [String: Int] = [:]
    private(set) var counts: [String: Int] = [:]
    private(set) var floatCount = 0

    init(_ graph: Graph) {
      for parameter in graph.parameters { add(parameter.name, graph.type(of: parameter.value)) }
      for state in graph.states where state.role != .updateCount {
        add(state.name, graph.type(of: state.value))
      }
    }

    private mutating func add(_ name: String, _ type: TensorType) {
      let count = type.shape?.count ?? 0
      offsets[name] = floatCount
      counts[name] = count
      floatCount += (count + 15) / 16 * 16
    }
  }

  let layout: Layout
  package let graph: Graph
  private let metadata: [String: String]
  private let shapes: [String: Shape]
  private let storage: TensorStorage
  private var updateCounts: [String: Tensor] = [:]
  /// Weights in the layouts that plans read, shared by all plans on this store.
  private var packs: [PackKey: PackedWeights] = [:]
  /// How many times the values have changed.
  public private(set) var version = 0

  /// Copies the values of a model.
  ///
  /// Nothing of the model's own tensors is kept: where the caller lets it go, its numbers are held once.
  public init(_ model: Model) {
    (graph, metadata) = (model.graph, model.metadata)
    layout = Layout(model.graph)
    shapes = model.parameters.mapValues(\.shape).merging(model.state.mapValues(\.shape)) { $1 }
    storage = TensorStorage(byteCount: layout.floatCount * 4)
    for (name, tensor) in model.parameters { write(tensor, to: name) }
    for (name, tensor) in model.state {
      if tensor.elementType == .float32 {
        write(tensor, to: name)
      } else {
        updateCounts[name] = tensor
      }
    }
  }

  /// The values of a parameter or of float32 state, valid while the store lives.
  ///
  /// Whoever writes through it calls `markChanged` afterwards.
  package func pointer(_ name: String) -> UnsafeMutableBufferPointer<Float> {
    guard let offset = layout.offsets[name], let count = layout.counts[name] else {
      fatalError("The model has no parameter or state named \(name).")
    }
    return UnsafeMutableBufferPointer(start: base + offset, count: count)
  }

  /// Says that values were written, so that packed weights are made anew.
  package func markChanged() { version += 1 }

  /// A copy of running statistics or of their counter.
  package func state(_ name: String) -> Tensor {
    if let counter = updateCounts[name] { return counter }
    return tensor(name)
  }

  /// Replaces running statistics or their counter by values of the same type.
  package func setState(_ name: String, to tensor: Tensor) {
    let type: ElementType = updateCounts[name] == nil ? .float32 : .int64
    guard shapes[name] == tensor.shape, tensor.elementType == type else {
      fatalError("State \(name) cannot become \(tensor.elementType) \(tensor.shape).")
    }
    if type == .float32 {
      write(tensor, to: name)
      markChanged()
    } else {
      updateCounts[name] = tensor
    }
  }

  /// Takes the values of a model of the same graph.
  package func restore(_ model: Model) {
    guard model.graph == graph else { fatalError("A store takes values of its own network only.") }
    for (name, tensor) in model.parameters { write(tensor, to: name) }
    for (name, tensor) in model.state { setState(name, to: tensor) }
    markChanged()
  }

  /// A model with copies of the present values.
  public func snapshot() -> Model {
    func values(of names: [String], _ value: (String) -> Tensor) -> [String: Tensor] {
      Dictionary(names.map { ($0, value($0)) }, uniquingKeysWith: { $1 })
    }
    do {
      return try Model(
        graph: graph, parameters: values(of: graph.parameters.map(\.name), tensor),
        state: values(of: graph.states.map(\.name), state), metadata: metadata)
    } catch {
      fatalError("A snapshot has the shapes of its own model, and yet: \(error)")
    }
  }

  /// A copy of a parameter or of float32 state.
  private func tensor(_ name: String) -> Tensor {
    Tensor(Array(pointer(name)), shape: shapes[name] ?? [])
  }

  var base: UnsafeMutablePointer<Float> { storage.base.assumingMemoryBound(to: Float.self) }

  /// The packed weights of a key, allocated when first asked for.
  func packedWeights(_ key: PackKey, floatCount: Int) -> PackedWeights {
    if let pack = packs[key] { return pack }
    let pack = PackedWeights(floatCount: floatCount)
    packs[key] = pack
    return pack
  }

  /// Bytes of the values alone.
  package var valueByteCount: Int { storage.byteCount }

  /// Bytes of values and of everything packed from them.
  var byteCount: Int {
    packs.values.reduce(storage.byteCount) { $0 + $1.storage.byteCount }
  }

  private func write(_ tensor: Tensor, to name: String) {
    let target = pointer(name)
    tensor.withElements { (values: Span<Float>) in
      for index in values.indices { target[index] = values[index] }
    }
  }
}

/// Which parameters and state, in which layout.
struct PackKey: Hashable, Sendable {
  /// The parameters or float32 state they are packed from, in order.
  var parameters: [String]
  var layout: String
}

/// Weights in the layout that a step reads.
final class PackedWeights {
  let storage: TensorStorage
  /// The store's version these were made from; −1 before the first time.
  var version = -1

  init(floatCount: Int) {
    storage = TensorStorage(byteCount: floatCount * 4)
  }
}
