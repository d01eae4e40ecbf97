/// A network as a value: operations, the values between them and names; no data.
///
/// Values are numbered; a node's operands come before the node, so the order of nodes is an order of
/// execution. Graphs are described by the closure of `init(input:_:)` and changed by passes.
public struct Graph: Hashable, Sendable {
  /// The number of a value.
  package struct ValueID: Hashable, Sendable, Codable, Comparable {
    package var index: Int

    package init(_ index: Int) { self.index = index }

    package static func < (left: ValueID, right: ValueID) -> Bool { left.index < right.index }
  }

  /// One operation with its operands and results.
  package struct Node: Hashable, Sendable, Codable {
    package var name: String
    package var operation: Operation
    package var inputs: [ValueID]
    package var outputs: [ValueID]

    package init(name: String, operation: Operation, inputs: [ValueID], outputs: [ValueID]) {
      self.name = name
      self.operation = operation
      self.inputs = inputs
      self.outputs = outputs
    }
  }

  /// A value with a name that the outside knows.
  package struct Port: Hashable, Sendable, Codable {
    package var name: String
    package var value: ValueID

    package init(name: String, value: ValueID) {
      self.name = name
      self.value = value
    }
  }

  /// A value that training changes.
  package struct Parameter: Hashable, Sendable, Codable {
    package var name: String
    package var value: ValueID
    package var role: ParameterRole
    package var isTrainable: Bool

    package init(name: String, value: ValueID, role: ParameterRole, isTrainable: Bool = true) {
      self.name = name
      self.value = value
      self.role = role
      self.isTrainable = isTrainable
    }
  }

  /// A value that belongs to the model and is not learned by gradient.
  package struct State: Hashable, Sendable, Codable {
    package var name: String
    package var value: ValueID
    package var role: StateRole

    package init(name: String, value: ValueID, role: StateRole) {
      self.name = name
      self.value = value
      self.role = role
    }
  }

  /// The types of all values, by number.
  package var types: [TensorType] = []
  package var nodes: [Node] = []
  package var inputs: [Port] = []
  package var outputs: [Port] = []
  package var parameters: [Parameter] = []
  package var states: [State] = []

  package init() {}

  package func type(of value: ValueID) -> TensorType { types[value.index] }

  /// The port or parameter of a name, among inputs, parameters and states.
  package func value(named name: String) -> ValueID? {
    inputs.first { $0.name == name }?.value ?? parameters.first { $0.name == name }?.value
      ?? states.first { $0.name == name }?.value
  }

  /// For every value the index of the node that makes it; nil for inputs, parameters and state.
  package var producers: [Int?] {
    var producers = [Int?](repeating: nil, count: types.count)
    for (index, node) in nodes.enumerated() {
      for output in node.outputs { producers[output.index] = index }
    }
    return producers
  }

  /// For every value the nodes that read it, once per operand, and −1 where the graph hands it out.
  package var readers: [[Int]] {
    var readers = [[Int]](repeating: [], count: types.count)
    for (index, node) in nodes.enumerated() {
      for input in node.inputs { readers[input.index].append(index) }
    }
    for output in outputs { readers[output.value.index].append(-1) }
    return readers
  }
}

/// What a parameter is for: it decides initial values and whether weight decay applies.
public enum ParameterRole: String, Hashable, Sendable, Codable {
  /// The filter of a convolution, `[kh, kw, C/groups, K]`.
  case convolutionFilter
  /// The matrix of a dense layer, `[in, out]`.
  case denseWeight
  /// An additive bias.
  case bias
  /// The γ of a normalisation, initially 1.
  case normalizationScale
  /// The β of a normalisation, initially 0.
  case normalizationShift
  /// A constant of the network: never learned.
  case constant

  /// Whether weight decay applies unless a user says otherwise: to weights, not to biases, γ or β.
  public var decaysByDefault: Bool { self == .convolutionFilter || self == .denseWeight }
}

/// What a state value is for: it decides its initial value.
public enum StateRole: String, Hashable, Sendable, Codable {
  /// Running mean, initially 0.
  case runningMean
  /// Running variance, initially 1.
  case runningVariance
  /// Running covariance `[C, g]` of groups of channels, initially the identity in each.
  case runningCovariance
  /// Updates of running statistics so far, initially 0.
  case updateCount
}

/// Changes a graph into another that computes the same, or what the pass promises.
package protocol GraphPass: Sendable {
  /// The pass's name in reports.
  var name: String { get }
  /// The changed graph.
  func apply(to graph: Graph) throws -> Graph
}
