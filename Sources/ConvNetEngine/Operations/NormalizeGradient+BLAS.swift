import CConvNetLoops
import OpenBLAS

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
