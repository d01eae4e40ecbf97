/// Functions of one number, applied to every element; NaN goes through all of them.
public enum UnaryFunction: Hashable, Sendable, Codable {
  /// max(x, 0), with 0 as its derivative at 0.
  case relu
  /// min(max(x, 0), 6), with 0 as its derivative at both corners.
  case relu6
  /// x for x > 0, otherwise slope·x, with `slope` as its derivative at 0.
  case leakyRelu(slope: Double)
  /// x held within two bounds, with 0 as its derivative at and outside them.
  case clip(low: Double, high: Double)
  /// scale·x + offset.
  case affine(scale: Double, offset: Double)
  /// 1/(1 + e⁻ˣ).
  case sigmoid
  /// The hyperbolic tangent.
  case tanh
  /// eˣ.
  case exp
  /// The natural logarithm.
  case log
  /// The square root.
  case squareRoot
  /// 1/x.
  case reciprocal
  /// |x|, with 0 as its derivative at 0.
  case absolute
  /// x².
  case square
  /// log(1 + eˣ).
  case softplus
  /// x/(1 + e⁻ˣ), also called swish (Elfwing, Uchibe & Doya 2018).
  case silu
  /// x·clip(x/6 + 1/2, 0, 1) (Howard et al. 2019).
  case hardSwish
  /// clip(x·slope + offset, 0, 1).
  case hardSigmoid(slope: Double, offset: Double)
  /// x for x > 0, otherwise alpha·(eˣ − 1) (Clevert, Unterthiner & Hochreiter 2016).
  case elu(alpha: Double)
  /// x·Φ(x) with the exact normal distribution function (Hendrycks & Gimpel 2016).
  case gelu
  /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), which is close to `gelu`.
  case geluTanh
  /// The error function.
  case erf
  /// The largest whole number that is not above x, with 0 as its derivative everywhere.
  case floor
  /// The smallest whole number that is not below x, with 0 as its derivative everywhere.
  case ceiling
  /// The nearest whole number, of two the even one, with 0 as its derivative everywhere.
  case round
  /// −1, 0 or 1, with 0 as its derivative everywhere.
  case sign

  /// −x.
  public static var negate: UnaryFunction { .affine(scale: -1, offset: 0) }

  /// The function's name, without its numbers.
  package var name: String {
    switch self {
    case .relu: "relu"
    case .relu6: "relu6"
    case .leakyRelu: "leakyRelu"
    case .clip: "clip"
    case .affine: "affine"
    case .sigmoid: "sigmoid"
    case .tanh: "tanh"
    case .exp: "exp"
    case .log: "log"
    case .squareRoot: "squareRoot"
    case .reciprocal: "reciprocal"
    case .absolute: "absolute"
    case .square: "square"
    case .softplus: "softplus"
    case .silu: "silu"
    case .hardSwish: "hardSwish"
    case .hardSigmoid: "hardSigmoid"
    case .elu: "elu"
    case .gelu: "gelu"
    case .geluTanh: "geluTanh"
    case .erf: "erf"
    case .floor: "floor"
    case .ceiling: "ceiling"
    case .round: "round"
    case .sign: "sign"
    }
  }
}

/// Functions of two numbers, applied to broadcast operands.
///
/// Integers wrap around, as in C; their quotients and negative powers are cut towards zero, and division
/// by zero gives 0.
package indirect enum BinaryFunction: Hashable, Sendable, Codable {
  case add
  case subtract
  case multiply
  case divide
  case maximum
  case minimum
  case power
  /// 1 where a = b, else 0; of floating-point numbers only.
  case equal
  /// 1 where a > b, else 0; of floating-point numbers only.
  case greater
  /// a·f′(b), of floating-point numbers only: the chain rule of a unary function, with a the output's
  /// gradient and b its input.
  case derivative(UnaryFunction)

  package var name: String {
    switch self {
    case .add: "add"
    case .subtract: "subtract"
    case .multiply: "multiply"
    case .divide: "divide"
    case .maximum: "maximum"
    case .minimum: "minimum"
    case .power: "power"
    case .equal: "equal"
    case .greater: "greater"
    case .derivative(let function): "\(function.name)Derivative"
    }
  }

  /// Whether integers have the function; comparisons of them are `Comparison`.
  package var takesIntegers: Bool {
    switch self {
    case .add, .subtract, .multiply, .divide, .maximum, .minimum, .power: true
    case .equal, .greater, .derivative: false
    }
  }
}

extension Operation {
  /// The type of a function of one floating-point operand.
  func mappedType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.take(inputs, count: 1)[0]
    guard x.elementType.isFloatingPoint else {
      throw GraphError(.invalidElementType, "takes a floating-point operand, not \(x)")
    }
    return x
  }

  /// The type of a function of two broadcast operands.
  func combinedType(_ function: BinaryFunction, _ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.take(inputs, count: 2)
    let (a, b) = (operands[0], operands[1])
    guard a.elementType == b.elementType, a.elementType != .bool,
      a.elementType.isFloatingPoint || function.takesIntegers
    else {
      throw GraphError(
        .invalidElementType, "\(function.name) does not combine \(a) and \(b)")
    }
    return TensorType(a.elementType, try TensorType.broadcast(operands))
  }
}
