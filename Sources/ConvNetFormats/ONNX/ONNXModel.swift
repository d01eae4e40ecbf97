/// An ONNX model as its file describes it (ModelProto of https://onnx.ai), nothing interpreted.
///
/// Tensors' data stay in the file until they are read.
package struct ONNXModel: Sendable {
  /// The file; empty for a model made in memory.
  package var path = ""
  /// The version of the file format.
  package var irVersion: Int64 = 10
  /// The program that wrote the file.
  package var producerName = ""
  /// Its version.
  package var producerVersion = ""
  /// The versions of the operator sets used, by domain; "ai.onnx" is called "" everywhere.
  package var opsetImports: [String: Int64] = [:]
  /// Free text of the file's author.
  package var metadata: [String: String] = [:]
  /// The graph.
  package var graph = ONNXGraph()
  /// The operators that the file itself defines, as "domain.name"; their bodies are not read.
  package var functions: [String] = []

  /// Makes a model without nodes.
  package init() {}
}

/// Nodes in topological order and what they refer to (GraphProto).
package struct ONNXGraph: Sendable {
  /// The graph's name.
  package var name = ""
  /// The operations.
  package var nodes: [ONNXNode] = []
  /// Constants; those that are inputs too are defaults.
  package var initializers: [ONNXTensor] = []
  /// What callers give; before IR version 4 the initialisers are among them.
  package var inputs: [ONNXValueInfo] = []
  /// What callers get.
  package var outputs: [ONNXValueInfo] = []
  /// What is known about values in between.
  package var valueInfos: [ONNXValueInfo] = []
  /// Initialisers in a sparse form, which is not read.
  package var sparseInitializers: [String] = []

  /// Makes a graph without nodes.
  package init() {}
}

/// One operation (NodeProto).
package struct ONNXNode: Sendable {
  /// The node's name; often empty.
  package var name = ""
  /// The operator, such as "Conv".
  package var opType = ""
  /// The operator's domain; "" is ONNX's own.
  package var domain = ""
  /// The names of the values it reads; "" for an optional one that is not given.
  package var inputs: [String] = []
  /// The names of the values it makes; "" for an optional one that is not wanted.
  package var outputs: [String] = []
  /// The attributes, each name once.
  package var attributes: [ONNXAttribute] = []

  /// Makes a node.
  package init(
    _ opType: String = "", domain: String = "", name: String = "", inputs: [String] = [],
    outputs: [String] = [], attributes: [ONNXAttribute] = []
  ) {
    self.name = name
    self.opType = opType
    self.domain = domain
    self.inputs = inputs
    self.outputs = outputs
    self.attributes = attributes
  }

  /// The value of an attribute; nil where it is not given.
  package subscript(attribute: String) -> ONNXAttribute.Value? {
    attributes.first { $0.name == attribute }?.value
  }

  /// What messages call the node: its name, or what it makes where it has none.
  package var place: String {
    if !name.isEmpty { return "node \(FileError.quoted(name))" }
    guard let output = outputs.first(where: { !$0.isEmpty }) else {
      return opType.isEmpty ? "a node" : "a node of \(opType)"
    }
    return "the node of \(FileError.quoted(output))"
  }
}

/// A named constant of a node (AttributeProto).
package struct ONNXAttribute: Sendable {
  /// The constant.
  ///
  /// Text that is not UTF-8 has its broken bytes replaced.
  package enum Value: Sendable {
    case int(Int64)
    case float(Float)
    case string(String)
    case tensor(ONNXTensor)
    case graph(ONNXGraph)
    case ints([Int64])
    case floats([Float])
    case strings([String])
    /// A kind that is not read, by its name.
    case unsupported(String)

    /// The name of the kind, for messages.
    package var kind: String {
      switch self {
      case .int: "an integer"
      case .float: "a float"
      case .string: "a string"
      case .tensor: "a tensor"
      case .graph: "a graph"
      case .ints: "integers"
      case .floats: "floats"
      case .strings: "strings"
      case .unsupported(let name): name
      }
    }
  }

  /// The attribute's name.
  package var name: String
  /// Its value.
  package var value: Value

  /// Makes an attribute.
  package init(_ name: String, _ value: Value) {
    self.name = name
    self.value = value
  }
}

/// What a file says about a value (ValueInfoProto).
package struct ONNXValueInfo: Sendable, Hashable {
  /// One extent.
  package enum Dimension: Sendable, Hashable {
    case fixed(Int)
    /// A name; the same name is the same extent.
    case symbol(String)
    /// Nothing is said, or a negative number.
    case unknown
  }

  /// A value's type.
  package enum ValueType: Sendable, Hashable {
    /// A dense tensor; nil extents mean that not even their number is known.
    case tensor(ONNXDataType, [Dimension]?)
    /// Nothing is said.
    case unknown
    /// Something else than a dense tensor, or elements without a type, by name.
    case unsupported(String)
  }

  /// The value's name.
  package var name: String
  /// Its type.
  package var type: ValueType

  /// Makes a description.
  package init(_ name: String, _ type: ValueType) {
    self.name = name
    self.type = type
  }
}
