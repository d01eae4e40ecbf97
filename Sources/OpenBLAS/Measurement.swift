extension BLAS {
  /// The speed of `sgemm` with the kernels in use, in 10⁹ floating-point operations per second.
  ///
  /// Multiplies two square matrices of `size` on the calling thread, once to warm up and then
  /// `runs` times, and returns the best: on a shared machine the best is what the kernels can do.
  /// To learn the speed of other kernels, call this in a child process with OPENBLAS_CORETYPE set
  /// to their name. A size outside 1...16384, or fewer than 1 run, stops the program.
  public static func measureGigaflops(size: Int = 2048, runs: Int = 3) -> Double {
    guard size >= 1, size <= 16384, runs >= 1 else {
      stop("BLAS.measureGigaflops: cannot run \(runs) times at size \(size).")
    }
    bootstrap()
    limitCallingThread()
    var random = SmallIntegers()
    let a = random.array(size * size)
    let b = random.array(size * size)
    var c = [Float](repeating: 0, count: size * size)
    let clock = ContinuousClock()
    var best = Double.infinity
    for run in 0...runs {
      let time = clock.measure {
        UncheckedBLAS.sgemm(
          m: size, n: size, k: size, a: a, lda: size, b: b, ldb: size, beta: 0, c: &c, ldc: size)
      }
      let seconds = time / .seconds(1)
      if run > 0 { best = min(best, seconds) }
    }
    let operations = 2 * Double(size) * Double(size) * Double(size)
    return operations / best / 1e9
  }
}
