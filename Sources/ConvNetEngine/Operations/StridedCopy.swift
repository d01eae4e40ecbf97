import CConvNetLoops
import ConvNetGraph
import Glibc

/// y[Σ i·yStride] = x[Σ i·xStride] for all positions i.
///
/// That is what transposes, slices and stretched tensors come down to. Neighbouring axes are merged
/// where both sides step through them evenly.
struct StridedLoops: Sendable {
  struct Axis: Sendable {
    var extent: Int
    var x: Int
    var y: Int
  }

  /// How the innermost two axes are copied.
  enum Form: Sendable {
    /// Runs of neighbours on both sides.
    case runs
    /// One element for a run of y.
    case fills
    /// Rows that are neighbours in x, columns that are neighbours in y.
    case transposes
    case elements
  }

  /// Outer axes, the slowest first.
  let outer: [Axis]
  let rows: Axis
  let columns: Axis
  let form: Form
  /// Combinations of outer indices.
  let outerCount: Int
  /// Where the first elements are.
  let xStart: Int
  let yStart: Int

  init(extents: [Int], x: [Int], y: [Int], xStart: Int = 0, yStart: Int = 0) {
    var axes: [Axis] = []
    for (extent, (x, y)) in zip(extents, zip(x, y)) where extent != 1 {
      if let last = axes.last, last.x == x * extent, last.y == y * extent {
        axes[axes.count - 1] = Axis(extent: last.extent * extent, x: x, y: y)
      } else {
        axes.append(Axis(extent: extent, x: x, y: y))
      }
    }
    let unit = Axis(extent: 1, x: 1, y: 1)
    columns = axes.popLast() ?? unit
    if columns.y == 1, columns.x == 1 {
      form = .runs
    } else if columns.y == 1, columns.x == 0 {
      form = .fills
    } else if let index = axes.lastIndex(where: { $0.x == 1 }) {
      // The axis along x becomes the rows, wherever it stands.
      axes.append(axes.remove(at: index))
      form = columns.y == 1 ? .transposes : .elements
    } else {
      form = .elements
    }
    rows = axes.popLast() ?? Axis(extent: 1, x: 0, y: 0)
    outer = axes
    outerCount = axes.reduce(1) { $0 * $1.extent }
    (self.xStart, self.yStart) = (xStart, yStart)
  }

  /// Where one outer index begins.
  func offsets(_ index: Int) -> (x: Int, y: Int) {
    var (rest, x, y) = (index, xStart, yStart)
    var level = outer.count
    while level > 0 {
      level -= 1
      let axis = outer[level]
      let position = rest % axis.extent
      rest /= axis.extent
      x += position * axis.x
      y += position * axis.y
    }
    return (x, y)
  }
}

extension PlanCompiler {
  /// Emits a copy of elements of `unit` bytes.
  mutating func emitCopy(
    _ loops: StridedLoops, x: Buffer, y: Buffer, unit: Int, suffix: String = ""
  ) {
    emit(
      StridedCopyStep(loops, x: x, y: y, unit: unit), reads: [x], writes: [y], suffix: suffix)
  }
}

/// A strided copy in tiles of about 32 Ki elements.
final class StridedCopyStep: Step {
  let loops: StridedLoops
  let x: Buffer
  let y: Buffer
  let unit: Int
  let outer: Pieces
  let rows: Pieces
  let columns: Pieces

  init(_ loops: StridedLoops, x: Buffer, y: Buffer, unit: Int) {
    self.loops = loops
    self.x = x
    self.y = y
    self.unit = unit
    let tile = 32 << 10
    let (rowCount, columnCount) = (max(loops.rows.extent, 1), max(loops.columns.extent, 1))
    // Transposes read and write whole cache lines of a tile that the second-level cache holds.
    let isCrossing = loops.form == .transposes || loops.form == .elements
    let width = isCrossing ? max(512, tile / min(rowCount, tile)) : tile
    columns = Pieces(columnCount, size: width, unit: 16)
    rows = Pieces(rowCount, size: max(1, tile / min(columnCount, width)), unit: isCrossing ? 16 : 1)
    outer = Pieces(
      loops.rows.extent * loops.columns.extent == 0 ? 0 : loops.outerCount,
      size: max(1, tile / (rowCount * columnCount)))
  }

  var pieces: Int { outer.count * rows.count * columns.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let columns = columns.range(piece % self.columns.count)
    let rows = rows.range(piece / self.columns.count % self.rows.count)
    let (row, column) = (loops.rows, loops.columns)
    for index in outer.range(piece / (self.columns.count * self.rows.count)) {
      let start = loops.offsets(index)
      let x =
        context.raw(x)
        + (start.x + rows.lowerBound * row.x + columns.lowerBound * column.x) * unit
      let y =
        context.raw(y)
        + (start.y + rows.lowerBound * row.y + columns.lowerBound * column.y) * unit
      switch unit {
      case 1: copy(UInt8.self, y, x, rows.count, columns.count)
      case 4: copy(UInt32.self, y, x, rows.count, columns.count)
      default: copy(UInt64.self, y, x, rows.count, columns.count)
      }
    }
  }

  private func copy<Bits: BitwiseCopyable>(
    _ type: Bits.Type, _ y: UnsafeMutableRawPointer, _ x: UnsafeMutableRawPointer,
    _ rows: Int, _ columns: Int
  ) {
    let (row, column) = (loops.rows, loops.columns)
    let (to, from) = (y.assumingMemoryBound(to: type), x.assumingMemoryBound(to: type))
    switch loops.form {
    case .runs:
      for r in 0..<rows { memcpy(to + r * row.y, from + r * row.x, columns * unit) }
    case .fills:
      for r in 0..<rows {
        (to + r * row.y).update(repeating: from[r * row.x], count: columns)
      }
    case .transposes where unit == 4:
      cnl_transpose(
        y.assumingMemoryBound(to: Float.self), row.y, x.assumingMemoryBound(to: Float.self),
        column.x, columns, rows)
    case .transposes, .elements:
      // 64 columns at a time, whose cache lines of x serve the next rows, too.
      for first in stride(from: 0, to: columns, by: 64) {
        for r in 0..<rows {
          for c in first..<min(first + 64, columns) {
            to[r * row.y + c * column.y] = from[r * row.x + c * column.x]
          }
        }
      }
    }
  }
}
