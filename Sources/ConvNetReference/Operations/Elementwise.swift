import ConvNetGraph
import Glibc

extension UnaryFunction {
  /// f(x); comparisons are written so that NaN goes through.
  func value(at x: Double) -> Double {
    switch self {
    case .relu: x < 0 ? 0 : x
    case .relu6: x < 0 ? 0 : x > 6 ? 6 : x
    case .leakyRelu(let slope): x > 0 ? x : slope * x
    case .clip(let low, let high): x < low ? low : x > high ? high : x
    case .affine(let scale, let offset): scale * x + offset
    case .sigmoid: 1 / (1 + Glibc.exp(-x))
    case .tanh: Glibc.tanh(x)
    case .exp: Glibc.exp(x)
    case .log: Glibc.log(x)
    case .squareRoot: x.squareRoot()
    case .reciprocal: 1 / x
    case .absolute: Swift.abs(x)
    case .square: x * x
    // log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), where nothing overflows.
    case .softplus: (x < 0 ? 0 : x) + log1p(Glibc.exp(-Swift.abs(x)))
    case .silu: x * UnaryFunction.sigmoid.value(at: x)
    case .hardSwish: x * UnaryFunction.hardSwishGate.value(at: x)
    case .hardSigmoid(let slope, let offset):
      UnaryFunction.clip(low: 0, high: 1).value(at: x * slope + offset)
    case .elu(let alpha): x > 0 ? x : alpha * expm1(x)
    case .gelu: x * UnaryFunction.normalDistribution(x)
    case .geluTanh: 0.5 * x * (1 + Glibc.tanh(UnaryFunction.geluArgument(x)))
    case .erf: Glibc.erf(x)
    case .floor: x.rounded(.down)
    case .ceiling: x.rounded(.up)
    case .round: x.rounded(.toNearestOrEven)
    case .sign: x > 0 ? 1 : x < 0 ? -1 : x
    }
  }

  /// f′(x), with the values at corners that the cases' comments name.
  func slope(at x: Double) -> Double {
    switch self {
    case .relu: return x > 0 ? 1 : 0
    case .relu6: return x > 0 && x < 6 ? 1 : 0
    case .leakyRelu(let slope): return x > 0 ? 1 : slope
    case .clip(let low, let high): return x > low && x < high ? 1 : 0
    case .affine(let scale, _): return scale
    case .sigmoid:
      let s = value(at: x)
      return s * (1 - s)
    case .tanh:
      let t = value(at: x)
      return 1 - t * t
    case .exp: return value(at: x)
    case .log: return 1 / x
    case .squareRoot: return 0.5 / x.squareRoot()
    case .reciprocal: return -1 / (x * x)
    case .absolute: return x > 0 ? 1 : x < 0 ? -1 : 0
    case .square: return 2 * x
    case .softplus: return UnaryFunction.sigmoid.value(at: x)
    case .silu:
      let s = UnaryFunction.sigmoid.value(at: x)
      return s * (1 + x * (1 - s))
    case .hardSwish:
      return UnaryFunction.hardSwishGate.value(at: x)
        + x * UnaryFunction.hardSwishGate.slope(at: x)
    case .hardSigmoid(let slope, let offset):
      return slope * UnaryFunction.clip(low: 0, high: 1).slope(at: x * slope + offset)
    case .elu(let alpha): return x > 0 ? 1 : alpha * Glibc.exp(x)
    case .gelu:
      return UnaryFunction.normalDistribution(x)
        + x * Glibc.exp(-0.5 * x * x) / (2 * Double.pi).squareRoot()
    case .geluTanh:
      let t = Glibc.tanh(UnaryFunction.geluArgument(x))
      let slope = UnaryFunction.geluScale * (1 + 3 * 0.044715 * x * x)
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope
    case .floor, .ceiling, .round, .sign: return 0
    case .erf: return 2 / Double.pi.squareRoot() * Glibc.exp(-x * x)
    }
  }

  private static var geluScale: Double { (2 / Double.pi).squareRoot() }

  private static func geluArgument(_ x: Double) -> Double {
    geluScale * (x + 0.044715 * x * x * x)
  }

  private static var hardSwishGate: UnaryFunction { .hardSigmoid(slope: 1 / 6, offset: 0.5) }

  /// Φ(x) = (1 + erf(x/√2))/2, by erfc, which keeps its digits in the lower tail.
  private static func normalDistribution(_ x: Double) -> Double {
    0.5 * erfc(-x / 2.0.squareRoot())
  }
}

extension BinaryFunction {
  /// f(a, b); comparisons are written so that NaN goes through where the result is one of the operands.
  func value(_ a: Double, _ b: Double) -> Double {
    switch self {
    case .add: a + b
    case .subtract: a - b
    case .multiply: a * b
    case .divide: a / b
    case .maximum: a.isNaN || a >= b ? a : b
    case .minimum: a.isNaN || a <= b ? a : b
    case .power: pow(a, b)
    case .equal: a == b ? 1 : 0
    case .greater: a > b ? 1 : 0
    case .derivative(let function): a * function.slope(at: b)
    }
  }

  /// f(a, b) of integers in 64 bits, where what passes them wraps around.
  private func value(_ a: Int64, _ b: Int64) -> Int64 {
    switch self {
    case .add: a &+ b
    case .subtract: a &- b
    case .multiply: a &* b
    case .divide: b == 0 ? 0 : a.dividedReportingOverflow(by: b).partialValue
    case .maximum: max(a, b)
    case .minimum: min(a, b)
    case .power: BinaryFunction.power(a, b)
    case .equal, .greater, .derivative: fatalError("\(name) does not combine integers.")
    }
  }

  /// aᵇ by squaring; a negative power of other numbers than ±1 is cut to 0.
  private static func power(_ a: Int64, _ b: Int64) -> Int64 {
    guard b >= 0 else { return a == 1 || a == -1 && b % 2 == 0 ? 1 : a == -1 ? -1 : 0 }
    var (result, base, rest) = (Int64(1), a, b)
    while rest > 0 {
      if rest % 2 == 1 { result &*= base }
      base &*= base
      rest /= 2
    }
    return result
  }

  /// y[i] = f(a[i], b[i]), where an axis that an operand lacks or has with extent 1 has stride 0 in it.
  func evaluate(_ a: ReferenceTensor, _ b: ReferenceTensor, _ shape: Shape) -> [Double] {
    let (aIndices, bIndices) = (
      a.shape.indices(stretchedTo: shape), b.shape.indices(stretchedTo: shape)
    )
    let type = a.elementType
    guard !type.isFloatingPoint else {
      return zip(aIndices, bIndices).map { value(a.values[$0], b.values[$1]) }
    }
    return zip(aIndices, bIndices).map {
      type.wrapped(value(Int64(saturating: a.values[$0]), Int64(saturating: b.values[$1])))
    }
  }
}

extension ElementType {
  /// An integer as its lower bits make it in this type.
  fileprivate func wrapped(_ value: Int64) -> Double {
    switch self {
    case .int32: Double(Int32(truncatingIfNeeded: value))
    case .uint8: Double(UInt8(truncatingIfNeeded: value))
    case .int64, .float32, .float64, .bool: Double(value)
    }
  }
}
