import ConvNetGraph
import Glibc

/// One row of an elementwise function: where result and operands begin, and elements from one to the next.
struct PlainRow {
  typealias Body = @Sendable (PlainRow) -> Void

  var y: UnsafeMutableRawPointer
  var a: UnsafeRawPointer
  var b: UnsafeRawPointer
  var c: UnsafeRawPointer
  var aStep: Int
  var bStep: Int
  var cStep: Int
  var count: Int

  /// y[i] = f(a[i], b[i]) for types that are known where it is called.
  @inline(__always)
  static func body<Operand: BitwiseCopyable & Sendable, Result: BitwiseCopyable & Sendable>(
    _ function: @escaping @Sendable (Operand, Operand) -> Result
  ) -> Body {
    { row in
      let y = row.y.assumingMemoryBound(to: Result.self)
      let a = row.a.assumingMemoryBound(to: Operand.self)
      let b = row.b.assumingMemoryBound(to: Operand.self)
      // Steps that are known make vector loops.
      if row.aStep == 1, row.bStep == 1 {
        for i in 0..<row.count { y[i] = function(a[i], b[i]) }
      } else if row.aStep == 1, row.bStep == 0 {
        for i in 0..<row.count { y[i] = function(a[i], b[0]) }
      } else {
        for i in 0..<row.count { y[i] = function(a[i * row.aStep], b[i * row.bStep]) }
      }
    }
  }
}

extension PlanCompiler {
  /// A function of two or three broadcast operands of any element types.
  mutating func emitPlain(_ loops: BroadcastLoops, _ body: @escaping PlainRow.Body) throws {
    let operands = node.inputs.map { value in
      PlainBroadcastStep.Operand(
        buffer: buffer(value), unit: graph.type(of: value).elementType.byteCount)
    }
    let target = PlainBroadcastStep.Operand(
      buffer: try output(), unit: graph.type(of: node.outputs[0]).elementType.byteCount)
    emit(
      PlainBroadcastStep(loops, operands, target: target, body), reads: operands.map(\.buffer),
      writes: [target.buffer])
  }
}

/// A function of broadcast operands of any element types, row by row in plain loops.
final class PlainBroadcastStep: Step {
  struct Operand: Sendable {
    var buffer: Buffer
    var unit: Int
  }

  let loops: BroadcastLoops
  let operands: [Operand]
  let target: Operand
  let body: PlainRow.Body
  let rows: Pieces
  let columns: Pieces

  init(
    _ loops: BroadcastLoops, _ operands: [Operand], target: Operand,
    _ body: @escaping PlainRow.Body
  ) {
    self.loops = loops
    self.operands = operands
    self.target = target
    self.body = body
    columns = Pieces(loops.columns.extent, size: 32 << 10)
    rows = Pieces(loops.rows.extent, size: max(1, (32 << 10) / max(loops.columns.extent, 1)))
  }

  var pieces: Int { loops.outerCount * rows.count * columns.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let columnRange = columns.range(piece % columns.count)
    let index = piece / (columns.count * rows.count)
    let start = loops.offsets(index)
    let (rows, columns) = (loops.rows, loops.columns)
    func place(_ number: Int, _ start: Int) -> UnsafeMutableRawPointer {
      let operand = operands[min(number, operands.count - 1)]
      return context.raw(operand.buffer) + start * operand.unit
    }
    let first = columnRange.lowerBound
    for r in self.rows.range(piece / self.columns.count % self.rows.count) {
      let row = (index * rows.extent + r) * columns.extent + first
      body(
        PlainRow(
          y: context.raw(target.buffer) + row * target.unit,
          a: place(0, start.a + r * rows.a + first * columns.a),
          b: place(1, start.b + r * rows.b + first * columns.b),
          c: place(2, start.c + r * rows.c + first * columns.c), aStep: columns.a,
          bStep: columns.b, cStep: columns.c, count: columnRange.count))
    }
  }
}

extension BinaryFunction {
  /// The function over a row of an element type other than float32; nil where it has none.
  func row(of type: ElementType) -> PlainRow.Body? {
    switch type {
    case .float64:
      guard self(1, 1) != nil else { return nil }
      return PlainRow.body { (a: Double, b: Double) in self(a, b) ?? .nan }
    case .int64: return integerRow(of: Int64.self)
    case .int32: return integerRow(of: Int32.self)
    case .uint8: return integerRow(of: UInt8.self)
    case .float32, .bool: return nil
    }
  }

  private func integerRow<Integer: FixedWidthInteger & BitwiseCopyable & Sendable>(
    of type: Integer.Type
  ) -> PlainRow.Body? {
    switch self {
    case .add: PlainRow.body { (a: Integer, b: Integer) in a &+ b }
    case .subtract: PlainRow.body { (a: Integer, b: Integer) in a &- b }
    case .multiply: PlainRow.body { (a: Integer, b: Integer) in a &* b }
    case .divide:
      PlainRow.body { (a: Integer, b: Integer) in
        b == 0 ? 0 : a.dividedReportingOverflow(by: b).partialValue
      }
    case .maximum: PlainRow.body { (a: Integer, b: Integer) in max(a, b) }
    case .minimum: PlainRow.body { (a: Integer, b: Integer) in min(a, b) }
    case .power: PlainRow.body { (a: Integer, b: Integer) in a.power(b) }
    case .equal, .greater, .derivative: nil
    }
  }
}

extension FixedWidthInteger {
  /// The power by squaring, modulo 2 to the width; negative powers are cut towards zero.
  fileprivate func power(_ exponent: Self) -> Self {
    guard exponent >= 0 else {
      let isOne = self == 1 || (self == 0 &- 1 && exponent & 1 == 0)
      return isOne ? 1 : self == 0 &- 1 ? self : 0
    }
    var (result, base, rest) = (Self(1), self, exponent)
    while rest > 0 {
      if rest & 1 == 1 { result &*= base }
      base &*= base
      rest >>= 1
    }
    return result
  }
}

/// y = f(x) in Double, in plain loops.
final class DoubleMapStep: Step {
  let function: UnaryFunction
  let x: Buffer
  let y: Buffer
  let range: Pieces

  init(_ function: UnaryFunction, x: Buffer, y: Buffer, count: Int) {
    self.function = function
    self.x = x
    self.y = y
    range = Pieces(count, size: 4 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let (x, y) = (context.doubles(x), context.doubles(y))
    for index in range.range(piece) { y[index] = function(x[index]) }
  }
}

extension UnaryFunction {
  /// The function in Double.
  fileprivate func callAsFunction(_ x: Double) -> Double {
    switch self {
    case .relu: x < 0 ? 0 : x
    case .relu6: x < 0 ? 0 : x > 6 ? 6 : x
    case .leakyRelu(let slope): x < 0 ? slope * x : x
    case .clip(let low, let high): x < low ? low : x > high ? high : x
    case .affine(let scale, let offset): x * scale + offset
    case .sigmoid: 1 / (1 + Glibc.exp(-x))
    case .tanh: Glibc.tanh(x)
    case .exp: Glibc.exp(x)
    case .log: Glibc.log(x)
    case .squareRoot: x.squareRoot()
    case .reciprocal: 1 / x
    case .absolute: Swift.abs(x)
    case .square: x * x
    case .softplus: (x < 0 ? 0 : x) + log1p(Glibc.exp(-Swift.abs(x)))
    case .silu: x / (1 + Glibc.exp(-x))
    case .hardSwish: x * UnaryFunction.hardSigmoid(slope: 1 / 6, offset: 0.5)(x)
    case .hardSigmoid(let slope, let offset):
      UnaryFunction.clip(low: 0, high: 1)(x * slope + offset)
    case .elu(let alpha): x < 0 ? alpha * expm1(x) : x
    case .gelu: 0.5 * x * erfc(-x * 0.5.squareRoot())
    case .geluTanh: x / (1 + Glibc.exp(-(8 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .erf: Glibc.erf(x)
    case .floor: x.rounded(.down)
    case .ceiling: x.rounded(.up)
    case .round: x.rounded(.toNearestOrEven)
    case .sign: x > 0 ? 1 : x < 0 ? -1 : x
    }
  }
}
