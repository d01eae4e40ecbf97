extension Graph {
  /// A read-only view of one operation, for reports.
  public struct NodeView: Sendable, CustomStringConvertible {
    /// The node's name.
    public let name: String
    /// The operation's name.
    public let operation: String
    /// The types of the operands.
    public let inputs: [TensorType]
    /// The types of the results.
    public let outputs: [TensorType]

    /// One line.
    public var description: String {
      let inputs = inputs.map(\.description).joined(separator: ", ")
      let outputs = outputs.map(\.description).joined(separator: ", ")
      return "\(name): \(operation)(\(inputs)) -> \(outputs)"
    }
  }

  /// A named value and its type.
  public struct PortView: Sendable {
    /// The name by which data are given and taken.
    public let name: String
    /// Element type and extents.
    public let type: TensorType
  }

  /// A parameter, its type and what it is for.
  public struct ParameterView: Sendable {
    /// The name under which files keep it, such as `layer1.0.conv1.weight`.
    public let name: String
    /// Element type and extents.
    public let type: TensorType
    /// What it is for.
    public let role: ParameterRole
    /// Whether training changes it.
    public let isTrainable: Bool
  }

  /// The operations in an order of execution.
  public var nodeViews: [NodeView] {
    nodes.map { node in
      NodeView(
        name: node.name, operation: node.operation.name, inputs: node.inputs.map(type(of:)),
        outputs: node.outputs.map(type(of:)))
    }
  }

  /// The inputs, in the order in which they were declared.
  public var inputViews: [PortView] {
    inputs.map { PortView(name: $0.name, type: type(of: $0.value)) }
  }

  /// The outputs, in the order in which they were declared.
  public var outputViews: [PortView] {
    outputs.map { PortView(name: $0.name, type: type(of: $0.value)) }
  }

  /// The parameters, in the order in which the layers were described.
  public var parameterViews: [ParameterView] {
    parameters.map {
      ParameterView(
        name: $0.name, type: type(of: $0.value), role: $0.role, isTrainable: $0.isTrainable)
    }
  }

  /// The number of trainable numbers.
  public var trainableCount: Int {
    parameters.filter(\.isTrainable).reduce(0) { $0 + (type(of: $1.value).shape?.count ?? 0) }
  }
}
