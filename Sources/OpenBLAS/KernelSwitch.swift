import CConvNetOpenBLAS
import Glibc

/// What choosing kernels does to OpenBLAS, as closures so that tests can stand in for it.
package struct KernelSwitch {
  /// What is to be in OPENBLAS_CORETYPE when OpenBLAS chooses.
  package enum Target: Equatable {
    case named(String)
    /// The environment as the process got it.
    case asStarted
    /// No variable: OpenBLAS's own choice.
    case ownChoice
  }

  /// What is known before anything is changed.
  package var facts: KernelChoice.Facts
  /// Has OpenBLAS choose again and returns the name of what it chose.
  package var change: (Target) -> String
  /// Tests the kernels in use.
  package var selfTest: () -> BLAS.KernelReport.SelfTest

  package init(
    facts: KernelChoice.Facts, change: @escaping (Target) -> String,
    selfTest: @escaping () -> BLAS.KernelReport.SelfTest
  ) {
    self.facts = facts
    self.change = change
    self.selfTest = selfTest
  }

  /// Tries the choice, then OpenBLAS's, then that without the user's variable.
  ///
  /// The first that passes the self-test stays.
  /// When nothing passes, or nothing can be changed, the report carries the failure.
  package func settle(_ choice: KernelChoice) -> (
    core: String, selfTest: BLAS.KernelReport.SelfTest, fallbacks: [String]
  ) {
    var fallbacks: [String] = []
    var core = facts.defaultCore
    if let wanted = choice.core {
      core = change(.named(wanted))
      if core.lowercased() != wanted.lowercased() {
        fallbacks.append("OpenBLAS has no kernels named \(wanted) and took \(core) instead.")
      } else {
        let result = selfTest()
        guard case .failed(let why) = result else { return (core, result, fallbacks) }
        fallbacks.append("\(core) failed the self-test: \(why)")
      }
      core = change(.asStarted)
    }
    var result = selfTest()
    if case .failed(let why) = result, facts.environmentCore != nil, facts.canSwitch {
      fallbacks.append("\(core), which OPENBLAS_CORETYPE names, failed the self-test: \(why)")
      core = change(.ownChoice)
      result = selfTest()
    }
    return (core, result, fallbacks)
  }

  func bootstrap(_ request: BLAS.Kernel) -> BLAS.KernelReport {
    // Read before anything changes: the configuration string ends with the name of the core.
    let configuration = String(cString: openblas_get_config())
    let description = BuildDescription(configuration)
    let choice = KernelChoice.decide(request, facts)
    let recommended = KernelChoice.decide(.recommended, facts).core ?? facts.defaultCore
    openblas_set_num_threads(1)
    if OpenMP.isUsed { OpenMP.limitCallingThread() }
    let (core, selfTest, fallbacks) = settle(choice)
    // A new choice of kernels may not touch the number of threads; that is not ours to rely on.
    openblas_set_num_threads(1)
    let threads = max(
      Int(openblas_get_num_threads()), OpenMP.isUsed ? OpenMP.threadsOfCallingThread ?? 1 : 1)
    return BLAS.KernelReport(
      version: description.version, configuration: configuration, build: OpenMP.build,
      threads: threads, defaultCore: facts.defaultCore, core: core, recommendedCore: recommended,
      reason: fallbacks.isEmpty ? choice.reason : "\(core) is in use after a fallback.",
      environmentCore: facts.environmentCore,
      environmentRespected: choice.environmentRespected && fallbacks.isEmpty, request: request,
      ignoredRequest: nil, selfTest: selfTest, fallbacks: fallbacks,
      hasSmallMatrixKernel: description.hasSmallMatrixKernel(core: core))
  }

  /// The one that acts on the OpenBLAS of this process.
  static var live: Self {
    let variable = "OPENBLAS_CORETYPE"
    // OpenBLAS takes an empty value for a name it does not know; for us it is as good as none.
    let user = getenv(variable).map { String(cString: $0) }
    let coreName = { String(cString: openblas_get_corename()) }
    return Self(
      facts: KernelChoice.Facts(
        defaultCore: coreName(), features: .current,
        environmentCore: user.flatMap { $0.isEmpty ? nil : $0 },
        canSwitch: convnet_openblas_can_switch()),
      change: { target in
        switch target {
        case .named(let name): setenv(variable, name, 1)
        case .asStarted: break
        case .ownChoice: unsetenv(variable)
        }
        convnet_openblas_choose_again()
        if let user { setenv(variable, user, 1) } else { unsetenv(variable) }
        return coreName()
      },
      selfTest: SelfTest.run)
  }
}

/// The limits that an OpenMP build of OpenBLAS keeps beside its own.
enum OpenMP {
  static let build: BLAS.KernelReport.Build =
    switch openblas_get_parallel() {
    case 1: .pthread
    case 2: .openmp
    default: .serial
    }

  static let isUsed = build == .openmp

  /// The weak reference serves static executables; elsewhere the runtime is often a dependency of
  /// OpenBLAS alone, which the linker did not see and only dlsym finds.
  private static func find<Function>(_ name: String, linked: Function?) -> Function? {
    if let linked { return linked }
    guard let symbol = dlsym(nil, name) else { return nil }
    return unsafeBitCast(symbol, to: Function.self)
  }

  private static let setter = find("omp_set_num_threads", linked: convnet_linked_omp_set())
  private static let getter = find("omp_get_max_threads", linked: convnet_linked_omp_get())

  static func limitCallingThread() { setter?(1) }

  static var threadsOfCallingThread: Int? { getter.map { Int($0()) } }
}
