import CConvNetLoops
import ConvNetGraph
import Glibc

extension PlanCompiler {
  /// y[o][i] = x[o][indices[i]], each a run of elements.
  mutating func emitGather(_ gather: Gather) throws {
    let type = graph.type(of: node.inputs[0])
    let form = GatherForm(
      shape(node.inputs[0]), axis: try type.normalizedAxis(gather.axis),
      count: shape(node.inputs[1]).count)
    let (x, indices) = (input(0), input(1))
    let y = try output()
    emit(
      GatherStep(
        form, x: x, indices: indices, areWide: hasWideIndices,
        outside: ElementBits(type.elementType.isFloatingPoint ? .nan : 0, type.elementType), y: y),
      reads: [x, indices], writes: [y])
  }

  mutating func emitGatherGradient(_ gather: Gather) throws {
    let type = graph.type(of: node.outputs[0])
    guard type.elementType == .float32 else {
      throw unsupported("the gradient of parts of \(type)")
    }
    let form = GatherForm(
      shape(node.outputs[0]), axis: try type.normalizedAxis(gather.axis),
      count: shape(node.inputs[1]).count)
    let (dy, indices) = (input(0), input(1))
    let dx = try output()
    emit(
      GatherGradientStep(form, dy: dy, indices: indices, areWide: hasWideIndices, dx: dx),
      reads: [dy, indices], writes: [dx])
  }

  private var hasWideIndices: Bool { graph.type(of: node.inputs[1]).elementType == .int64 }
}

/// Parts of [outer][extent][inner] by number: [outer][count][inner].
struct GatherForm: Sendable {
  var outer: Int
  var extent: Int
  var count: Int
  var inner: Int

  init(outer: Int, extent: Int, count: Int, inner: Int) {
    self.outer = outer
    self.extent = extent
    self.count = count
    self.inner = inner
  }

  init(_ shape: Shape, axis: Int, count: Int) {
    self.init(
      outer: shape.dimensions[..<axis].reduce(1, *), extent: shape[axis], count: count,
      inner: shape.dimensions[(axis + 1)...].reduce(1, *))
  }

  /// The part that an index means; nil outside.
  @inline(__always)
  func part(_ indices: UnsafeMutableRawPointer, _ position: Int, areWide: Bool) -> Int? {
    let index =
      areWide
      ? Int(indices.assumingMemoryBound(to: Int64.self)[position])
      : Int(indices.assumingMemoryBound(to: Int32.self)[position])
    let positive = index < 0 ? index + extent : index
    return positive >= 0 && positive < extent ? positive : nil
  }
}

/// Runs copied from where indices say.
final class GatherStep: Step {
  let form: GatherForm
  let x: Buffer
  let indices: Buffer
  let areWide: Bool
  let outside: ElementBits
  let y: Buffer
  let parts: Pieces

  init(
    _ form: GatherForm, x: Buffer, indices: Buffer, areWide: Bool, outside: ElementBits, y: Buffer
  ) {
    self.form = form
    self.x = x
    self.indices = indices
    self.areWide = areWide
    self.outside = outside
    self.y = y
    parts = Pieces(form.outer * form.count, size: max(1, (32 << 10) / max(form.inner, 1)))
  }

  var pieces: Int { parts.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let (x, y, indices) = (context.raw(x), context.raw(y), context.raw(indices))
    let byteCount = form.inner * outside.unit
    for number in parts.range(piece) {
      let (outer, position) = number.quotientAndRemainder(dividingBy: form.count)
      if let part = form.part(indices, position, areWide: areWide) {
        memcpy(y + number * byteCount, x + (outer * form.extent + part) * byteCount, byteCount)
      } else {
        outside.fill(y + number * byteCount, count: form.inner)
      }
    }
  }
}

/// The adjoint: runs added up where indices say, in their order.
final class GatherGradientStep: Step {
  let form: GatherForm
  let dy: Buffer
  let indices: Buffer
  let areWide: Bool
  let dx: Buffer
  let columns: Pieces

  init(_ form: GatherForm, dy: Buffer, indices: Buffer, areWide: Bool, dx: Buffer) {
    self.form = form
    self.dy = dy
    self.indices = indices
    self.areWide = areWide
    self.dx = dx
    columns = Pieces(form.inner, size: 1 << 10)
  }

  var pieces: Int { form.outer * columns.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = columns.range(piece % columns.count)
    let (outer, inner) = (piece / columns.count, form.inner)
    let dx = context.floats(dx) + outer * form.extent * inner + range.lowerBound
    let dy = context.floats(dy) + outer * form.count * inner + range.lowerBound
    for part in 0..<form.extent { cnl_fill(dx + part * inner, 0, range.count) }
    for position in 0..<form.count {
      guard let part = form.part(context.raw(indices), position, areWide: areWide) else { continue }
      cnl_accumulate(dx + part * inner, dy + position * inner, range.count)
    }
  }
}
