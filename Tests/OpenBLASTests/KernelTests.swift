import Glibc
import OpenBLAS
import Testing

/// The choice of kernels as a function, the fallbacks on a stand-in, and real switches in child
/// processes.
@Suite struct KernelTests {
  static let everything: CPUFeatures = [
    KernelChoice.requirement(of: "SapphireRapids"), KernelChoice.requirement(of: "Excavator"),
  ]
  static let avx2 = KernelChoice.requirement(of: "Haswell")
  static let avx512 = KernelChoice.requirement(of: "SkylakeX")

  func choose(_ core: String, _ features: CPUFeatures) -> String? {
    KernelChoice.decide(.automatic, .init(defaultCore: core, features: features)).core
  }

  @Test func automaticChoice() {
    #expect(choose("Haswell", Self.avx512) == "SkylakeX")
    #expect(choose("Zen", Self.avx512) == "SkylakeX")
    #expect(choose("Prescott", Self.avx512) == "SkylakeX")
    #expect(choose("Sandybridge", Self.avx2) == "Haswell")
    for kept in ["SkylakeX", "Cooperlake", "SapphireRapids", "Zen4", "Zen9", "NEOVERSEN1"] {
      #expect(choose(kept, Self.everything) == nil, "\(kept)")
    }
    #expect(choose("Haswell", Self.avx2) == nil)
    #expect(choose("Prescott", []) == nil)
    #expect(choose("Nehalem", [KernelChoice.requirement(of: "Sandybridge")]) == nil)
  }

  @Test func environmentAndRequests() {
    var facts = KernelChoice.Facts(
      defaultCore: "Haswell", features: Self.avx512, environmentCore: "haswell")
    let respected = KernelChoice.decide(.automatic, facts)
    #expect(respected.core == nil)
    #expect(respected.environmentRespected)
    #expect(
      respected.reason == "Haswell is in use because OPENBLAS_CORETYPE=haswell is set; "
        + "without it SkylakeX would be.")
    #expect(KernelChoice.decide(.named("SkylakeX"), facts).core == "SkylakeX")
    #expect(KernelChoice.decide(.named("HASWELL"), facts).core == nil)
    #expect(KernelChoice.decide(.named("SapphireRapids"), facts).core == nil)
    #expect(KernelChoice.decide(.keep, facts).core == nil)
    #expect(KernelChoice.decide(.recommended, facts).core == "SkylakeX")
    facts.environmentCore = nil
    facts.canSwitch = false
    #expect(KernelChoice.decide(.automatic, facts).core == nil)
    #expect(KernelChoice.decide(.automatic, facts).reason.contains("cannot change"))
    #expect(KernelChoice.decide(.named("SkylakeX"), facts).core == nil)
  }

  @Test func descriptions() {
    let debian = BuildDescription(
      "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64")
    #expect(debian.version == "0.3.21")
    #expect(debian.hasSmallMatrixKernel(core: "SkylakeX"))
    #expect(!debian.hasSmallMatrixKernel(core: "Haswell"))
    let old = BuildDescription("OpenBLAS 0.3.16.dev DYNAMIC_ARCH")
    #expect(!old.hasSmallMatrixKernel(core: "SkylakeX"))
    #expect(old.isAtLeast([0, 3, 16]))
    #expect(BuildDescription("OpenBLAS 0.4 DYNAMIC_ARCH").isAtLeast([0, 3, 17]))
    #expect(!BuildDescription("NO_AFFINITY DYNAMIC_ARCH").isAtLeast([0, 0, 1]))
    #expect(!BuildDescription("OpenBLAS 0.3.30 SkylakeX").hasSmallMatrixKernel(core: "SkylakeX"))
  }

  /// An OpenBLAS that knows some kernels, of which some compute wrongly.
  func settle(
    user: String? = nil, wanted: String?, wrong: Set<String>, unknown: Set<String> = []
  ) -> (core: String, passed: Bool, fallbacks: Int) {
    var core = user ?? "Haswell"
    let facts = KernelChoice.Facts(
      defaultCore: core, features: Self.avx512, environmentCore: user)
    let stand = KernelSwitch(facts: facts) { target in
      core =
        switch target {
        case .named(let name): unknown.contains(name) ? "Prescott" : name
        case .asStarted: facts.defaultCore
        case .ownChoice: "Haswell"
        }
      return core
    } selfTest: {
      wrong.contains(core) ? .failed("made up") : .passed(cases: 1)
    }
    let choice = KernelChoice.decide(wanted.map(BLAS.Kernel.named) ?? .keep, facts)
    let result = stand.settle(choice)
    #expect(result.core == core, "the report names the kernels in use")
    return (result.core, result.selfTest == .passed(cases: 1), result.fallbacks.count)
  }

  @Test func fallbacks() {
    #expect(settle(wanted: "SkylakeX", wrong: []) == ("SkylakeX", true, 0))
    #expect(settle(wanted: nil, wrong: []) == ("Haswell", true, 0))
    #expect(settle(wanted: "SkylakeX", wrong: ["SkylakeX"]) == ("Haswell", true, 1))
    #expect(settle(wanted: "New", wrong: [], unknown: ["New"]) == ("Haswell", true, 1))
    #expect(settle(user: "Zen", wanted: nil, wrong: ["Zen"]) == ("Haswell", true, 1))
    #expect(
      settle(user: "Zen", wanted: "SkylakeX", wrong: ["Zen", "SkylakeX"])
        == ("Haswell", true, 2))
    #expect(settle(wanted: "SkylakeX", wrong: ["Haswell", "SkylakeX"]) == ("Haswell", false, 1))
  }

  /// Whatever the CPU: what is in use passes its self-test and the report agrees with itself.
  @Test func automaticInAChild() async {
    await #expect(processExitsWith: .success) {
      unsetenv("OPENBLAS_CORETYPE")
      let report = BLAS.bootstrap()
      #expect(getenv("OPENBLAS_CORETYPE") == nil, "the environment is as it was")
      #expect(report.environmentCore == nil && !report.environmentRespected)
      #expect(report.fallbacks == [])
      #expect(report.core == report.recommendedCore)
      #expect(report.threads == 1)
      #expect(report.ignoredRequest == nil)
      guard case .passed(let cases) = report.selfTest else {
        Issue.record("\(report.selfTest)")
        return
      }
      #expect(cases > 40)
      let facts = KernelChoice.Facts(defaultCore: report.defaultCore, features: .current)
      #expect(report.core == KernelChoice.decide(.automatic, facts).core ?? report.defaultCore)
      #expect(BLAS.sgemv([1, 2, 3, 4], [1, 1], rows: 2) == [3, 7])
    }
  }

  @Test func environmentIsRespectedInAChild() async {
    await #expect(processExitsWith: .success) {
      setenv("OPENBLAS_CORETYPE", "Nehalem", 1)
      let report = BLAS.bootstrap()
      #expect(report.environmentRespected)
      #expect(report.core == report.defaultCore)
      #expect(report.reason.contains("OPENBLAS_CORETYPE=Nehalem is set"))
      #expect(getenv("OPENBLAS_CORETYPE").map { String(cString: $0) } == "Nehalem")
    }
  }

  @Test(arguments: ["Nehalem", "Haswell", "SkylakeX"])
  func namedInAChild(name: String) async {
    await #expect(processExitsWith: .success) { [name] in
      setenv("OPENBLAS_CORETYPE", "Zen", 1)
      let report = BLAS.bootstrap(kernel: .named(name))
      let canRun = CPUFeatures.current.isSuperset(of: KernelChoice.requirement(of: name))
      let expected = canRun ? name : report.defaultCore
      #expect(report.core == expected)
      #expect(report.fallbacks == [])
      #expect(getenv("OPENBLAS_CORETYPE").map { String(cString: $0) } == "Zen")
      // After a switch the kernels themselves run, large and small.
      let ones = [Float](repeating: 1, count: 200 * 200)
      let product = BLAS.sgemm(ones, ones, rows: 200, inner: 200, columns: 200)
      #expect(product.allSatisfy { $0 == 200 })
    }
  }

  @Test func unknownNameFallsBackInAChild() async {
    await #expect(processExitsWith: .success) {
      unsetenv("OPENBLAS_CORETYPE")
      let report = BLAS.bootstrap(kernel: .named("Pentagon"))
      #expect(report.core == report.defaultCore || report.fallbacks.count == 1)
      #expect(report.core != "Pentagon")
      guard case .passed = report.selfTest else {
        Issue.record("\(report.selfTest)")
        return
      }
    }
  }

  @Test func onlyTheFirstRequestCounts() async {
    await #expect(processExitsWith: .success) {
      let first = BLAS.bootstrap(kernel: .keep)
      #expect(first.core == first.defaultCore)
      let second = BLAS.bootstrap(kernel: .named("Nehalem"))
      #expect(second.core == first.core)
      #expect(second.ignoredRequest == .named("Nehalem"))
      #expect(BLAS.bootstrap(kernel: .keep) == first)
    }
  }

  /// Many threads arrive at once; one chooses and the others wait for it.
  @Test func firstUseFromManyThreadsInAChild() async {
    await #expect(processExitsWith: .success) {
      await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<16 {
          group.addTask {
            let ones = [Float](repeating: 1, count: 64 * 64)
            return BLAS.sgemm(ones, ones, rows: 64, inner: 64, columns: 64)
              .allSatisfy { $0 == 64 }
          }
        }
        for await right in group { #expect(right) }
      }
    }
  }

  @Test func measurement() {
    #expect(BLAS.measureGigaflops(size: 32, runs: 1) > 0)
  }
}
