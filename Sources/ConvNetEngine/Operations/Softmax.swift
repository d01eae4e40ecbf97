import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  mutating func emitSoftmax() throws {
    let shape = shape(node.inputs[0])
    let columns = shape[shape.rank - 1]
    let x = input(0)
    let y = try output()
    emit(
      SoftmaxStep(x: x, y: y, rows: columns == 0 ? 0 : shape.count / columns, columns: columns),
      reads: [x], writes: [y])
  }

  mutating func emitSoftmaxCrossEntropy(_ loss: SoftmaxCrossEntropy) throws {
    let shape = shape(node.inputs[0])
    let (x, labels) = (input(0), input(1))
    let y = try output()
    emit(
      CrossEntropyStep(
        gradient: nil, x: x, labels: labels, smoothing: Float(loss.labelSmoothing), y: y,
        rows: shape[0], columns: shape[1]),
      reads: [x, labels], writes: [y])
  }

  mutating func emitSoftmaxCrossEntropyGradient(_ loss: SoftmaxCrossEntropy) throws {
    let shape = shape(node.inputs[1])
    let (gradient, x, labels) = (input(0), input(1), input(2))
    let y = try output()
    emit(
      CrossEntropyStep(
        gradient: gradient, x: x, labels: labels, smoothing: Float(loss.labelSmoothing), y: y,
        rows: shape[0], columns: shape[1]),
      reads: [gradient, x, labels], writes: [y])
  }

  mutating func emitDropout(_ dropout: Dropout) throws {
    let count = shape(node.inputs[0]).count
    let (x, key) = (input(0), input(1))
    let y = try output()
    emit(DropoutStep(dropout, x: x, key: key, y: y, count: count), reads: [x, key], writes: [y])
  }
}

/// Softmax of each row.
final class SoftmaxStep: Step {
  let x: Buffer
  let y: Buffer
  let rows: Pieces
  let columns: Int

  init(x: Buffer, y: Buffer, rows: Int, columns: Int) {
    self.x = x
    self.y = y
    self.columns = columns
    self.rows = Pieces(rows, size: max(1, (8 << 10) / max(columns, 1)))
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let offset = range.lowerBound * columns
    cnl_softmax(context.floats(y) + offset, context.floats(x) + offset, range.count, columns)
  }
}

/// The loss of each row, or its gradient.
final class CrossEntropyStep: Step {
  let gradient: Buffer?
  let x: Buffer
  let labels: Buffer
  let smoothing: Float
  let y: Buffer
  let rows: Pieces
  let columns: Int

  init(
    gradient: Buffer?, x: Buffer, labels: Buffer, smoothing: Float, y: Buffer, rows: Int,
    columns: Int
  ) {
    self.gradient = gradient
    self.x = x
    self.labels = labels
    self.smoothing = smoothing
    self.y = y
    self.columns = columns
    self.rows = Pieces(rows, size: max(1, (8 << 10) / max(columns, 1)))
  }

  var pieces: Int { rows.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    let (row, offset) = (range.lowerBound, range.lowerBound * columns)
    let x = context.floats(x) + offset
    let labels = context.integers(labels) + row
    if let gradient {
      cnl_cross_entropy_gradient(
        context.floats(y) + offset, context.floats(gradient) + row, x, labels, smoothing,
        range.count, columns)
    } else {
      cnl_cross_entropy(context.floats(y) + row, x, labels, smoothing, range.count, columns)
    }
  }
}

/// Elements dropped by the counter-based generator.
final class DropoutStep: Step {
  let dropout: Dropout
  let x: Buffer
  let key: Buffer
  let y: Buffer
  let range: Pieces

  init(_ dropout: Dropout, x: Buffer, key: Buffer, y: Buffer, count: Int) {
    self.dropout = dropout
    self.x = x
    self.key = key
    self.y = y
    range = Pieces(count, size: 32 << 10)
  }

  var pieces: Int { range.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = range.range(piece)
    let key = context.integers(key)
    cnl_dropout(
      context.floats(y) + range.lowerBound, context.floats(x) + range.lowerBound,
      UInt64(bitPattern: key[0]), dropout.stream(step: key[1]), UInt64(range.lowerBound),
      dropout.threshold, dropout.scale, range.count)
  }
}
