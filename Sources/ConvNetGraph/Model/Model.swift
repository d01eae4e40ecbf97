/// A network with its numbers: graph, parameters, state (running statistics) and metadata.
public struct Model: Sendable {
  /// The network.
  public let graph: Graph
  /// The parameters by name, float32.
  public private(set) var parameters: [String: Tensor]
  /// Running statistics and their counters by name.
  ///
  /// Of a layer with batch norm these are `running_mean` and `running_var`, float32 `[C]`, and
  /// `num_batches_tracked`, int64 `[]`, behind the layer's name and a point; decorrelated batch norm has
  /// `running_cov`, float32 `[C, g]`, in place of `running_var`. Networks from ONNX keep the names of the
  /// statistics in the file.
  public private(set) var state: [String: Tensor]
  /// Free text that is saved along: class names, preprocessing, provenance.
  public var metadata: [String: String]

  /// Puts a network and its numbers together.
  ///
  /// - Throws: `GraphError` listing everything that is missing, unexpected or of another shape.
  public init(
    graph: Graph, parameters: [String: Tensor], state: [String: Tensor],
    metadata: [String: String] = [:]
  ) throws {
    let problems =
      Self.problems(
        expected: graph.parameters.map { ($0.name, graph.type(of: $0.value)) }, given: parameters)
      + Self.problems(
        expected: graph.states.map { ($0.name, graph.type(of: $0.value)) }, given: state)
    guard problems.isEmpty else {
      throw GraphError(.mismatchedParameters, problems.joined(separator: "; "))
    }
    self.graph = graph
    self.parameters = parameters
    self.state = state
    self.metadata = metadata
  }

  /// Replaces one parameter.
  ///
  /// - Throws: `GraphError` where the graph has no such parameter or one of another type.
  public mutating func setParameter(_ name: String, to tensor: Tensor) throws {
    guard let old = parameters[name] else {
      throw GraphError(.mismatchedParameters, "there is no parameter of this name", at: name)
    }
    try Self.checkReplacement(of: old, by: tensor, at: name)
    parameters[name] = tensor
  }

  /// Replaces one value of the state.
  ///
  /// - Throws: `GraphError` where the graph has no such state or one of another type.
  public mutating func setState(_ name: String, to tensor: Tensor) throws {
    guard let old = state[name] else {
      throw GraphError(.mismatchedParameters, "there is no state of this name", at: name)
    }
    try Self.checkReplacement(of: old, by: tensor, at: name)
    state[name] = tensor
  }

  /// What state holds before any training: means 0, variances 1, counters 0.
  package static func initialState(of graph: Graph) -> [String: Tensor] {
    var state: [String: Tensor] = [:]
    for entry in graph.states {
      guard let shape = graph.type(of: entry.value).shape else { continue }
      state[entry.name] =
        switch entry.role {
        case .runningMean: Tensor(zeros: shape)
        case .runningVariance: Tensor(repeating: Float(1), shape: shape)
        case .runningCovariance: identities(shape)
        case .updateCount: Tensor(zeros: shape, elementType: .int64)
        }
    }
    return state
  }

  /// `[C, g]`: an identity of g × g for each g channels.
  private static func identities(_ shape: Shape) -> Tensor {
    guard shape.rank == 2 else { return Tensor(zeros: shape) }
    let (channels, group) = (shape[0], shape[1])
    return Tensor(
      (0..<shape.count).map { Float($0 / group % group == $0 % group ? 1 : 0) },
      shape: [channels, group])
  }

  private static func checkReplacement(of old: Tensor, by new: Tensor, at name: String) throws {
    guard old.shape == new.shape, old.elementType == new.elementType else {
      throw GraphError(
        .mismatchedParameters,
        "is \(old.elementType.rawValue) \(old.shape), not \(new.elementType.rawValue) \(new.shape)",
        at: name)
    }
  }

  private static func problems(
    expected: [(name: String, type: TensorType)], given: [String: Tensor]
  ) -> [String] {
    var problems: [String] = []
    for (name, type) in expected {
      guard let tensor = given[name] else {
        problems.append("\(name) \(type) is missing")
        continue
      }
      let found = TensorType(tensor.elementType, tensor.shape)
      if found != type { problems.append("\(name) is \(found), not \(type)") }
    }
    let known = Set(expected.map(\.name))
    for name in given.keys.sorted() where !known.contains(name) {
      problems.append("\(name) is unexpected")
    }
    return problems
  }
}

/// Changes a model into another that computes what the pass promises.
package protocol ModelPass: Sendable {
  /// The pass's name in reports.
  var name: String { get }
  /// The changed model.
  func apply(to model: Model) throws -> Model
}
