import ConvNetGraph

extension ONNXOperators {
  /// Functions of one number, of two and of several, comparisons and choices.
  static let elementwise: [String: ONNXOperator] = {
    var table: [String: ONNXOperator] = [
      "Clip": one { try clip($0) },
      "Gelu": one { try gelu($0) },
      "PRelu": one { try parametricRelu($0) },
      "Neg": one { try negate($0) },
      "Abs": one { try absolute($0) },
      "Not": one { node in
        try node.add(.compare(.equal), node.input(0), node.constant(0, .bool))
      },
      "Where": one { node in
        try node.add(.select, node.input(0), node.input(1), node.input(2))
      },
      "Add": one { try add($0) },
      "Pow": one { try power($0) },
      "Sum": one { try fold($0, .add) },
      "Max": one { try fold($0, .maximum) },
      "Min": one { try fold($0, .minimum) },
      "Mean": one { node in
        try node.map(
          .affine(scale: 1 / Double(max(node.node.inputs.count, 1)), offset: 0), fold(node, .add))
      },
      "Celu": one { node in
        let alpha = try node.float("alpha", default: 1)
        let scaled = try node.map(.affine(scale: 1 / alpha, offset: 0), node.input(0))
        return try node.map(
          .affine(scale: alpha, offset: 0), node.map(.elu(alpha: 1), scaled))
      },
      "Selu": one { node in
        let alpha = try node.float("alpha", default: 1.67326319217681884765625)
        let gamma = try node.float("gamma", default: 1.05070102214813232421875)
        return try node.map(
          .affine(scale: gamma, offset: 0), node.map(.elu(alpha: alpha), node.input(0)))
      },
      "Mish": one { node in
        let x = try node.input(0)
        return try node.combine(.multiply, x, node.map(.tanh, node.map(.softplus, x)))
      },
    ]
    for (name, function) in functions {
      table[name] = one { node in try node.map(function(node), node.input(0)) }
    }
    let binary: [String: BinaryFunction] = ["Sub": .subtract, "Mul": .multiply, "Div": .divide]
    for (name, function) in binary {
      table[name] = one { node in
        let roles = [0, 1].map {
          name == "Mul" ? node.role($0, ".weight", .normalizationScale) : .constant
        }
        return try node.combine(
          function, node.input(0, role: roles[0]), node.aligned(1, role: roles[1]))
      }
    }
    for (name, comparison) in comparisons {
      table[name] = one { node in
        try node.add(.compare(comparison), node.input(0), node.aligned(1))
      }
    }
    return table
  }()

  /// Functions of one float32 number, with the attributes they take.
  private static let functions: [String: @Sendable (ONNXNodeImporter) throws -> UnaryFunction] = [
    "Relu": { _ in .relu }, "Sigmoid": { _ in .sigmoid }, "Tanh": { _ in .tanh },
    "Exp": { _ in .exp }, "Log": { _ in .log }, "Sqrt": { _ in .squareRoot },
    "Reciprocal": { _ in .reciprocal }, "Softplus": { _ in .softplus }, "Erf": { _ in .erf },
    "Floor": { _ in .floor }, "Ceil": { _ in .ceiling }, "Round": { _ in .round },
    "Sign": { _ in .sign }, "HardSwish": { _ in .hardSwish },
    "LeakyRelu": { .leakyRelu(slope: try $0.float("alpha", default: 0.01)) },
    "Elu": { .elu(alpha: try $0.float("alpha", default: 1)) },
    "HardSigmoid": {
      .hardSigmoid(
        slope: try $0.float("alpha", default: 0.2), offset: try $0.float("beta", default: 0.5))
    },
  ]

  private static let comparisons: [String: Comparison] = [
    "Equal": .equal, "Less": .less, "LessOrEqual": .lessOrEqual, "Greater": .greater,
    "GreaterOrEqual": .greaterOrEqual, "And": .and, "Or": .or, "Xor": .exclusiveOr,
  ]

  /// f over any number of broadcast operands.
  private static func fold(
    _ node: ONNXNodeImporter, _ function: BinaryFunction
  ) throws -> Graph.ValueID {
    let inputs = try node.inputs()
    guard let first = inputs.first else { throw node.malformed("it has no operands") }
    return try inputs.dropFirst().reduce(first) { try node.combine(function, $0, $1) }
  }

  /// A stored operand beside a product or convolution is its bias, which can be trained.
  private static func add(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let roles = try [0, 1].map { index -> ParameterRole in
      guard node.isOwn(index), try node.type(index).rank == 1, !node.isOwn(1 - index) else {
        return node.role(index, ".bias", .normalizationShift)
      }
      return node.isProduct(try node.input(1 - index)) ? .bias : .constant
    }
    return try node.combine(
      .add, node.input(0, role: roles[0]), node.aligned(1, role: roles[1]))
  }

  /// The exponent may be of another type.
  private static func power(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let base = try node.input(0)
    let type = node.builder.type(of: base).elementType
    if type == .float32, try node.type(1).rank <= node.rank(base),
      try node.type(1).shape?.count == 1, try node.stored(1)?.doubles == [2]
    {
      return try node.map(.square, base)
    }
    var exponent = try node.aligned(1)
    let exponentType = node.builder.type(of: exponent).elementType
    if exponentType.isFloatingPoint, !type.isFloatingPoint {
      let numbers = try [base, exponent].map { try node.add(.cast(.float64), $0) }
      return try node.add(.cast(type), node.combine(.power, numbers[0], numbers[1]))
    }
    if exponentType != type { exponent = try node.add(.cast(type), exponent) }
    return try node.combine(.power, base, exponent)
  }

  private static func negate(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x).elementType
    if type == .float32 { return try node.map(.negate, x) }
    return try node.combine(.subtract, node.constant(0, type), x)
  }

  private static func absolute(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x).elementType
    if type == .float32 { return try node.map(.absolute, x) }
    if type == .uint8 { return x }
    return try node.combine(.maximum, x, node.combine(.subtract, node.constant(0, type), x))
  }

  /// min(max(x, low), high); bounds were attributes before operator set 11.
  private static func clip(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x).elementType
    if type == .float32 {
      let low = try node.float("min") ?? (node.has(1) ? node.knownNumber(1) : -limit)
      let high = try node.float("max") ?? (node.has(2) ? node.knownNumber(2) : limit)
      if let low, let high {
        return try node.map(clip(low: min(low, high), high: high), x)
      }
    }
    func bound(_ index: Int, _ name: String) throws -> Graph.ValueID? {
      if node.has(index) { return try node.input(index) }
      return try node.float(name).map { try node.constant($0, type) }
    }
    var result = x
    if let low = try bound(1, "min") { result = try node.combine(.maximum, result, low) }
    if let high = try bound(2, "max") { result = try node.combine(.minimum, result, high) }
    return result
  }

  /// The largest float32: without a bound, ONNX means it.
  private static let limit = Double(Float.greatestFiniteMagnitude)

  private static func clip(low: Double, high: Double) -> UnaryFunction {
    switch (low, high) {
    case (0, 6): .relu6
    case (0, limit...): .relu
    default: .clip(low: max(low, -limit), high: min(high, limit))
    }
  }

  private static func gelu(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    switch try node.string("approximate", default: "none") {
    case "none": try node.map(.gelu, node.input(0))
    case "tanh": try node.map(.geluTanh, node.input(0))
    case let other: throw node.malformed("there is no approximation \(FileError.quoted(other))")
    }
  }

  /// max(x, 0) + slope·min(x, 0), with the slope stretched to x.
  private static func parametricRelu(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let negative = try node.map(.negate, node.map(.relu, node.map(.negate, x)))
    var slope = try node.input(1)
    if node.opset < 7, node.rank(slope) == 1 {
      // One for each channel, which stand behind the batch.
      slope = try node.trailing(slope, count: node.rank(x) - 2)
    }
    let product = try node.combine(.multiply, negative, slope)
    return try node.combine(.add, node.map(.relu, x), product)
  }
}

extension ONNXNodeImporter {
  /// An operand as it is stretched to the first: before operator set 7, from an axis on.
  func aligned(_ index: Int, role: ParameterRole = .constant) throws -> Graph.ValueID {
    let operand = try input(index, role: role)
    guard opset < 7, let axis = try int("axis") else { return operand }
    let first = builder.type(of: try input(0))
    return try trailing(
      operand, count: first.rank - self.axis(axis, of: first) - rank(operand))
  }

  /// The role of an operand that is an initialiser of the node's own with a name that tells: exporters
  /// write normalisations as factors and terms.
  func role(_ index: Int, _ suffix: String, _ role: ParameterRole) -> ParameterRole {
    isOwn(index) && node.inputs[index].hasSuffix(suffix) ? role : .constant
  }

  /// A value with axes of extent 1 behind its own.
  func trailing(_ x: Graph.ValueID, count: Int) throws -> Graph.ValueID {
    guard count > 0 else { return x }
    let ones = [Reshape.Extent](repeating: .fixed(1), count: count)
    return try add(.reshape(Reshape((0..<rank(x)).map { .copy($0) } + ones)), x)
  }

  /// An operand of one number, where it is known before a run.
  func knownNumber(_ index: Int) throws -> Double? {
    guard try type(index).shape?.count == 1 else { return nil }
    return try stored(index)?.doubles[0] ?? builder.knownNumbers(of: try input(index))?[0]
  }

  /// Whether a value is a convolution's or product's result, perhaps with its axes turned round once
  /// or twice.
  func isProduct(_ value: Graph.ValueID) -> Bool {
    var value = value
    for _ in 0...2 {
      guard let node = builder.producer(of: value) else { return false }
      switch node.operation {
      case .matrixMultiply, .convolution, .transposedConvolution: return true
      case .transpose: value = node.inputs[0]
      default: return false
      }
    }
    return false
  }
}
