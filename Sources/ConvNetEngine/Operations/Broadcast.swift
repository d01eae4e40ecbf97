import CConvNetLoops
import ConvNetGraph
import Glibc

extension PlanCompiler {
  /// y = x under other extents, every element as often as they say.
  mutating func emitBroadcast() throws {
    let (from, to) = (shape(node.inputs[0]), shape(node.outputs[0]))
    let x = input(0)
    guard from.count != to.count else { return alias(x) }
    let y = try output()
    let loops = StridedLoops(
      extents: to.dimensions, x: BroadcastLoops.strides(from, in: to), y: to.strides)
    emitCopy(loops, x: x, y: y, unit: graph.type(of: node.inputs[0]).elementType.byteCount)
  }
}

/// Two or three operands broadcast to a result, as few nested loops as their strides allow.
///
/// Neighbouring axes are merged where all operands step through them evenly; what remains are outer
/// loops and one loop over rows and columns, the columns dense (stride 1) or constant (stride 0).
struct BroadcastLoops: Sendable {
  struct Axis: Sendable {
    var extent: Int
    var a: Int
    var b: Int
    var c = 0
  }

  /// Outer axes, the slowest first.
  let outer: [Axis]
  let rows: Axis
  let columns: Axis
  /// Combinations of outer indices.
  let outerCount: Int

  init(result: Shape, a: Shape, b: Shape, c: Shape = []) {
    let strides = [a, b, c].map { Self.strides($0, in: result) }
    var axes: [Axis] = []
    for (index, extent) in result.dimensions.enumerated() where extent != 1 {
      var axis = Axis(
        extent: extent, a: strides[0][index], b: strides[1][index], c: strides[2][index])
      if let last = axes.last, last.a == axis.a * extent, last.b == axis.b * extent,
        last.c == axis.c * extent
      {
        axis.extent *= last.extent
        axes[axes.count - 1] = axis
      } else {
        axes.append(axis)
      }
    }
    let unit = Axis(extent: 1, a: 0, b: 0)
    columns = axes.popLast() ?? unit
    rows = axes.popLast() ?? unit
    outer = axes
    outerCount = axes.reduce(1) { $0 * $1.extent }
  }

  /// Elements between neighbours along each axis of the result; 0 where the operand is stretched.
  static func strides(_ operand: Shape, in result: Shape) -> [Int] {
    let missing = result.rank - operand.rank
    let own = operand.strides
    return result.dimensions.indices.map { axis in
      axis < missing || operand[axis - missing] == 1 ? 0 : own[axis - missing]
    }
  }

  /// Where the operands of one outer index begin.
  func offsets(_ index: Int) -> (a: Int, b: Int, c: Int) {
    var (rest, a, b, c) = (index, 0, 0, 0)
    var level = outer.count
    while level > 0 {
      level -= 1
      let axis = outer[level]
      let position = rest % axis.extent
      rest /= axis.extent
      a += position * axis.a
      b += position * axis.b
      c += position * axis.c
    }
    return (a, b, c)
  }
}

/// f(a, b) over broadcast float32 operands; b may be one number that the step holds.
final class BroadcastStep: Step {
  let function: BinaryFunction
  let loops: BroadcastLoops
  let a: Buffer
  let b: Buffer?
  let scalar: Float
  let y: Buffer
  let rows: Pieces
  let columns: Pieces

  init(
    _ function: BinaryFunction, loops: BroadcastLoops, a: Buffer, b: Buffer?, scalar: Float = 0,
    y: Buffer
  ) {
    self.function = function
    self.loops = loops
    self.a = a
    self.b = b
    self.scalar = scalar
    self.y = y
    columns = Pieces(loops.columns.extent, size: 32 << 10)
    rows = Pieces(loops.rows.extent, size: max(1, (32 << 10) / max(loops.columns.extent, 1)))
  }

  var pieces: Int { loops.outerCount * rows.count * columns.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let columnRange = columns.range(piece % columns.count)
    let rowRange = rows.range(piece / columns.count % rows.count)
    let index = piece / (columns.count * rows.count)
    let start = loops.offsets(index)
    let (row, column) = (loops.rows, loops.columns)
    let a =
      context.floats(a) + start.a + rowRange.lowerBound * row.a + columnRange.lowerBound * column.a
    let y =
      context.floats(y)
      + (index * row.extent + rowRange.lowerBound) * column.extent + columnRange.lowerBound
    var number = scalar
    withUnsafePointer(to: &number) { scalar in
      let b =
        b.map {
          UnsafePointer(context.floats($0)) + start.b + rowRange.lowerBound * row.b
            + columnRange.lowerBound * column.b
        } ?? scalar
      function.apply(
        y, column.extent, a, row.a, column.a, b, row.b, column.b, rowRange.count, columnRange.count)
    }
  }
}

extension BinaryFunction {
  /// The function's number in the C loops, if it has one.
  private var code: Int32? {
    switch self {
    case .add: Int32(CNL_ADD.rawValue)
    case .subtract: Int32(CNL_SUBTRACT.rawValue)
    case .multiply: Int32(CNL_MULTIPLY.rawValue)
    case .divide: Int32(CNL_DIVIDE.rawValue)
    case .maximum: Int32(CNL_MAXIMUM.rawValue)
    case .minimum: Int32(CNL_MINIMUM.rawValue)
    case .power: Int32(CNL_POWER.rawValue)
    case .equal, .greater, .derivative: nil
    }
  }

  /// y[r][c] = f(a[r·aRow + c·aColumn], b[r·bRow + c·bColumn]).
  func apply(
    _ y: UnsafeMutablePointer<Float>, _ yRow: Int, _ a: UnsafePointer<Float>, _ aRow: Int,
    _ aColumn: Int, _ b: UnsafePointer<Float>, _ bRow: Int, _ bColumn: Int, _ rows: Int,
    _ columns: Int
  ) {
    if let code {
      cnl_combine(code, y, yRow, a, aRow, aColumn, b, bRow, bColumn, rows, columns)
      return
    }
    for r in 0..<rows {
      let (a, b, y) = (a + r * aRow, b + r * bRow, y + r * yRow)
      switch self {
      case .equal:
        for c in 0..<columns { y[c] = a[c * aColumn] == b[c * bColumn] ? 1 : 0 }
      case .greater:
        for c in 0..<columns { y[c] = a[c * aColumn] > b[c * bColumn] ? 1 : 0 }
      case .derivative(let function):
        let call = function.call
        if aColumn == 1, bColumn == 1 {
          cnl_map_derivative(call.code, call.a, call.b, y, a, b, columns)
        } else {
          for c in 0..<columns {
            cnl_map_derivative(
              call.code, call.a, call.b, y + c, a + c * aColumn, b + c * bColumn, 1)
          }
        }
      default: break
      }
    }
  }

  /// The function in Double; nil for what only float32 has.
  func callAsFunction(_ a: Double, _ b: Double) -> Double? {
    switch self {
    case .add: a + b
    case .subtract: a - b
    case .multiply: a * b
    case .divide: a / b
    case .maximum: a.isNaN || a > b ? a : b
    case .minimum: a.isNaN || a < b ? a : b
    case .equal: a == b ? 1 : 0
    case .greater: a > b ? 1 : 0
    case .power: pow(a, b)
    case .derivative: nil
    }
  }
}

extension UnaryFunction {
  /// The function's number and its two constants in the C loops.
  var call: (code: Int32, a: Float, b: Float) {
    func make(_ code: cnl_unary, _ a: Double = 0, _ b: Double = 0) -> (Int32, Float, Float) {
      (Int32(code.rawValue), Float(a), Float(b))
    }
    return switch self {
    case .relu: make(CNL_RELU)
    case .relu6: make(CNL_RELU6)
    case .leakyRelu(let slope): make(CNL_LEAKY_RELU, slope)
    case .clip(let low, let high): make(CNL_CLIP, low, high)
    case .affine(let scale, let offset): make(CNL_AFFINE, scale, offset)
    case .sigmoid: make(CNL_SIGMOID)
    case .tanh: make(CNL_TANH)
    case .exp: make(CNL_EXP)
    case .log: make(CNL_LOG)
    case .squareRoot: make(CNL_SQRT)
    case .reciprocal: make(CNL_RECIPROCAL)
    case .absolute: make(CNL_ABSOLUTE)
    case .square: make(CNL_SQUARE)
    case .softplus: make(CNL_SOFTPLUS)
    case .silu: make(CNL_SILU)
    case .hardSwish: make(CNL_HARD_SWISH)
    case .hardSigmoid(let slope, let offset): make(CNL_HARD_SIGMOID, slope, offset)
    case .elu(let alpha): make(CNL_ELU, alpha)
    case .gelu: make(CNL_GELU)
    case .geluTanh: make(CNL_GELU_TANH)
    case .erf: make(CNL_ERF)
    case .floor: make(CNL_FLOOR)
    case .ceiling: make(CNL_CEILING)
    case .round: make(CNL_ROUND)
    case .sign: make(CNL_SIGN)
    }
  }
}
