import CConvNetLoops
import ConvNetGraph
import ConvNetLAPACK
import OpenBLAS

/// (x − μ)ᵀ·(x − μ), or (x − μ | 1)ᵀ·dy, of each range of rows and group of channels: `dgemm` over blocks
/// of rows that are centred and widened in scratch.
///
/// In Double, since whitening divides by the smallest eigenvalues, which float sums would drown.
final class CrossMomentsStep: Step {
  let groups: ChannelGroups
  let x: Buffer
  /// μ, float64 `[C]`.
  let mean: Buffer
  /// dy; nil for the co-moments of x.
  let other: Buffer?
  let parts: Buffer

  init(_ groups: ChannelGroups, x: Buffer, mean: Buffer, other: Buffer?, parts: Buffer) {
    self.groups = groups
    self.x = x
    self.mean = mean
    self.other = other
    self.parts = parts
  }

  /// Columns of the left factor: with dy also one of ones, whose products are Σdy.
  private var leftColumns: Int { groups.size + (other == nil ? 0 : 1) }

  var pieces: Int { groups.pieces.count * groups.count }
  var scratchByteCount: Int { ChannelLayout.blockRows * (2 * groups.size + 1) * 8 }

  func run(piece: Int, lane: Int, in context: Context) {
    let (g, columns) = (groups.size, leftColumns)
    let range = groups.pieces.range(piece / groups.count)
    let first = piece % groups.count * g
    let part = context.doubles(parts) + piece * columns * g
    part.update(repeating: 0, count: columns * g)
    let left = context.doubleScratch(lane: lane)
    let right = left + ChannelLayout.blockRows * (g + 1)
    let mean = context.doubles(mean) + first
    var row = range.lowerBound
    while row < range.upperBound {
      let count = min(ChannelLayout.blockRows, range.upperBound - row)
      let start = row * groups.channels + first
      fill(left, from: context.floats(x) + start, mean, count)
      if let other { widen(right, from: context.floats(other) + start, count) }
      UncheckedBLAS.dgemm(
        transposeA: true, transposeB: false, m: columns, n: g, k: count, a: left, lda: columns,
        b: other == nil ? left : right, ldb: g, beta: 1, c: part, ldc: g)
      row += count
    }
  }

  private func fill(
    _ left: UnsafeMutablePointer<Double>, from x: UnsafePointer<Float>,
    _ mean: UnsafePointer<Double>, _ rows: Int
  ) {
    let (g, columns) = (groups.size, leftColumns)
    for i in 0..<rows {
      let (source, target) = (x + i * groups.channels, left + i * columns)
      for j in 0..<g { target[j] = Double(source[j]) - mean[j] }
      if columns > g { target[g] = 1 }
    }
  }

  private func widen(
    _ right: UnsafeMutablePointer<Double>, from dy: UnsafePointer<Float>, _ rows: Int
  ) {
    for i in 0..<rows {
      for j in 0..<groups.size {
        right[i * groups.size + j] = Double(dy[i * groups.channels + j])
      }
    }
  }
}

/// Adds up the parts of all ranges of rows, in order.
final class MergeCrossMomentsStep: Step {
  let parts: Buffer
  let partCount: Int
  let elements: Pieces
  let output: Buffer

  init(parts: Buffer, partCount: Int, size: Int, output: Buffer) {
    self.parts = parts
    self.partCount = partCount
    elements = Pieces(size, size: 4096)
    self.output = output
  }

  var pieces: Int { elements.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let (parts, output) = (context.doubles(parts), context.doubles(output))
    for i in elements.range(piece) {
      var sum = 0.0
      for part in 0..<partCount { sum += parts[part * elements.total + i] }
      output[i] = sum
    }
  }
}

/// The matrices that whiten a group of channels, or take gradients back, by its eigenvalues in Double.
///
/// With Σ = Vᵀ·diag(λ)·V, ε added to λ: W = Vᵀ·diag(λ^(−1/2))·V. Back, with G = (x − μ)ᵀ·dy:
/// dΣ = Vᵀ·(K ∘ (V·G·Vᵀ))·V made symmetric, K_ij = −1/(√λᵢ·√λⱼ·(√λᵢ + √λⱼ)); the reference derives it.
///
/// Rows are centred by s = μ rounded to float32, so that x − s loses nothing where |μ| ≫ σ; what is left
/// of μ goes into b.
final class WhiteningStep: Step {
  let groups: ChannelGroups
  let statistics: GroupStatistics
  /// G above Σdy, a (g + 1) × g matrix for each group; nil where nothing passes through the statistics.
  let crossMoments: Buffer?
  let output: GroupMatrices
  let isGradient: Bool

  init(
    _ groups: ChannelGroups, _ statistics: GroupStatistics, crossMoments: Buffer?,
    output: GroupMatrices, isGradient: Bool = false
  ) {
    self.groups = groups
    self.statistics = statistics
    self.crossMoments = crossMoments
    self.output = output
    self.isGradient = isGradient
  }

  private var workCount: Int { LAPACK.symmetricEigenproblemWork(order: groups.size) }

  var pieces: Int { groups.count }
  /// Three matrices, the eigenvalues and work space.
  var scratchByteCount: Int { (3 * groups.size * groups.size + groups.size + workCount) * 8 }

  func run(piece group: Int, lane: Int, in context: Context) {
    let g = groups.size
    let v = context.doubleScratch(lane: lane)
    let (a, b) = (v + g * g, v + 2 * g * g)
    let roots = b + g * g
    // NaN and a failed iteration come out as NaN, as from any other operation.
    let isSolved =
      statistics.copyCovariance(group, size: g, to: v, in: context)
      && LAPACK.solveSymmetricEigenproblem(
        order: g, v, values: roots, work: roots + g, workCount: workCount) == 0
    for k in 0..<g {
      roots[k] = isSolved ? (max(roots[k], 0) + statistics.epsilon).squareRoot() : .nan
    }
    // W = Bᵀ·B with B = diag(λ^(−1/4))·V.
    for k in 0..<g {
      let factor = (1 / roots[k]).squareRoot()
      for i in 0..<g { b[k * g + i] = factor * v[k * g + i] }
    }
    multiply(b, b, transposesLeft: true, into: a)
    let start = group * g
    let (shift, bias) = (output.shift(in: context) + start, output.bias(in: context) + start)
    for i in 0..<g { shift[i] = Float(statistics.mean(start + i, in: context)) }
    bias.update(repeating: 0, count: g)
    guard isGradient else {
      store(a, to: output.centred(in: context) + start * g)
      return addRemainders(times: a, to: bias, group, in: context)
    }
    store(a, to: output.plain(in: context) + start * g)
    guard let crossMoments else { return }
    let moments = context.doubles(crossMoments) + group * (g + 1) * g
    let m = statistics.count(in: context)
    for j in 0..<g {
      var sum = 0.0
      for i in 0..<g { sum -= moments[g * g + i] / m * a[i * g + j] }
      bias[j] = Float(sum)
    }
    covarianceGradient(moments, v, roots: roots, factor: 2 / m, a, b)
    store(a, to: output.centred(in: context) + start * g)
    addRemainders(times: a, to: bias, group, in: context)
  }

  /// a ← factor·dΣ for G, by way of b.
  private func covarianceGradient(
    _ moments: UnsafePointer<Double>, _ v: UnsafePointer<Double>, roots: UnsafePointer<Double>,
    factor: Double, _ a: UnsafeMutablePointer<Double>, _ b: UnsafeMutablePointer<Double>
  ) {
    let g = groups.size
    multiply(v, moments, into: a)
    multiply(a, v, transposesRight: true, into: b)
    for i in 0..<g {
      for j in 0...i {
        let k = -factor / (roots[i] * roots[j] * (roots[i] + roots[j]))
        let mean = k * (b[i * g + j] + b[j * g + i]) / 2
        (b[i * g + j], b[j * g + i]) = (mean, mean)
      }
    }
    multiply(b, v, into: a)
    b.update(from: a, count: g * g)
    multiply(v, b, transposesLeft: true, into: a)
  }

  /// b ← b + (s − μ)·matrix.
  private func addRemainders(
    times matrix: UnsafePointer<Double>, to bias: UnsafeMutablePointer<Float>, _ group: Int,
    in context: Context
  ) {
    let (g, start) = (groups.size, group * groups.size)
    let shift = output.shift(in: context) + start
    for j in 0..<g {
      var sum = Double(bias[j])
      for i in 0..<g {
        sum += (Double(shift[i]) - statistics.mean(start + i, in: context)) * matrix[i * g + j]
      }
      bias[j] = Float(sum)
    }
  }

  private func store(
    _ matrix: UnsafePointer<Double>, to output: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<groups.size * groups.size { output[i] = Float(matrix[i]) }
  }

  private func multiply(
    _ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, transposesLeft: Bool = false,
    transposesRight: Bool = false, into c: UnsafeMutablePointer<Double>
  ) {
    let g = groups.size
    c.update(repeating: 0, count: g * g)
    UncheckedBLAS.dgemm(
      transposeA: transposesLeft, transposeB: transposesRight, m: g, n: g, k: g, a: a, lda: g, b: b,
      ldb: g, beta: 1, c: c, ldc: g)
  }
}

/// out = plain·A + (centred − s)·B + b, a matrix for each group of channels, in blocks of 96 rows.
final class GroupProductStep: Step {
  static let blockRows = 96

  let groups: ChannelGroups
  let plain: Buffer?
  let centred: Buffer?
  let matrices: GroupMatrices
  let output: Buffer
  let rows: Pieces

  init(
    _ groups: ChannelGroups, plain: Buffer?, centred: Buffer?, _ matrices: GroupMatrices,
    output: Buffer
  ) {
    self.groups = groups
    self.plain = plain
    self.centred = centred
    self.matrices = matrices
    self.output = output
    rows = Pieces(
      groups.rows, size: (32 << 10) / max(groups.channels, 1), unit: GroupProductStep.blockRows)
  }

  var pieces: Int { rows.count }
  var scratchByteCount: Int {
    centred == nil ? 0 : GroupProductStep.blockRows * groups.channels * 4
  }

  func run(piece: Int, lane: Int, in context: Context) {
    let range = rows.range(piece)
    for row in stride(from: range.lowerBound, to: range.upperBound, by: Self.blockRows) {
      let count = min(Self.blockRows, range.upperBound - row)
      run(row * groups.channels, count, context.scratch(lane: lane), in: context)
    }
  }

  /// So many rows from an element on.
  private func run(
    _ start: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Float>, in context: Context
  ) {
    let channels = groups.channels
    let y = context.floats(output) + start
    cnl_copy_rows(y, channels, matrices.bias(in: context), 0, count, channels)
    if let plain {
      multiply(context.floats(plain) + start, count, matrices.plain(in: context), into: y)
    }
    guard let centred else { return }
    cnl_combine(
      Int32(CNL_SUBTRACT.rawValue), scratch, channels, context.floats(centred) + start, channels, 1,
      matrices.shift(in: context), 0, 1, count, channels)
    multiply(scratch, count, matrices.centred(in: context), into: y)
  }

  /// y += rows·matrix, group by group.
  private func multiply(
    _ rows: UnsafePointer<Float>, _ count: Int, _ matrix: UnsafePointer<Float>,
    into y: UnsafeMutablePointer<Float>
  ) {
    let (g, channels) = (groups.size, groups.channels)
    for first in stride(from: 0, to: channels, by: g) {
      UncheckedBLAS.sgemm(
        m: count, n: g, k: g, a: rows + first, lda: channels, b: matrix + first * g, ldb: g,
        beta: 1, c: y + first, ldc: channels)
    }
  }
}
