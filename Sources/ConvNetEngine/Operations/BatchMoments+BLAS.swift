import CConvNetLoops
import OpenBLAS

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
