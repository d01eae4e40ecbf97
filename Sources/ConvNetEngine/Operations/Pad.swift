import ConvNetGraph
import Glibc

extension PlanCompiler {
  /// y = x with positions added around it.
  mutating func emitPad(_ pad: Pad) throws {
    let type = graph.type(of: node.inputs[0])
    let x = input(0)
    guard let last = pad.lastAxis else { return alias(x) }
    var constant = 0.0
    if case .constant(let value) = pad.mode { constant = value }
    let y = try output()
    emit(
      PadStep(
        pad, lastAxis: last, from: shape(node.inputs[0]), to: shape(node.outputs[0]),
        constant: ElementBits(constant, type.elementType), x: x, y: y),
      reads: [x], writes: [y])
  }

  /// The adjoint: a part of dy, or, where elements were repeated, sums over one axis after the other.
  mutating func emitPadGradient(_ pad: Pad) throws {
    let (padded, result) = (shape(node.inputs[0]), shape(node.outputs[0]))
    let dy = input(0)
    guard let last = pad.lastAxis else { return alias(dy) }
    if case .constant = pad.mode {
      let start = zip(pad.before, padded.strides).reduce(0) { $0 + $1.0 * $1.1 }
      let loops = StridedLoops(
        extents: result.dimensions, x: padded.strides, y: result.strides,
        xStart: result.count > 0 ? start : 0)
      return emitCopy(loops, x: dy, y: try output(), unit: 4)
    }
    var (source, extents) = (dy, padded.dimensions)
    for axis in 0...last where extents[axis] != result[axis] {
      let sources = (0..<extents[axis]).compactMap {
        pad.source(of: $0, axis: axis, extent: result[axis]).map(Int64.init)
      }
      let form = GatherForm(
        outer: extents[..<axis].reduce(1, *), extent: result[axis], count: extents[axis],
        inner: extents[(axis + 1)...].reduce(1, *))
      let target =
        axis == last
        ? try output() : temporary(floats: form.outer * form.extent * form.inner)
      let indices = constant(Tensor(sources))
      emit(
        GatherGradientStep(form, dy: source, indices: indices, areWide: true, dx: target),
        reads: [source, indices], writes: [target], suffix: "axis\(axis)")
      extents[axis] = result[axis]
      source = target
    }
  }
}

extension Pad {
  /// The last axis that gets longer.
  fileprivate var lastAxis: Int? {
    before.indices.last { before[$0] > 0 || after[$0] > 0 }
  }
}

/// A padded tensor, row by row of the last padded axis: what is inside a row is copied as a whole.
final class PadStep: Step {
  let pad: Pad
  let lastAxis: Int
  let from: Shape
  let to: Shape
  /// Elements of one position of the last padded axis.
  let inner: Int
  let constant: ElementBits
  let x: Buffer
  let y: Buffer
  let rows: Pieces

  init(
    _ pad: Pad, lastAxis: Int, from: Shape, to: Shape, constant: ElementBits, x: Buffer, y: Buffer
  ) {
    self.pad = pad
    self.lastAxis = lastAxis
    self.from = from
    self.to = to
    self.constant = constant
    self.x = x
    self.y = y
    inner = to.dimensions[(lastAxis + 1)...].reduce(1, *)
    rows = Pieces(
      to.dimensions[..<lastAxis].reduce(1, *),
      size: max(1, (32 << 10) / max(to[lastAxis] * inner, 1)))
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let unit = constant.unit
    let (before, extent) = (pad.before[lastAxis], from[lastAxis])
    let after = before + extent
    for row in rows.range(piece) {
      var y = context.raw(y) + row * to[lastAxis] * inner * unit
      guard let source = source(row) else {
        constant.fill(y, count: to[lastAxis] * inner)
        continue
      }
      let x = context.raw(x) + source * extent * inner * unit
      border(0..<before, x, &y)
      memcpy(y, x, extent * inner * unit)
      y += extent * inner * unit
      border(after..<to[lastAxis], x, &y)
    }
  }

  /// Positions of the last padded axis that lie outside of x.
  private func border(
    _ positions: Range<Int>, _ x: UnsafeMutableRawPointer, _ y: inout UnsafeMutableRawPointer
  ) {
    let byteCount = inner * constant.unit
    for position in positions {
      if let index = pad.source(of: position, axis: lastAxis, extent: from[lastAxis]) {
        memcpy(y, x + index * byteCount, byteCount)
      } else {
        constant.fill(y, count: inner)
      }
      y += byteCount
    }
  }

  /// The row of x that a row of y comes from; nil where it is all constant.
  private func source(_ row: Int) -> Int? {
    var (rest, source, stride) = (row, 0, 1)
    var axis = lastAxis
    while axis > 0 {
      axis -= 1
      guard let index = pad.source(of: rest % to[axis], axis: axis, extent: from[axis]) else {
        return nil
      }
      source += index * stride
      stride *= from[axis]
      rest /= to[axis]
    }
    return source
  }
}

/// The bits of one element, to be written often.
struct ElementBits: Sendable {
  let bits: UInt64
  /// Bytes of the element.
  let unit: Int

  /// A number as an element; integers saturate.
  init(_ value: Double, _ type: ElementType) {
    let tensor = Tensor(doubles: [value], shape: [], elementType: type)
    bits = tensor.withBytes { bytes in bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    unit = type.byteCount
  }

  func fill(_ target: UnsafeMutableRawPointer, count: Int) {
    switch unit {
    case 1: memset(target, Int32(truncatingIfNeeded: bits), count)
    case 4:
      target.assumingMemoryBound(to: UInt32.self)
        .update(repeating: UInt32(truncatingIfNeeded: bits), count: count)
    default: target.assumingMemoryBound(to: UInt64.self).update(repeating: bits, count: count)
    }
  }
}
