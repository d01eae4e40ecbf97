import CConvNetLoops
import OpenBLAS

extension GradientSumsStep {
  /// Floats that a lane needs: rows of products, and ones.
  var blasScratchCount: Int {
    max(ChannelLayout.blasRows(layout.channels) * (stride + 1), GradientSumsStep.planeBlock)
  }

  /// The `.blas` strategy of a block's Σ dy and Σ dy·(x − m): `sgemv` of ones against dy and against the
  /// products.
  func sumByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, rows: Int, mean: UnsafePointer<Float>,
    sumG: UnsafeMutablePointer<Float>, sumGX: UnsafeMutablePointer<Float>,
    scratch products: UnsafeMutablePointer<Float>
  ) {
    let channels = layout.channels
    let most = ChannelLayout.blasRows(channels)
    let ones = products + most * stride
    cnl_fill(ones, 1, most)
    cnl_fill(sumG, 0, channels)
    cnl_fill(sumGX, 0, channels)
    for row in Swift.stride(from: 0, to: rows, by: most) {
      let count = min(most, rows - row)
      let (dy, x) = (dy + row * channels, x + row * channels)
      addColumnSumsByBLAS(dy, rows: count, channels: channels, ones: ones, to: sumG)
      cnl_combine(
        Int32(CNL_SUBTRACT.rawValue), products, channels, x, channels, 1, mean, 0, 1, count,
        channels)
      cnl_combine(
        Int32(CNL_MULTIPLY.rawValue), products, channels, products, channels, 1, dy, channels, 1,
        count, channels)
      addColumnSumsByBLAS(products, rows: count, channels: channels, ones: ones, to: sumGX)
    }
  }
}

extension GradientSumsStep {
  /// The `.blas` strategy of a part of a plane: Σ dy by `sdot` with ones, Σ dy·(x − m) by `sdot` with x − m.
  func planeSumsByBLAS(
    dy: UnsafePointer<Float>, x: UnsafePointer<Float>, count: Int, mean: Float,
    scratch: UnsafeMutablePointer<Float>
  ) -> (sumG: Float, sumGX: Float) {
    cnl_fill(scratch, 1, count)
    let sumG = UncheckedBLAS.sdot(count: count, x: dy, y: scratch)
    cnl_fill(scratch, -mean, count)
    UncheckedBLAS.saxpy(count: count, alpha: 1, x: x, y: scratch)
    return (sumG, UncheckedBLAS.sdot(count: count, x: dy, y: scratch))
  }
}
