extension Graph {
  /// A symbolic value of a network while it is described.
  ///
  /// A layer is a method that gives the next value, a block is a function, a skip connection is `+`:
  ///
  ///     func block(_ x: Graph.Value) -> Graph.Value {
  ///       (x + x.convolution(64, kernel: 3, bias: false).batchNormalization()).relu() }
  ///
  /// Layers are named by the user or numbered in the order they come; `scoped` puts a prefix before
  /// the names of parameters, as in `layer1.0.conv1.weight`.
  public struct Value {
    package let builder: GraphBuilder
    package let id: ValueID

    package init(builder: GraphBuilder, id: ValueID) {
      self.builder = builder
      self.id = id
    }

    /// Element type and extents; extents given by the batch are symbols.
    public var type: TensorType { builder.type(of: id) }

    package func apply(_ operation: Operation, _ others: Value..., name: String? = nil) -> Value {
      Value(builder: builder, id: builder.add(operation, [id] + others.map(\.id), name: name)[0])
    }

    /// Describes part of a network with a prefix before the names of its layers.
    ///
    /// - Throws: what `body` throws.
    public func scoped(_ name: String, _ body: (Value) throws -> Value) rethrows -> Value {
      try builder.withScope(name) { try body(self) }
    }

    /// The extent of the channel axis, which layers with parameters need as a number.
    func channels(for layer: String, axis: Int = -1) -> Int {
      do {
        if let extent = type.dimensions[try type.normalizedAxis(axis)].extent { return extent }
        throw GraphError(.invalidShape, "needs a known number of channels, not \(type)")
      } catch {
        builder.fail(GraphBuilder.place(error, at: layer))
        return 1
      }
    }
  }

  /// Describes a network with one input, named `input`, and one output, named `output`.
  ///
  ///     let graph = try Graph(input: .image(height: 28, width: 28, channels: 1)) { x in
  ///       x.convolution(32, kernel: 3, bias: false).batchNormalization().relu()
  ///         .globalAveragePooling().dense(10) }
  ///
  /// - Throws: `GraphError` for the first layer that cannot be: shapes that do not fit, an attribute out
  ///   of range, a name taken twice.
  public init(input: TensorType, _ describe: (Value) throws -> Value) throws {
    try self.init(inputs: [("input", input)]) { values in ["output": try describe(values[0])] }
  }

  /// Describes a network with several inputs and outputs.
  ///
  /// - Parameters:
  ///   - inputs: names and types of the inputs.
  ///   - describe: gives the outputs by name for the inputs in order.
  /// - Throws: `GraphError` as `init(input:_:)`.
  public init(
    inputs: [(name: String, type: TensorType)],
    _ describe: ([Value]) throws -> KeyValuePairs<String, Value>
  ) throws {
    let builder = GraphBuilder()
    let values = inputs.map {
      Value(builder: builder, id: builder.addInput($0.name, $0.type))
    }
    for (name, value) in try describe(values) { builder.addOutput(name, value.id) }
    self = try builder.finish()
    try verify()
  }
}
