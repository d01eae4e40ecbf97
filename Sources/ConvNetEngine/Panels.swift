import CConvNetLoops
import ConvNetGraph
import OpenBLAS

/// What is done to a block of a result while it is in a cache: bias, residual, clamp.
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

  /// C[rows × columns] = A·B, or C += A·B, of at most 64 columns, with the same bits for a row whatever
  /// stands beside it.
  ///
  /// OpenBLAS 0.3.21's small-matrix kernels of SkylakeX and Cooperlake sum every element in the order of
  /// k with fused products, and so does our loop: both give the same bits (found by trying all sizes), and
  /// the loop is at least as fast for few rows. But where 1 to 8 columns are left over from vectors of 16,
  /// those kernels take a buffer from malloc and add up a row differently in blocks of 4 rows and in
  /// fewer: there the loop computes all rows. It also does where the rows that come `next` are to be
  /// fetched from memory meanwhile.
  func multiply(
    rows: Int, columns: Int, depth: Int, a: UnsafePointer<Float>, lda: Int,
    next: UnsafePointer<Float>? = nil, b: UnsafePointer<Float>, ldb: Int, accumulates: Bool,
    c: UnsafeMutablePointer<Float>, ldc: Int
  ) {
    if rows <= 16 || depth == 0
      || (hasSmallMatrixKernel && (next != nil || 1...8 ~= columns % 16))
    {
      cnl_panel_product(
        c, ldc, a, lda, b, ldb, rows, depth, columns, accumulates ? 1 : 0, next ?? a)
    } else {
      UncheckedBLAS.sgemm(
        m: rows, n: columns, k: depth, a: a, lda: lda, b: b, ldb: ldb, beta: accumulates ? 1 : 0,
        c: c, ldc: ldc)
    }
  }

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
struct PanelColumns: Sendable {
  let total: Int

  init(_ total: Int) { self.total = total }

  var count: Int { (total + PanelKernels.width - 1) / PanelKernels.width }

  /// The columns of a panel.
  func range(_ panel: Int) -> Range<Int> {
    let start = panel * PanelKernels.width
    return start..<min(start + PanelKernels.width, total)
  }

  /// The columns of a panel among those of a wider matrix.
  func range(_ panel: Int, from first: Int) -> Range<Int> {
    let columns = range(panel)
    return first + columns.lowerBound..<first + columns.upperBound
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
  ///   - following: how many rows of `a` lie behind them, if it is read from memory rather than from a
  ///     cache: then each block asks for the next one, once.
  ///   - a: the left matrix; `lda` floats from row to row.
  ///   - b: the packed right matrix.
  ///   - c: the result from its first column; `ldc` floats from row to row.
  ///   - bias: `columns` floats, zeros where there is no bias.
  ///   - residual: added to the result, laid out as `c`; nil for none.
  func run(
    panels: Range<Int>, rows: Int, following: Int? = nil, a: UnsafePointer<Float>, lda: Int,
    b: UnsafePointer<Float>, c: UnsafeMutablePointer<Float>, ldc: Int, bias: UnsafePointer<Float>,
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
        let asks = panel == panels.lowerBound && following.map { row + count < rows + $0 } ?? false
        var k = 0
        repeat {
          let from = a + row * lda + k
          kernels.multiply(
            rows: count, columns: width, depth: min(part, depth - k), a: from, lda: lda,
            next: asks ? from + count * lda : nil, b: packed + k * width, ldb: width,
            accumulates: k > 0, c: target, ldc: ldc)
          k += part
        } while k < depth
        finish(
          column..<column + width, rows: count, c: c + row * ldc, ldc: ldc, bias: bias,
          residual: residual.map { $0 + row * ldc })
        row += count
      }
    }
  }

  /// Does what comes after the sums of some rows: bias, residual, clamp.
  ///
  /// - Parameters:
  ///   - columns: which columns of the result.
  ///   - rows: how many rows.
  ///   - c: the result from its first column; `ldc` floats from row to row.
  ///   - bias: `columns` floats.
  ///   - residual: added, laid out as `c`; nil for none.
  func finish(
    _ columns: Range<Int>, rows: Int, c: UnsafeMutablePointer<Float>, ldc: Int,
    bias: UnsafePointer<Float>, residual: UnsafePointer<Float>?
  ) {
    guard finishes else { return }
    let (column, width) = (columns.lowerBound, columns.count)
    if let residual {
      cnl_bias_add_clamp(
        c + column, ldc, bias + column, residual + column, ldc, low, high, rows, width)
    } else {
      cnl_bias_clamp(c + column, ldc, bias + column, low, high, rows, width)
    }
  }
}

/// Packs matrices [depth][columns] into panels, in pieces of one panel.
final class PackStep: Step {
  let source: Buffer
  let target: Buffer
  let depth: Int
  let columns: Int
  /// Whether the source is stored as [columns][depth].
  let isTransposed: Bool
  let matrices: Int
  private let panels: PanelColumns

  init(
    source: Buffer, target: Buffer, depth: Int, columns: Int, isTransposed: Bool, matrices: Int
  ) {
    self.source = source
    self.target = target
    self.depth = depth
    self.columns = columns
    self.isTransposed = isTransposed
    self.matrices = matrices
    panels = PanelColumns(columns)
  }

  var pieces: Int { matrices * panels.count }

  func run(piece: Int, lane: Int, in context: Context) {
    guard depth > 0, panels.count > 0 else { return }
    let range = panels.range(piece % panels.count)
    let (column, width) = (range.lowerBound, range.count)
    let matrix = piece / panels.count * depth * columns
    let packed = context.floats(target) + matrix + column * depth
    let source = context.floats(source) + matrix
    if isTransposed {
      cnl_pack_panels_transposed(
        packed, source + column * depth, depth, depth, width)
    } else {
      cnl_pack_panels(packed, source + column, columns, depth, width)
    }
  }
}
