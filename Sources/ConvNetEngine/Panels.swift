import CConvNetLoops
import ConvNetGraph
import OpenBLAS

/// What is done to a block of a result while it is in the first-level cache: bias, residual, clamp.
struct Epilogue {
  /// The operand, if any, that is added elementwise, by its index among the node's operands.
  var residual: Int?
  var low: Float
  var high: Float

  static let none = Epilogue(residual: nil, low: -.infinity, high: .infinity)

  /// Whether values are clamped.
  var clamps: Bool { low > -.infinity || high < .infinity }

  private init(residual: Int?, low: Float, high: Float) {
    self.residual = residual
    self.low = low
    self.high = high
  }

  /// The epilogue of a fused node, or nil where it is more than: perhaps + operand, perhaps one clamp.
  init?(_ fused: Fused, firstOperand: Int) {
    self = .none
    var steps = fused.epilogue[...]
    if case .combine(.add) = steps.first {
      residual = firstOperand
      steps.removeFirst()
    }
    if case .map(let function) = steps.first, let bounds = function.clamp {
      (low, high) = bounds
      steps.removeFirst()
    }
    guard steps.isEmpty else { return nil }
  }
}

extension UnaryFunction {
  /// The bounds of a function that only clamps.
  var clamp: (low: Float, high: Float)? {
    switch self {
    case .relu: (0, .infinity)
    case .relu6: (0, 6)
    case .clip(let low, let high): (Float(low), Float(high))
    default: nil
    }
  }
}

/// Block sizes of matrix multiplication for the kernel in use.
///
/// OpenBLAS's SkylakeX kernels have a path for small matrices that packs nothing; blocks are cut so that
/// every call takes it (M·N·K ≤ 10⁶). Other kernels pack whatever they get, so their calls are larger.
/// Block sizes are functions of K and the panel's width alone: neither the number of rows nor that of
/// lanes changes the order in which a sum is taken.
struct PanelKernels: Sendable {
  let hasSmallMatrixKernel: Bool

  /// Columns of one packed panel.
  static let width = 64

  static let current = PanelKernels(
    hasSmallMatrixKernel: BLAS.bootstrap().hasSmallMatrixKernel)

  /// Rows of one call.
  func rows(depth: Int) -> Int {
    guard hasSmallMatrixKernel else { return 384 }
    return depth <= 160 ? 96 : depth <= 256 ? 60 : 48
  }

  /// Depth of one call: K cut into equal parts, each a multiple of 16 but the last.
  func depth(_ depth: Int, columns: Int) -> Int {
    guard hasSmallMatrixKernel, depth > 0 else { return max(depth, 1) }
    let limit = min(304, 1_000_000 / (rows(depth: depth) * columns) / 16 * 16)
    guard depth > limit else { return depth }
    let parts = (depth + limit - 1) / limit
    return ((depth + parts - 1) / parts + 15) / 16 * 16
  }
}

/// The columns of a packed matrix, cut into panels of 64 and what is left.
///
/// OpenBLAS 0.3.21's small-matrix kernels of SkylakeX and Cooperlake add up a row differently in blocks
/// of 4 rows and in fewer where 1, 2, 3, 5, 6 or 7 columns are left over from vectors of 16 (found by
/// trying all sizes). A row must have the same bits whatever stands beside it, so the last cut moves 8
/// columns to the left there. Fewer than 8 such columns take a loop of our own.
struct PanelColumns: Sendable {
  let total: Int
  let count: Int
  private let lastStart: Int

  init(_ total: Int) {
    self.total = total
    let width = PanelKernels.width
    let (full, left) = (total / width, total % width)
    if Self.isTail(total), total > 8 {
      let vectors = total > width ? full * width : total - total % 16
      (count, lastStart) = (total > width ? full + 1 : 2, vectors - 8)
    } else {
      count = left > 0 ? full + 1 : full
      lastStart = max(count - 1, 0) * width
    }
  }

  /// Whether so many columns leave a tail that some kernels add up differently row by row.
  private static func isTail(_ total: Int) -> Bool {
    let tail = total % 16
    return tail > 0 && tail < 8 && tail != 4
  }

  /// Whether the columns are too few to be cut so that rows don't depend on their neighbours.
  var isNarrow: Bool { total < 8 && Self.isTail(total) }

  /// The columns of a panel.
  func range(_ panel: Int) -> Range<Int> {
    let start = panel == count - 1 ? lastStart : panel * PanelKernels.width
    if panel == count - 1 { return start..<total }
    return start..<(panel == count - 2 ? lastStart : start + PanelKernels.width)
  }

  /// The columns of some panels.
  func range(_ panels: Range<Int>) -> Range<Int> {
    guard !panels.isEmpty else { return 0..<0 }
    return range(panels.lowerBound).lowerBound..<range(panels.upperBound - 1).upperBound
  }
}

/// A matrix multiplied by packed panels: C[rows × columns] = A[rows × depth] · B, with an epilogue.
///
/// B is packed as panels of [depth][width], cut as `PanelColumns` says.
struct PanelProduct: Sendable {
  let depth: Int
  let columns: Int
  let panels: PanelColumns
  let kernels: PanelKernels
  let low: Float
  let high: Float
  /// Whether there is anything to do after a block.
  let finishes: Bool

  init(depth: Int, columns: Int, kernels: PanelKernels, epilogue: Epilogue, hasBias: Bool) {
    self.depth = depth
    self.columns = columns
    panels = PanelColumns(columns)
    self.kernels = kernels
    low = epilogue.low
    high = epilogue.high
    finishes = hasBias || epilogue.residual != nil || epilogue.clamps
  }

  var panelCount: Int { panels.count }

  /// Floats of the packed matrix.
  var packedCount: Int { depth * columns }

  /// Computes some rows of some panels.
  ///
  /// - Parameters:
  ///   - panels: which panels.
  ///   - rows: how many rows `a`, `c` and `residual` have.
  ///   - a: the left matrix; `lda` floats from row to row.
  ///   - b: the packed right matrix.
  ///   - c: the result from its first column; `ldc` floats from row to row.
  ///   - bias: `columns` floats, zeros where there is no bias.
  ///   - residual: added to the result, laid out as `c`; nil for none.
  func run(
    panels: Range<Int>, rows: Int, a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>,
    c: UnsafeMutablePointer<Float>, ldc: Int, bias: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?
  ) {
    let block = kernels.rows(depth: depth)
    for panel in panels {
      let (column, width) = (self.panels.range(panel).lowerBound, self.panels.range(panel).count)
      let part = kernels.depth(depth, columns: width)
      let packed = b + column * depth
      var row = 0
      while row < rows {
        let count = min(block, rows - row)
        let target = c + row * ldc + column
        if depth == 0 || self.panels.isNarrow {
          cnl_narrow_product(target, ldc, a + row * lda, lda, packed, count, depth, width)
        } else {
          var k = 0
          while k < depth {
            UncheckedBLAS.sgemm(
              m: count, n: width, k: min(part, depth - k), a: a + row * lda + k, lda: lda,
              b: packed + k * width, ldb: width, beta: k == 0 ? 0 : 1, c: target, ldc: ldc)
            k += part
          }
        }
        if finishes {
          if let residual {
            cnl_bias_add_clamp(
              target, ldc, bias + column, residual + row * ldc + column, ldc, low, high, count,
              width)
          } else {
            cnl_bias_clamp(target, ldc, bias + column, low, high, count, width)
          }
        }
        row += count
      }
    }
  }
}

/// Packs a matrix [depth][columns] into panels, in pieces of one panel.
final class PackStep: Step {
  let source: Buffer
  let target: Buffer
  let depth: Int
  let columns: Int
  /// Whether the source is stored as [columns][depth].
  let isTransposed: Bool
  private let panels: PanelColumns

  init(source: Buffer, target: Buffer, depth: Int, columns: Int, isTransposed: Bool) {
    self.source = source
    self.target = target
    self.depth = depth
    self.columns = columns
    self.isTransposed = isTransposed
    panels = PanelColumns(columns)
  }

  var pieces: Int { panels.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let (column, width) = (panels.range(piece).lowerBound, panels.range(piece).count)
    guard depth > 0 else { return }
    let packed = context.floats(target) + column * depth
    if isTransposed {
      cnl_pack_panels_transposed(
        packed, context.floats(source) + column * depth, depth, depth, width)
    } else {
      cnl_pack_panels(packed, context.floats(source) + column, columns, depth, width)
    }
  }
}
