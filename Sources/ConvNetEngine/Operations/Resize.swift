import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  mutating func emitResize(_ resize: Resize) throws {
    let (from, to) = (shape(node.inputs[0]), shape(node.outputs[0]))
    let axis = try graph.type(of: node.inputs[0]).normalizedAxis(resize.axis)
    try emitResize(
      resize.taps(input: from[axis], output: to[axis]), axis: axis, input: from, x: input(0))
  }

  /// The adjoint: every element of dx gathers from the positions that it takes part in.
  mutating func emitResizeGradient(_ resize: Resize) throws {
    let (from, to) = (shape(node.inputs[1]), shape(node.inputs[0]))
    let axis = try graph.type(of: node.inputs[1]).normalizedAxis(resize.axis)
    try emitResize(
      resize.taps(input: from[axis], output: to[axis]).transposed(count: from[axis]), axis: axis,
      input: to, x: input(0))
  }

  private mutating func emitResize(
    _ taps: ResizeTaps, axis: Int, input: Shape, x: Buffer
  ) throws {
    let type = graph.type(of: node.outputs[0])
    guard type.elementType == .float32 || taps.picks else {
      throw unsupported("a resize of \(type) that is not to the nearest element")
    }
    let y = try output()
    emit(
      ResizeStep(taps, axis: axis, input: input, elementType: type.elementType, x: x, y: y),
      reads: [x], writes: [y])
  }
}

extension ResizeTaps {
  /// Whether every position is one element as it stands.
  fileprivate var picks: Bool {
    weights.allSatisfy { $0 == 1 } && starts == Array(0...outputs)
  }
}

/// Sums of weighted rows along one axis.
final class ResizeStep: Step {
  let x: Buffer
  let y: Buffer
  /// Elements that are no float32 are only copied.
  let elementType: ElementType
  let inputs: Int
  /// Elements of a row: the extents behind the axis.
  let inner: Int
  let starts: [Int]
  let indices: [Int]
  let weights: [Float]
  let empty: Float
  /// The extents before the axis, and positions along it.
  let blocks: Pieces
  let rows: Pieces

  init(
    _ taps: ResizeTaps, axis: Int, input: Shape, elementType: ElementType, x: Buffer, y: Buffer
  ) {
    self.x = x
    self.y = y
    self.elementType = elementType
    inputs = input[axis]
    inner = input.dimensions[(axis + 1)...].reduce(1, *)
    (starts, indices, weights) = (taps.starts, taps.indices, taps.weights.map { Float($0) })
    empty = Float(taps.empty)
    let outer = input.dimensions[..<axis].reduce(1, *)
    let (row, limit) = (max(inner, 1), 16 << 10)
    blocks = Pieces(outer, size: max(1, limit / (row * max(taps.outputs, 1))))
    rows = Pieces(taps.outputs, size: max(1, limit / row))
  }

  var pieces: Int { blocks.count * rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece % rows.count)
    for block in blocks.range(piece / rows.count) {
      let (from, to) = (block * inputs * inner, block * rows.total * inner)
      if elementType == .float32 {
        cnl_weighted_rows(
          context.floats(y) + to, context.floats(x) + from, inner, starts, indices, weights, empty,
          range.lowerBound, range.upperBound)
      } else {
        let unit = elementType.byteCount
        for row in range {
          (context.raw(y) + (to + row * inner) * unit).copyMemory(
            from: context.raw(x) + (from + indices[row] * inner) * unit, byteCount: inner * unit)
        }
      }
    }
  }
}
