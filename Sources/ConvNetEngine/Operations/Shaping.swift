import ConvNetGraph
import Glibc

extension PlanCompiler {
  /// The same bytes under another shape.
  mutating func emitReshape() { alias(input(0)) }

  mutating func emitConcatenate(_ concatenate: Concatenate) throws {
    let result = graph.type(of: node.outputs[0])
    let axis = try result.normalizedAxis(concatenate.axis)
    let y = (inputs: node.inputs.map { buffer($0) }, buffer: try output())
    let unit = result.elementType.byteCount
    let row = rowBytes(node.outputs[0], from: axis, unit: unit)
    var offset = 0
    for (index, value) in node.inputs.enumerated() {
      let bytes = rowBytes(value, from: axis, unit: unit)
      emit(
        CopyRowsStep(
          input: y.inputs[index], inputOffset: 0, inputRow: bytes, output: y.buffer,
          outputOffset: offset, outputRow: row, byteCount: bytes, rows: outer(value, to: axis)),
        reads: [y.inputs[index]], writes: [y.buffer], suffix: "part\(index)")
      offset += bytes
    }
  }

  mutating func emitSlice(_ slice: Slice) throws {
    let loops = try sliceLoops(slice, whole: node.inputs[0], part: node.outputs[0])
    let x = input(0)
    let y = try output()
    emitCopy(loops, x: x, y: y, unit: graph.type(of: node.inputs[0]).elementType.byteCount)
  }

  mutating func emitSliceGradient(_ slice: Slice) throws {
    let type = graph.type(of: node.outputs[0])
    guard type.elementType == .float32 else {
      throw unsupported("the gradient of a slice of \(type)")
    }
    let loops = try sliceLoops(
      slice, whole: node.outputs[0], part: node.inputs[0], writesWhole: true)
    let dy = input(0)
    let dx = try output()
    emit(
      FillStep(output: dx, count: shape(node.outputs[0]).count, value: 0), reads: [], writes: [dx],
      suffix: "zero")
    emitCopy(loops, x: dy, y: dx, unit: 4)
  }

  /// From a value to a part of it, or back.
  private func sliceLoops(
    _ slice: Slice, whole: Graph.ValueID, part: Graph.ValueID, writesWhole: Bool = false
  ) throws -> StridedLoops {
    let axis = try graph.type(of: whole).normalizedAxis(slice.axis)
    var strides = shape(whole).strides
    let start = slice.count > 0 ? slice.start * strides[axis] : 0
    strides[axis] *= slice.stride
    let part = shape(part)
    return writesWhole
      ? StridedLoops(extents: part.dimensions, x: part.strides, y: strides, yStart: start)
      : StridedLoops(extents: part.dimensions, x: strides, y: part.strides, xStart: start)
  }

  mutating func emitTranspose(_ transpose: Transpose) throws {
    let x = input(0)
    let type = graph.type(of: node.inputs[0])
    let y = emitTransposed(
      x, shape: shape(node.inputs[0]), transpose, byteCount: type.elementType.byteCount)
    alias(y)
  }

  /// Emits a transpose into a new buffer.
  mutating func emitTransposed(
    _ x: Buffer, shape: Shape, _ transpose: Transpose, byteCount: Int
  ) -> Buffer {
    let y = temporary(floats: (shape.count * byteCount + 3) / 4)
    let result = Shape(transpose.permutation.map { shape[$0] })
    let strides = shape.strides
    let loops = StridedLoops(
      extents: result.dimensions, x: transpose.permutation.map { strides[$0] }, y: result.strides)
    emitCopy(loops, x: x, y: y, unit: byteCount, suffix: "transpose")
    return y
  }

  /// Bytes of one index of the axes before `axis`.
  private func rowBytes(_ value: Graph.ValueID, from axis: Int, unit: Int) -> Int {
    shape(value).dimensions[axis...].reduce(unit, *)
  }

  private func outer(_ value: Graph.ValueID, to axis: Int) -> Int {
    shape(value).dimensions[..<axis].reduce(1, *)
  }
}

/// Bytes copied as they are.
final class CopyStep: Step {
  let input: Buffer
  let output: Buffer
  let range: Pieces

  init(input: Buffer, output: Buffer, byteCount: Int) {
    self.input = input
    self.output = output
    range = Pieces(byteCount, size: 256 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    (context.raw(output) + range.lowerBound).copyMemory(
      from: context.raw(input) + range.lowerBound, byteCount: range.count)
  }
}

/// Rows of bytes copied from one matrix into another.
final class CopyRowsStep: Step {
  let input: Buffer
  let inputOffset: Int
  let inputRow: Int
  let output: Buffer
  let outputOffset: Int
  let outputRow: Int
  let byteCount: Int
  let rows: Pieces

  init(
    input: Buffer, inputOffset: Int, inputRow: Int, output: Buffer, outputOffset: Int,
    outputRow: Int, byteCount: Int, rows: Int
  ) {
    self.input = input
    self.inputOffset = inputOffset
    self.inputRow = inputRow
    self.output = output
    self.outputOffset = outputOffset
    self.outputRow = outputRow
    self.byteCount = byteCount
    self.rows = Pieces(rows, size: max(1, (128 << 10) / max(byteCount, 1)))
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let source = context.raw(input) + inputOffset
    let target = context.raw(output) + outputOffset
    for row in rows.range(piece) {
      memcpy(target + row * outputRow, source + row * inputRow, byteCount)
    }
  }
}
