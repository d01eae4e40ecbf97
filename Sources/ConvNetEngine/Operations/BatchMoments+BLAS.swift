import CConvNetLoops
import OpenBLAS

extension RowMomentsStep {
  /// Rows of few channels that are taken as one row of about 256: `sgemv` adds columns of that length much
  /// faster than short ones.
  private var group: Int { max(1, 256 / max(channels, 1)) }

  /// Channels of such a row.
  private var width: Int { group * channels }

  /// Floats that a lane needs: centred rows, ones, and a shift and two sums of one wide row.
  var blasScratchCount: Int {
    ChannelLayout.blasRows(width) * (width + 1) + 3 * width
  }

  /// The `.blas` strategy of a block's Σ(x − s) and Σ(x − s)²: `sgemv` of ones against the centred block
  /// and against its squares.
  func sumByBLAS(
    _ x: UnsafePointer<Float>, rows: Int, shift: UnsafePointer<Float>,
    sum: UnsafeMutablePointer<Float>, square: UnsafeMutablePointer<Float>,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let (wideShift, wideSum) = (scratch, scratch + width)
    let wideSquare = wideSum + width
    cnl_copy_rows(wideShift, channels, shift, 0, group, channels)
    // Cleared, because what beta = 0 does to NaN is up to OpenBLAS's version.
    cnl_fill(wideSum, 0, 2 * width)
    let wideRows = rows / group
    addCentredSums(
      x, rows: wideRows, channels: width, shift: wideShift, sum: wideSum, square: wideSquare,
      scratch: wideSquare + width)
    let rest = wideRows * group
    addCentredSums(
      x + rest * channels, rows: rows - rest, channels: channels, shift: shift, sum: wideSum,
      square: wideSquare, scratch: wideSquare + width)
    cnl_fill(sum, 0, channels)
    cnl_fill(square, 0, channels)
    for part in 0..<group {
      cnl_accumulate(sum, wideSum + part * channels, channels)
      cnl_accumulate(square, wideSquare + part * channels, channels)
    }
  }

  /// sum += Σ(x − s) and square += Σ(x − s)², a few rows at a time, which stay in the first-level cache.
  private func addCentredSums(
    _ x: UnsafePointer<Float>, rows: Int, channels: Int, shift: UnsafePointer<Float>,
    sum: UnsafeMutablePointer<Float>, square: UnsafeMutablePointer<Float>,
    scratch centred: UnsafeMutablePointer<Float>
  ) {
    let most = ChannelLayout.blasRows(width)
    let ones = centred + most * width
    cnl_fill(ones, 1, most)
    for row in Swift.stride(from: 0, to: rows, by: most) {
      let count = min(most, rows - row)
      cnl_combine(
        Int32(CNL_SUBTRACT.rawValue), centred, channels, x + row * channels, channels, 1, shift, 0,
        1, count, channels)
      addColumnSumsByBLAS(centred, rows: count, channels: channels, ones: ones, to: sum)
      cnl_map(Int32(CNL_SQUARE.rawValue), 0, 0, centred, centred, count * channels)
      addColumnSumsByBLAS(centred, rows: count, channels: channels, ones: ones, to: square)
    }
  }
}

/// sums += onesᵀ·x.
func addColumnSumsByBLAS(
  _ x: UnsafePointer<Float>, rows: Int, channels: Int, ones: UnsafePointer<Float>,
  to sums: UnsafeMutablePointer<Float>
) {
  UncheckedBLAS.sgemv(
    transpose: true, rows: rows, columns: channels, a: x, lda: channels, x: ones, beta: 1, y: sums)
}

extension PlaneMomentsStep {
  /// The `.blas` strategy of a part of a plane: x − s by `saxpy` onto −s, its sum by `sdot` with ones and
  /// its squares by `sdot` with itself.
  func sumsByBLAS(
    _ x: UnsafePointer<Float>, count: Int, shift: Float, scratch: UnsafeMutablePointer<Float>
  ) -> (sum: Float, square: Float) {
    let ones = scratch + Self.blockSize
    cnl_fill(scratch, -shift, count)
    cnl_fill(ones, 1, count)
    UncheckedBLAS.saxpy(count: count, alpha: 1, x: x, y: scratch)
    return (
      UncheckedBLAS.sdot(count: count, x: scratch, y: ones),
      UncheckedBLAS.sdot(count: count, x: scratch, y: scratch)
    )
  }
}
