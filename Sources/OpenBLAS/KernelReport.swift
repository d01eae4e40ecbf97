extension BLAS {
  /// What was found and decided about OpenBLAS's kernels when the process first used it.
  public struct KernelReport: Sendable, Equatable {
    /// How OpenBLAS itself was built to run several threads.
    public enum Build: String, Sendable {
      /// Without threads.
      case serial
      /// With its own pool of POSIX threads.
      case pthread
      /// With OpenMP.
      case openmp
    }

    /// The outcome of the numeric self-test of the chosen kernels.
    public enum SelfTest: Sendable, Equatable {
      /// All cases gave the exact result.
      case passed(cases: Int)
      /// A case gave a wrong result; the sentence names it.
      case failed(String)
    }

    /// The version of OpenBLAS, such as `0.3.21`, or `unknown`.
    public let version: String
    /// OpenBLAS's own description of its build.
    public let configuration: String
    /// How OpenBLAS was built to run several threads.
    public let build: Build
    /// The threads a call of OpenBLAS uses, read back after it was set; 1 unless that failed.
    public let threads: Int
    /// The kernels OpenBLAS had chosen when it was loaded (by `OPENBLAS_CORETYPE`, if that is set).
    public let defaultCore: String
    /// The kernels in use.
    public let core: String
    /// What `.recommended` takes in place of ``defaultCore``.
    public let recommendedCore: String
    /// Why these kernels are in use, as a sentence.
    public let reason: String
    /// The value of the user's `OPENBLAS_CORETYPE`, if it is set.
    public let environmentCore: String?
    /// Whether that variable decided.
    public let environmentRespected: Bool
    /// What was asked for.
    public let request: Kernel
    /// What a later call asked for, when that differs from ``request`` and came too late.
    public internal(set) var ignoredRequest: Kernel?
    /// The outcome of the self-test of the kernels in use.
    public let selfTest: SelfTest
    /// A sentence for each choice that was given up.
    public let fallbacks: [String]
    /// Whether small products run without packing, so that calls in panels are worth making.
    ///
    /// A table by kernels and version, never a measurement: OpenBLAS has such kernels for AVX-512
    /// in x86-64 builds with runtime choice since 0.3.17; those of the other sets gain nothing.
    public let hasSmallMatrixKernel: Bool
  }
}

/// The facts that OpenBLAS's description of its build holds.
package struct BuildDescription: Equatable {
  /// Such as `0.3.21`, or `unknown`.
  package let version: String
  /// Whether the build holds the kernels of many CPUs.
  package let choosesAtRunTime: Bool

  /// Reads a string such as `OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH Haswell MAX_THREADS=64`.
  package init(_ configuration: String) {
    let words = configuration.split(separator: " ")
    let isVersion = { (word: Substring) in word.first?.isNumber == true && word.contains(".") }
    version = words.first(where: isVersion).map(String.init) ?? "unknown"
    choosesAtRunTime = words.contains("DYNAMIC_ARCH")
  }

  /// Whether the version is at least the given one; false when it is unknown.
  package func isAtLeast(_ wanted: [Int]) -> Bool {
    let parts = version.split(separator: ".").map { part in
      Int(part.prefix(while: \.isNumber)) ?? 0
    }
    guard version != "unknown" else { return false }
    return !parts.lexicographicallyPrecedes(wanted)
  }

  /// Whether the small-matrix kernels of these kernels pay.
  package func hasSmallMatrixKernel(core: String) -> Bool {
    let cores: Set = ["skylakex", "cooperlake", "sapphirerapids"]
    return choosesAtRunTime && isAtLeast([0, 3, 17]) && cores.contains(core.lowercased())
  }
}
