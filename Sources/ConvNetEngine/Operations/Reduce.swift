import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// A reduction over some axes, brought into the form [outer][reduced][inner].
  mutating func emitReduce(_ reduce: Reduce) throws {
    let type = graph.type(of: node.inputs[0])
    let unit = type.elementType.byteCount
    let shape = shape(node.inputs[0])
    let axes = try reduce.normalizedAxes(of: type)
    var x = input(0)
    var form = (outer: shape.count, reduced: 1, inner: 1)
    if let first = axes.first, let last = axes.last {
      if last - first + 1 == axes.count {
        form.outer = shape.dimensions[..<first].reduce(1, *)
        form.reduced = shape.dimensions[first...last].reduce(1, *)
        form.inner = shape.dimensions[(last + 1)...].reduce(1, *)
      } else {
        // Axes that lie apart are brought to the end first.
        let kept = (0..<shape.rank).filter { !axes.contains($0) }
        x = emitTransposed(x, shape: shape, Transpose(kept + axes), byteCount: unit)
        form.outer = kept.reduce(1) { $0 * shape[$1] }
        form.reduced = axes.reduce(1) { $0 * shape[$1] }
      }
    }
    let y = try output()
    guard type.elementType == .float32 else {
      return emit(
        DoubleReduceStep(
          reduce.reduction, outer: form.outer, reduced: form.reduced, inner: form.inner, x: x, y: y),
        reads: [x], writes: [y])
    }
    let partCount = ReduceStep.parts(
      outer: form.outer, reduced: form.reduced, inner: form.inner
    ).count
    let parts = temporary(doubles: form.outer * partCount * form.inner)
    emit(
      ReduceStep(
        reduce.reduction, outer: form.outer, reduced: form.reduced, inner: form.inner, x: x,
        target: parts),
      reads: [x], writes: [parts])
    emit(
      MergeReductionStep(
        reduce.reduction, outer: form.outer, parts: partCount, reduced: form.reduced,
        inner: form.inner, input: parts, output: y),
      reads: [parts], writes: [y], suffix: "merge")
  }

  /// The adjoint of a sum or a mean: every element gets its share.
  mutating func emitExpand(_ reduce: Reduce) throws {
    let type = graph.type(of: node.outputs[0])
    guard type.elementType == .float32 else {
      throw unsupported("the expansion of a \(reduce.reduction.rawValue) of \(type)")
    }
    let result = shape(node.outputs[0])
    let axes = try reduce.normalizedAxes(of: type)
    let reduced = Shape(
      result.dimensions.enumerated().map { axes.contains($0.offset) ? 1 : $0.element })
    let count = axes.reduce(1) { $0 * result[$1] }
    let x = input(0)
    let y = try output()
    emit(
      BroadcastStep(
        .multiply, loops: BroadcastLoops(result: result, a: reduced, b: []), a: x, b: nil,
        scalar: reduce.reduction == .mean ? Float(1 / Double(count)) : 1, y: y),
      reads: [x], writes: [y])
  }
}

/// Partial reductions of [outer][reduced][inner], in Double: one for every outer index and every range of
/// the reduced axis.
final class ReduceStep: Step {
  let reduction: Reduction
  let outer: Int
  let inner: Int
  let parts: Pieces
  let x: Buffer
  let target: Buffer

  init(
    _ reduction: Reduction, outer: Int, reduced: Int, inner: Int, x: Buffer, target: Buffer
  ) {
    self.reduction = reduction
    self.outer = outer
    self.inner = inner
    self.x = x
    self.target = target
    parts = Self.parts(outer: outer, reduced: reduced, inner: inner)
  }

  /// Many outer indices are work enough; few are cut into ranges of about 128 KiB.
  static func parts(outer: Int, reduced: Int, inner: Int) -> Pieces {
    Pieces(reduced, size: outer >= 16 ? max(reduced, 1) : max(128, (32 << 10) / max(inner, 1)))
  }

  /// Outer indices are taken in groups, so that short reductions do not become tiny pieces.
  private var groups: Pieces {
    Pieces(outer, size: max(1, (32 << 10) / max(parts.size * inner, 1)))
  }

  var pieces: Int { groups.count * parts.count }
  var scratchByteCount: Int { inner * 4 }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = parts.range(piece % parts.count)
    for index in groups.range(piece / parts.count) {
      let x = context.floats(x) + (index * parts.total + range.lowerBound) * inner
      let result =
        context.doubles(target) + (index * parts.count + piece % parts.count) * inner
      switch reduction {
      case .sum, .mean:
        if inner == 1 {
          result[0] = cnl_sum(x, range.count)
        } else {
          cnl_sum_rows(result, x, inner, range.count, inner)
        }
      case .maximum, .minimum:
        let isMaximum: Int32 = reduction == .maximum ? 1 : 0
        if inner == 1 {
          result[0] = Double(cnl_extreme(x, range.count, isMaximum))
        } else {
          let row = context.scratch(lane: lane)
          cnl_extreme_rows(row, x, inner, range.count, inner, isMaximum)
          cnl_to_double(result, row, inner)
        }
      }
    }
  }
}

/// Merges partial reductions in order and rounds once.
final class MergeReductionStep: Step {
  let reduction: Reduction
  let parts: Int
  let inner: Int
  let divisor: Double
  let input: Buffer
  let output: Buffer
  let outer: Pieces

  init(
    _ reduction: Reduction, outer: Int, parts: Int, reduced: Int, inner: Int, input: Buffer,
    output: Buffer
  ) {
    self.reduction = reduction
    self.parts = parts
    self.inner = inner
    self.input = input
    self.output = output
    divisor = reduction == .mean ? Double(reduced) : 1
    self.outer = Pieces(outer, size: max(1, (16 << 10) / max(inner * parts, 1)))
  }

  var pieces: Int { outer.count }

  func run(piece: Int, lane: Int, in context: Context) {
    for index in outer.range(piece) {
      let values = context.doubles(input) + index * parts * inner
      let result = context.floats(output) + index * inner
      for i in 0..<inner {
        var total = values[i]
        for part in 1..<max(parts, 1) {
          let value = values[part * inner + i]
          switch reduction {
          case .sum, .mean: total += value
          case .maximum: total = total > value || total.isNaN ? total : value
          case .minimum: total = total < value || total.isNaN ? total : value
          }
        }
        result[i] = Float(total / divisor)
      }
    }
  }
}

/// A reduction of [outer][reduced][inner] in Double, in plain loops.
final class DoubleReduceStep: Step {
  let reduction: Reduction
  let reduced: Int
  let inner: Int
  let x: Buffer
  let y: Buffer
  let outer: Pieces

  init(_ reduction: Reduction, outer: Int, reduced: Int, inner: Int, x: Buffer, y: Buffer) {
    self.reduction = reduction
    self.reduced = reduced
    self.inner = inner
    self.x = x
    self.y = y
    self.outer = Pieces(outer, size: max(1, (4 << 10) / max(reduced * inner, 1)))
  }

  var pieces: Int { outer.count }

  func run(piece: Int, lane: Int, in context: Context) {
    for index in outer.range(piece) {
      let x = context.doubles(x) + index * reduced * inner
      for i in 0..<inner {
        var total = reduced > 0 ? x[i] : 0
        for r in 1..<max(reduced, 1) {
          let value = x[r * inner + i]
          switch reduction {
          case .sum, .mean: total += value
          case .maximum: total = total > value || total.isNaN ? total : value
          case .minimum: total = total < value || total.isNaN ? total : value
          }
        }
        context.doubles(y)[index * inner + i] =
          reduction == .mean ? total / Double(reduced) : total
      }
    }
  }
}
