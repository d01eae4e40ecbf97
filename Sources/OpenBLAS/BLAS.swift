import CConvNetOpenBLAS
import Synchronization

/// The typed face of OpenBLAS: matrices and vectors carry their sizes, and sizes are checked.
///
/// All matrices are row-major. Every operation checks its shapes and stops the program by a
/// sentence that names both when they disagree, where C would call `xerbla` or read past the end.
/// The first operation chooses OpenBLAS's kernels (see ``bootstrap(kernel:)``); call that function
/// first in `main` when other threads of the program use BLAS too.
///
/// OpenBLAS runs on one thread: whoever wants several calls it from several threads.
public enum BLAS {
  /// Which of OpenBLAS's kernel sets to use.
  public enum Kernel: Sendable, Equatable {
    /// The best one for this CPU, unless the user's `OPENBLAS_CORETYPE` names another.
    case automatic
    /// The best one for this CPU, even where `OPENBLAS_CORETYPE` names another.
    case recommended
    /// The one OpenBLAS chose when it was loaded.
    case keep
    /// The one of this name, such as `"SkylakeX"`; it goes before `OPENBLAS_CORETYPE`.
    case named(String)
  }

  private static let first = Mutex<KernelReport?>(nil)
  private static let isReady = Atomic<Bool>(false)

  /// Chooses OpenBLAS's kernels, verifies them, sets one thread, and says what was done.
  ///
  /// OpenBLAS picks a kernel set by CPU family and may miss recent ones; this picks by instruction
  /// sets, runs a numeric self-test and falls back to OpenBLAS's choice if that fails. It happens
  /// once in a process: a later call returns the first report, with ``KernelReport/ignoredRequest``
  /// set if it asked for something else. Kernels must not change under a running BLAS call, and the
  /// environment is written for a moment, so call this first in `main`, before the program starts
  /// threads.
  @discardableResult
  public static func bootstrap(kernel: Kernel = .automatic) -> KernelReport {
    first.withLock { report in
      if var known = report {
        if known.request != kernel { known.ignoredRequest = kernel }
        return known
      }
      let made = KernelSwitch.live.bootstrap(kernel)
      report = made
      isReady.store(true, ordering: .releasing)
      return made
    }
  }

  /// The gate that every checked operation passes: one load once the kernels are chosen.
  @inline(__always)
  static func ensureReady() {
    if !isReady.load(ordering: .acquiring) { bootstrap() }
  }

  /// Limits an OpenMP build of OpenBLAS to one thread for calls made from the calling thread.
  ///
  /// OpenMP keeps this limit per thread, so every thread that will call BLAS does this once. With
  /// the other builds it does nothing.
  public static func limitCallingThread() {
    if OpenMP.isUsed { OpenMP.limitCallingThread() }
  }
}

/// Stops the program because of a mistake in the calling code.
@inline(never)
func stop(_ sentence: String) -> Never {
  fatalError(sentence)
}
