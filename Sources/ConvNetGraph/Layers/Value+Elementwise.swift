extension Graph.Value {
  /// A function of one number applied to every element.
  public func map(_ function: UnaryFunction, name: String? = nil) -> Graph.Value {
    apply(.map(function), name: name.map { builder.layerName($0, base: $0) })
  }

  /// max(x, 0).
  public func relu() -> Graph.Value { map(.relu) }

  /// min(max(x, 0), 6).
  public func relu6() -> Graph.Value { map(.relu6) }

  /// 1/(1 + e⁻ˣ).
  public func sigmoid() -> Graph.Value { map(.sigmoid) }

  /// The hyperbolic tangent.
  public func tanh() -> Graph.Value { map(.tanh) }

  /// Softmax over the last axis.
  public func softmax() -> Graph.Value { apply(.softmax) }

  /// The elementwise sum; extents of 1 stretch.
  public static func + (left: Graph.Value, right: Graph.Value) -> Graph.Value {
    left.apply(.combine(.add), right)
  }

  /// The elementwise difference; extents of 1 stretch.
  public static func - (left: Graph.Value, right: Graph.Value) -> Graph.Value {
    left.apply(.combine(.subtract), right)
  }

  /// The elementwise product; extents of 1 stretch.
  public static func * (left: Graph.Value, right: Graph.Value) -> Graph.Value {
    left.apply(.combine(.multiply), right)
  }

  /// The elementwise quotient; extents of 1 stretch.
  public static func / (left: Graph.Value, right: Graph.Value) -> Graph.Value {
    left.apply(.combine(.divide), right)
  }

  /// Every element times a number.
  public static func * (left: Graph.Value, right: Double) -> Graph.Value {
    left.map(.affine(scale: right, offset: 0))
  }

  /// Every element plus a number.
  public static func + (left: Graph.Value, right: Double) -> Graph.Value {
    left.map(.affine(scale: 1, offset: right))
  }

  /// The larger of two values, element by element.
  public func maximum(_ other: Graph.Value) -> Graph.Value { apply(.combine(.maximum), other) }

  /// The smaller of two values, element by element.
  public func minimum(_ other: Graph.Value) -> Graph.Value { apply(.combine(.minimum), other) }

  /// x to the power of another value, element by element; only x has a gradient where x ≤ 0.
  public func power(_ exponent: Graph.Value) -> Graph.Value { apply(.combine(.power), exponent) }

  /// A reduction over some axes; negative axes count from the back.
  ///
  /// `keepsAxes` says whether a reduced axis stays, with extent 1.
  public func reduced(
    _ reduction: Reduction, axes: [Int], keepsAxes: Bool = false
  ) -> Graph.Value {
    apply(.reduce(Reduce(reduction, axes: axes, keepsAxes: keepsAxes)))
  }

  /// Dropout: in training an element becomes 0 with probability `rate`, the rest is scaled to keep the
  /// mean; in inference nothing happens.
  ///
  /// After Srivastava et al. 2014. `rate` is in 0..<1. In training the network takes another input,
  /// `random key`, int64 `[2]` = (seed, step).
  public func dropout(_ rate: Double) -> Graph.Value {
    let key = builder.randomKey()
    let stream = builder.graph.nodes.count {
      if case .dropout = $0.operation { true } else { false }
    }
    return apply(
      .dropout(Dropout(rate: rate, stream: stream)), Graph.Value(builder: builder, id: key))
  }
}

extension GraphBuilder {
  /// The name of the input that keys random operations: int64 `[2]` = (seed, step).
  package static let randomKeyName = "random key"

  /// The input that keys random operations, declared when first needed.
  package func randomKey() -> Graph.ValueID {
    graph.inputs.first { $0.name == GraphBuilder.randomKeyName }?.value
      ?? addInput(GraphBuilder.randomKeyName, TensorType(.int64, [2] as Shape))
  }
}
