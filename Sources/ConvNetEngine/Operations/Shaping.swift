import CConvNetLoops
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
    let type = graph.type(of: node.inputs[0])
    let axis = try type.normalizedAxis(slice.axis)
    let unit = type.elementType.byteCount
    let x = input(0)
    let y = try output()
    let (from, to) = (
      rowBytes(node.inputs[0], from: axis, unit: unit),
      rowBytes(node.outputs[0], from: axis, unit: unit)
    )
    let step = slice.end > slice.start ? to / (slice.end - slice.start) : 0
    emit(
      CopyRowsStep(
        input: x, inputOffset: slice.start * step, inputRow: from, output: y, outputOffset: 0,
        outputRow: to, byteCount: to, rows: outer(node.inputs[0], to: axis)),
      reads: [x], writes: [y])
  }

  mutating func emitSliceGradient(_ slice: Slice) throws {
    let type = graph.type(of: node.outputs[0])
    guard type.elementType == .float32 else {
      throw unsupported("the gradient of a slice of \(type)")
    }
    let axis = try type.normalizedAxis(slice.axis)
    let dy = input(0)
    let dx = try output()
    let (from, to) = (
      rowBytes(node.inputs[0], from: axis, unit: 4), rowBytes(node.outputs[0], from: axis, unit: 4)
    )
    let step = slice.end > slice.start ? from / (slice.end - slice.start) : 0
    emit(
      FillStep(output: dx, count: shape(node.outputs[0]).count, value: 0), reads: [], writes: [dx],
      suffix: "zero")
    emit(
      CopyRowsStep(
        input: dy, inputOffset: 0, inputRow: from, output: dx, outputOffset: slice.start * step,
        outputRow: to, byteCount: from, rows: outer(node.outputs[0], to: axis)),
      reads: [dy], writes: [dx])
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
    emit(
      TransposeStep(x: x, shape: shape, permutation: transpose.permutation, unit: byteCount, y: y),
      reads: [x], writes: [y], suffix: "transpose")
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

/// Axes in another order.
///
/// Axes that stay together are merged first; what is then a matrix transposed in place of its last two
/// axes, as between channels first and channels last, goes through the blocked vector loop.
final class TransposeStep: Step {
  let x: Buffer
  let y: Buffer
  let unit: Int
  /// The result's extents and the operand's strides along them, in elements.
  let extents: [Int]
  let strides: [Int]
  let rows: Pieces
  /// Matrices of [rows][columns] to be transposed one by one, where that is all there is.
  let matrix: (count: Int, rows: Int, columns: Int)?

  init(x: Buffer, shape: Shape, permutation: [Int], unit: Int, y: Buffer) {
    self.x = x
    self.y = y
    self.unit = unit
    let inputStrides = shape.strides
    var axes: [(extent: Int, stride: Int)] = []
    for axis in permutation where shape[axis] != 1 {
      let (extent, stride) = (shape[axis], inputStrides[axis])
      if let last = axes.last, last.stride == stride * extent {
        axes[axes.count - 1] = (last.extent * extent, stride)
      } else {
        axes.append((extent, stride))
      }
    }
    if axes.isEmpty { axes = [(1, 1)] }
    extents = axes.map(\.extent)
    strides = axes.map(\.stride)
    let columns = extents[extents.count - 1]
    rows = Pieces(
      columns == 0 ? 0 : shape.count / columns, size: max(1, (32 << 10) / max(columns, 1)))
    matrix = Self.matrix(axes, unit: unit)
  }

  private static func matrix(
    _ axes: [(extent: Int, stride: Int)], unit: Int
  ) -> (count: Int, rows: Int, columns: Int)? {
    guard unit == 4, (2...3).contains(axes.count) else { return nil }
    let (columns, rows) = (axes[axes.count - 2], axes[axes.count - 1])
    guard columns.stride == 1, rows.stride == columns.extent else { return nil }
    if axes.count == 3, axes[0].stride != rows.extent * columns.extent { return nil }
    return (axes.count == 3 ? axes[0].extent : 1, rows.extent, columns.extent)
  }

  var pieces: Int { matrix?.count ?? rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    if let matrix {
      let offset = piece * matrix.rows * matrix.columns
      cnl_transpose(
        context.floats(y) + offset, matrix.rows, context.floats(x) + offset, matrix.columns,
        matrix.rows, matrix.columns)
      return
    }
    let last = extents.count - 1
    let (columns, step) = (extents[last], strides[last] * unit)
    for row in rows.range(piece) {
      var (rest, start) = (row, 0)
      for axis in Swift.stride(from: last - 1, through: 0, by: -1) {
        start += rest % extents[axis] * strides[axis]
        rest /= extents[axis]
      }
      var source = context.raw(x) + start * unit
      var target = context.raw(y) + row * columns * unit
      for _ in 0..<columns {
        target.copyMemory(from: source, byteCount: unit)
        source += step
        target += unit
      }
    }
  }
}
