import CConvNetLoops
import Glibc
import Testing

/// Value and derivative of a unary function in Double, with its parameters and its error in ulp.
private struct Unary: CustomTestStringConvertible {
  let testDescription: String
  let code: cnl_unary
  var a: Float = 0
  var b: Float = 0
  var ulp: Double = 0
  let value: @Sendable (Double) -> Double
  let derivative: @Sendable (Double) -> Double

  static let all: [Unary] = piecewise + smooth

  private static let piecewise: [Unary] = [
    Unary(
      testDescription: "relu", code: CNL_RELU, value: { $0 < 0 ? 0 : $0 },
      derivative: { $0 <= 0 ? 0 : 1 }),
    Unary(
      testDescription: "relu6", code: CNL_RELU6, value: { $0 < 0 ? 0 : $0 > 6 ? 6 : $0 },
      derivative: { $0 <= 0 || $0 >= 6 ? 0 : 1 }),
    Unary(
      testDescription: "leaky relu", code: CNL_LEAKY_RELU, a: 0.125,
      value: { $0 < 0 ? 0.125 * $0 : $0 }, derivative: { $0 <= 0 ? 0.125 : 1 }),
    Unary(
      testDescription: "clip", code: CNL_CLIP, a: -1, b: 2,
      value: { $0 < -1 ? -1 : $0 > 2 ? 2 : $0 }, derivative: { $0 <= -1 || $0 >= 2 ? 0 : 1 }),
    Unary(
      testDescription: "affine", code: CNL_AFFINE, a: 0.5, b: 2, value: { 0.5 * $0 + 2 },
      derivative: { _ in 0.5 }),
    Unary(testDescription: "negate", code: CNL_NEGATE, value: { -$0 }, derivative: { _ in -1 }),
    Unary(
      testDescription: "absolute", code: CNL_ABSOLUTE, value: { abs($0) },
      derivative: { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 }),
    Unary(
      testDescription: "floor", code: CNL_FLOOR, value: { $0.rounded(.down) },
      derivative: { _ in 0 }),
    Unary(
      testDescription: "ceiling", code: CNL_CEILING, value: { $0.rounded(.up) },
      derivative: { _ in 0 }),
    Unary(
      testDescription: "round", code: CNL_ROUND, value: { $0.rounded(.toNearestOrEven) },
      derivative: { _ in 0 }),
    Unary(
      testDescription: "sign", code: CNL_SIGN, value: { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 },
      derivative: { _ in 0 }),
    Unary(
      testDescription: "square", code: CNL_SQUARE, value: { $0 * $0 }, derivative: { 2 * $0 }),
    Unary(
      testDescription: "hard sigmoid", code: CNL_HARD_SIGMOID, a: 0.25, b: 0.5,
      value: { min(max(0.25 * $0 + 0.5, 0), 1) },
      derivative: { abs(0.25 * $0) >= 0.5 ? 0 : 0.25 }),
    Unary(
      testDescription: "hard swish", code: CNL_HARD_SWISH, ulp: 8,
      value: { $0 * min(max($0 / 6 + 0.5, 0), 1) },
      derivative: { $0 <= -3 ? 0 : $0 >= 3 ? 1 : $0 / 3 + 0.5 }),
    Unary(
      testDescription: "elu", code: CNL_ELU, a: 1, ulp: 2, value: { $0 < 0 ? expm1($0) : $0 },
      derivative: { $0 < 0 ? exp($0) : 1 }),
  ]

  private static let smooth: [Unary] = [
    Unary(
      testDescription: "sigmoid", code: CNL_SIGMOID, ulp: 3, value: { 1 / (1 + exp(-$0)) },
      derivative: { exp(-$0) / ((1 + exp(-$0)) * (1 + exp(-$0))) }),
    Unary(
      testDescription: "tanh", code: CNL_TANH, ulp: 3, value: { tanh($0) },
      derivative: { 1 / (cosh($0) * cosh($0)) }),
    Unary(
      testDescription: "exp", code: CNL_EXP, ulp: 2, value: { exp($0) }, derivative: { exp($0) }),
    Unary(
      testDescription: "log", code: CNL_LOG, ulp: 2, value: { log($0) }, derivative: { 1 / $0 }),
    Unary(
      testDescription: "sqrt", code: CNL_SQRT, ulp: 1, value: { $0.squareRoot() },
      derivative: { 0.5 / $0.squareRoot() }),
    Unary(
      testDescription: "reciprocal", code: CNL_RECIPROCAL, ulp: 1, value: { 1 / $0 },
      derivative: { -1 / ($0 * $0) }),
    Unary(
      testDescription: "softplus", code: CNL_SOFTPLUS, ulp: 3,
      value: { max($0, 0) + log1p(exp(-abs($0))) }, derivative: { 1 / (1 + exp(-$0)) }),
    Unary(
      testDescription: "silu", code: CNL_SILU, ulp: 4, value: { $0 / (1 + exp(-$0)) },
      derivative: {
        let s = 1 / (1 + exp(-$0))
        return s * (1 + $0 * (1 - s))
      }),
    Unary(
      testDescription: "gelu", code: CNL_GELU, ulp: 4,
      value: { 0.5 * $0 * erfc(-$0 / 2.squareRoot()) },
      derivative: {
        0.5 * erfc(-$0 / 2.squareRoot()) + $0 * exp(-$0 * $0 / 2) / (2 * Double.pi).squareRoot()
      }),
    Unary(
      testDescription: "gelu by tanh", code: CNL_GELU_TANH, ulp: 4,
      value: { 0.5 * $0 * (1 + tanh(geluArgument($0))) },
      derivative: {
        let t = tanh(geluArgument($0))
        let slope = (2 / Double.pi).squareRoot() * (1 + 3 * 0.044715 * $0 * $0)
        return 0.5 * (1 + t) + 0.5 * $0 * (1 - t * t) * slope
      }),
    Unary(
      testDescription: "erf", code: CNL_ERF, ulp: 3, value: { erf($0) },
      derivative: { 2 / Double.pi.squareRoot() * exp(-$0 * $0) }),
  ]

  /// Functions whose result is small beside x cannot be better than x's own rounding.
  var isAbsolute: Bool { [CNL_GELU, CNL_GELU_TANH, CNL_HARD_SWISH].contains(code) }
  /// Defined for positive arguments only.
  var isPositive: Bool { code == CNL_LOG || code == CNL_SQRT || code == CNL_RECIPROCAL }
}

private func geluArgument(_ x: Double) -> Double {
  (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
}

extension LoopTests {
  @Suite struct ElementwiseTests {
    @Test(arguments: Variant.all, Unary.all)
    fileprivate func map(variant: Variant, f: Unary) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(1)
      for n in LoopTests.sizes {
        // Multiples of 1/8 up to ±10, whole numbers among them: kinks are hit.
        var values = noise.integers(n, limit: 80).map { $0 / 8 }
        if f.isPositive { values = values.map { abs($0) + 0.125 } }
        let x = Buffer(values)
        let bound: (Int, Double) -> Double = { i, want in
          let reach = f.isAbsolute ? max(abs(values[i]), abs(Float(want))) : abs(Float(want))
          return f.ulp * Double(max(reach, Float.leastNormalMagnitude).ulp)
        }
        let want = values.map { f.value(Double($0)) }
        let y = Buffer(count: n)
        cnl_map(Int32(f.code.rawValue), f.a, f.b, y.pointer, x.pointer, n)
        check(y, want, "\(f.testDescription) of \(n)", bound: bound)
        cnl_map(Int32(f.code.rawValue), f.a, f.b, x.pointer, x.pointer, n)
        check(x, want, "\(f.testDescription) of \(n) in place", bound: bound)
      }
    }

    @Test(arguments: Variant.all, Unary.all)
    fileprivate func derivative(variant: Variant, f: Unary) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(2)
      for n in LoopTests.sizes {
        var values = noise.integers(n, limit: 80).map { $0 / 8 }
        if f.isPositive { values = values.map { abs($0) + 0.125 } }
        let g = noise.integers(n)
        let x = Buffer(values)
        let dy = Buffer(g)
        // A few roundings of terms no larger than max(1, |x|), each scaled by dy.
        let bound: (Int, Double) -> Double = { i, want in
          f.ulp == 0
            ? 0 : 8 * 0x1p-24 * Double(abs(g[i])) * max(1, abs(Double(values[i])), abs(want))
        }
        let want = zip(values, g).map { Double($1) * f.derivative(Double($0)) }
        let dx = Buffer(count: n)
        cnl_map_derivative(Int32(f.code.rawValue), f.a, f.b, dx.pointer, dy.pointer, x.pointer, n)
        check(dx, want, "\(f.testDescription)′ of \(n)", bound: bound)
        cnl_map_derivative(Int32(f.code.rawValue), f.a, f.b, dy.pointer, dy.pointer, x.pointer, n)
        check(dy, want, "\(f.testDescription)′ of \(n) in place", bound: bound)
      }
    }

    @Test(arguments: Variant.all, Unary.all)
    fileprivate func nanPropagates(variant: Variant, f: Unary) {
      variant.select()
      defer { Variant.deselect() }
      for position in [0, 5, 16, 18] {  // in whole vectors and in the tail
        var values = [Float](repeating: 1, count: 19)
        values[position] = .nan
        let x = Buffer(values)
        let y = Buffer(count: 19)
        cnl_map(Int32(f.code.rawValue), f.a, f.b, y.pointer, x.pointer, 19)
        #expect((0..<19).allSatisfy { y.pointer[$0].isNaN == ($0 == position) })
        let one = Buffer([Float](repeating: 1, count: 19))
        cnl_map_derivative(Int32(f.code.rawValue), f.a, f.b, y.pointer, x.pointer, one.pointer, 19)
        #expect((0..<19).allSatisfy { y.pointer[$0].isNaN == ($0 == position) })
      }
    }

    @Test(arguments: Variant.all)
    func specialValues(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      func results(_ f: cnl_unary, _ values: [Float]) -> [Float] {
        let y = Buffer(count: values.count)
        cnl_map(Int32(f.rawValue), 1, 0, y.pointer, Buffer(values).pointer, values.count)
        return y.values
      }
      // At the kink the slope from the left, as the reference has it.
      let (zero, one) = (
        Buffer([Float](repeating: 0, count: 19)), Buffer([Float](repeating: 1, count: 19))
      )
      let slopes = Buffer(count: 19)
      cnl_map_derivative(
        Int32(CNL_ELU.rawValue), 0.5, 0, slopes.pointer, one.pointer, zero.pointer, 19)
      #expect(slopes.values == [Float](repeating: 0.5, count: 19))
      let infinity = Float.infinity
      #expect(
        results(CNL_EXP, [infinity, -infinity, 0, 88.8, -104, 1000, -1000])
          == [infinity, 0, 1, infinity, 0, infinity, 0])
      #expect(results(CNL_EXP, [-100])[0] > 0)  // a denormal, by rounding and not by a cliff
      #expect(results(CNL_LOG, [infinity, 0, -0.0, 1]) == [infinity, -infinity, -infinity, 0])
      #expect(results(CNL_LOG, [-1, -infinity]).allSatisfy { $0.isNaN })
      #expect(abs(results(CNL_LOG, [0x1p-140])[0] + 97.04061) < 1e-4)
      #expect(results(CNL_TANH, [infinity, -infinity, 0, 30, -30]) == [1, -1, 0, 1, -1])
      #expect(results(CNL_TANH, [-0.0])[0].sign == .minus)
      #expect(results(CNL_ERF, [infinity, -infinity, 0, 5, -5]) == [1, -1, 0, 1, -1])
      #expect(results(CNL_SIGMOID, [infinity, -infinity, 0, 200]) == [1, 0, 0.5, 1])
      #expect(
        results(CNL_ROUND, [0.5, 1.5, -2.5, 0x1p30, infinity]) == [0, 2, -2, 0x1p30, infinity])
      #expect(results(CNL_FLOOR, [-0.5, 0x1p-140, -infinity]) == [-1, 0, -infinity])
      #expect(results(CNL_GELU_TANH, [infinity, 1e30, 0, -1e30]) == [infinity, 1e30, 0, 0])
      #expect(results(CNL_SOFTPLUS, [infinity, -infinity, 100]) == [infinity, 0, 100])
    }

    /// The whole range of exp, log, tanh and sigmoid, not only a neighbourhood of 0.
    @Test(arguments: Variant.all)
    func wideArguments(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(3)
      let cases: [(cnl_unary, Float, Double, (Double) -> Double)] = [
        (CNL_EXP, 87, 2, { exp($0) }), (CNL_TANH, 12, 3, { tanh($0) }),
        (CNL_TANH, 0.1, 3, { tanh($0) }), (CNL_SIGMOID, 80, 3, { 1 / (1 + exp(-$0)) }),
        (CNL_LOG, 1e30, 2, { log(abs($0)) }), (CNL_LOG, 2, 2, { log(abs($0)) }),
        (CNL_ERF, 4.5, 3, { erf($0) }),
      ]
      for (f, scale, bound, reference) in cases {
        let values = noise.floats(2000, scale: scale).map { f == CNL_LOG ? abs($0) : $0 }
        let y = Buffer(count: 2000)
        cnl_map(Int32(f.rawValue), 0, 0, y.pointer, Buffer(values).pointer, 2000)
        check(y, values.map { reference(Double($0)) }, "\(f) to \(scale)", bound: ulps(bound))
      }
    }
  }
}
