import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// y = f(x).
  mutating func emitMap(_ function: UnaryFunction) throws {
    let x = input(0)
    let count = shape(node.inputs[0]).count
    let isDouble = graph.type(of: node.inputs[0]).elementType == .float64
    let y = try output()
    let step: any Step =
      isDouble
      ? DoubleMapStep(function, x: x, y: y, count: count)
      : MapStep(function, x: x, y: y, count: count)
    emit(step, reads: [x], writes: [y])
  }

  /// y = f(a, b) with broadcasting.
  mutating func emitCombine(_ function: BinaryFunction) throws {
    let loops = BroadcastLoops(
      result: shape(node.outputs[0]), a: shape(node.inputs[0]), b: shape(node.inputs[1]))
    let type = graph.type(of: node.inputs[0]).elementType
    guard type == .float32 else {
      guard let row = function.row(of: type) else {
        throw unsupported("\(function.name) of \(type.rawValue)")
      }
      return try emitPlain(loops, row)
    }
    let (a, b) = (input(0), input(1))
    if try emitSummedCombine(function, a: a, b: b) { return }
    let y = try output()
    emit(
      BroadcastStep(function, loops: loops, a: a, b: b, y: y), reads: [a, b], writes: [y])
  }

  /// f(a, b) of equal shapes by rows, where a reader wants sums of the result.
  private mutating func emitSummedCombine(
    _ function: BinaryFunction, a: Buffer, b: Buffer
  ) throws -> Bool {
    let shape = shape(node.outputs[0])
    guard let channels = shape.dimensions.last, channels > 0,
      node.inputs.allSatisfy({ self.shape($0) == shape })
    else { return false }
    let rows = Pieces(shape.count / channels, size: max(1, (32 << 10) / channels))
    let sums = blockSums(counts: rows.sizes)
    guard !sums.isEmpty else { return false }
    let y = try output()
    emit(
      SummedCombineStep(function, a: a, b: b, rows: rows, channels: channels, sums: sums, y: y),
      reads: [a, b] + sums.reads, writes: [y] + sums.writes)
    return true
  }

  /// A constant of the operand's shape.
  mutating func emitFill(_ value: Double) throws {
    let count = shape(node.outputs[0]).count
    let y = try output()
    emit(FillStep(output: y, count: count, value: Float(value)), reads: [], writes: [y])
  }

  /// The same values in another element type.
  mutating func emitCast(_ type: ElementType) throws {
    let from = graph.type(of: node.inputs[0]).elementType
    let x = input(0)
    guard from != type else { return alias(x) }
    let count = shape(node.inputs[0]).count
    let y = try output()
    emit(CastStep(x: x, from: from, y: y, to: type, count: count), reads: [x], writes: [y])
  }
}

/// f(a, b) of equal shapes, and sums of it for batch norm while it is in cache.
final class SummedCombineStep: Step {
  let function: BinaryFunction
  let a: Buffer
  let b: Buffer
  let rows: Pieces
  let channels: Int
  let sums: [BlockSums]
  let y: Buffer

  init(
    _ function: BinaryFunction, a: Buffer, b: Buffer, rows: Pieces, channels: Int,
    sums: [BlockSums], y: Buffer
  ) {
    self.function = function
    self.a = a
    self.b = b
    self.rows = rows
    self.channels = channels
    self.sums = sums
    self.y = y
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int { sums.scratchByteCount }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let (offset, count) = (range.lowerBound * channels, range.count * channels)
    let (a, b) = (context.floats(a) + offset, context.floats(b) + offset)
    function.apply(context.floats(y) + offset, count, a, count, 1, b, count, 1, 1, count)
    sums.run(
      y, part: piece, columns: 0..<channels, lane: lane, behind: 0, in: context,
      rows: .range(range))
  }
}

/// y = f(x) in vector loops.
final class MapStep: Step {
  let function: UnaryFunction
  let x: Buffer
  let y: Buffer
  let range: Pieces

  init(_ function: UnaryFunction, x: Buffer, y: Buffer, count: Int) {
    self.function = function
    self.x = x
    self.y = y
    range = Pieces(count, size: 32 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    let call = function.call
    cnl_map(
      call.code, call.a, call.b, context.floats(y) + range.lowerBound,
      context.floats(x) + range.lowerBound, range.count)
  }
}

/// A constant in every element.
final class FillStep: Step {
  let output: Buffer
  let value: Float
  let range: Pieces

  init(output: Buffer, count: Int, value: Float) {
    self.output = output
    self.value = value
    range = Pieces(count, size: 64 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    cnl_fill(context.floats(output) + range.lowerBound, value, range.count)
  }
}

/// Values in another element type; integers saturate.
final class CastStep: Step {
  let x: Buffer
  let from: ElementType
  let y: Buffer
  let to: ElementType
  let range: Pieces

  init(x: Buffer, from: ElementType, y: Buffer, to: ElementType, count: Int) {
    self.x = x
    self.from = from
    self.y = y
    self.to = to
    range = Pieces(count, size: 32 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    switch (from, to) {
    case (.float64, .float32):
      cnl_to_float(
        context.floats(y) + range.lowerBound, context.doubles(x) + range.lowerBound, range.count)
    case (.float32, .float64):
      cnl_to_double(
        context.doubles(y) + range.lowerBound, context.floats(x) + range.lowerBound, range.count)
    default:
      let (source, target) = (context.raw(x), context.raw(y))
      for index in range { to.store(from.load(source, index), in: target, index) }
    }
  }
}

extension ElementType {
  /// An element as a double.
  fileprivate func load(_ base: UnsafeMutableRawPointer, _ index: Int) -> Double {
    let offset = index * byteCount
    return switch self {
    case .float32: Double(base.load(fromByteOffset: offset, as: Float.self))
    case .float64: base.load(fromByteOffset: offset, as: Double.self)
    case .int64: Double(base.load(fromByteOffset: offset, as: Int64.self))
    case .int32: Double(base.load(fromByteOffset: offset, as: Int32.self))
    case .uint8, .bool: Double(base.load(fromByteOffset: offset, as: UInt8.self))
    }
  }

  /// Stores a double as an element, saturating integers.
  fileprivate func store(_ value: Double, in base: UnsafeMutableRawPointer, _ index: Int) {
    let offset = index * byteCount
    switch self {
    case .float32: base.storeBytes(of: Float(value), toByteOffset: offset, as: Float.self)
    case .float64: base.storeBytes(of: value, toByteOffset: offset, as: Double.self)
    case .int64: base.storeBytes(of: Int64(saturating: value), toByteOffset: offset, as: Int64.self)
    case .int32: base.storeBytes(of: Int32(saturating: value), toByteOffset: offset, as: Int32.self)
    case .uint8: base.storeBytes(of: UInt8(saturating: value), toByteOffset: offset, as: UInt8.self)
    case .bool: base.storeBytes(of: value != 0 ? 1 : 0, toByteOffset: offset, as: UInt8.self)
    }
  }
}
