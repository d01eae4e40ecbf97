import ConvNet
import OpenBLAS

/// What `doctor` knows, in the shape of its JSON.
struct DoctorReport: Encodable {
  struct Library: Encodable {
    var version: String
    var build: String
    var configuration: String
    var threads: Int
  }

  struct SelfTest: Encodable {
    var passed: Bool
    var detail: String
  }

  struct LaneCount: Encodable {
    struct Reading: Encodable {
      var source: String
      var count: Int?
      var detail: String
    }
    var count: Int
    var reason: String
    var readings: [Reading]
  }

  var openblas: Library
  var kernels: String
  var reason: String
  var defaultKernels: String
  var ownKernels: String
  var recommendedKernels: String
  /// The value of OPENBLAS_CORETYPE.
  var environmentKernels: String?
  var fallbacks: [String]
  /// By kernels, one lane, 2048 × 2048 × 2048 unless told otherwise.
  var gflops: [String: Double]
  /// Recommended over default.
  var ratio: Double
  var advice: String
  var selfTest: SelfTest
  var loops: String
  var lanes: LaneCount

  init(_ report: BLAS.KernelReport, speeds: KernelSpeeds, lanes: ThreadBudget) {
    openblas = Library(
      version: report.version, build: report.build.rawValue, configuration: report.configuration,
      threads: report.threads)
    kernels = report.core
    reason = report.reason
    defaultKernels = speeds.standard.kernels
    ownKernels = speeds.own.kernels
    recommendedKernels = speeds.recommended.kernels
    environmentKernels = report.environmentCore
    fallbacks = report.fallbacks
    gflops = [:]
    for speed in [speeds.current, speeds.standard, speeds.own, speeds.recommended] {
      gflops[speed.kernels] = max(gflops[speed.kernels] ?? 0, speed.gflops)
    }
    let best = gflops[recommendedKernels] ?? 0
    ratio = best / max(gflops[defaultKernels] ?? 0, .leastNormalMagnitude)
    advice = Self.advice(report, speeds, gflops: gflops)
    switch report.selfTest {
    case .passed(let cases): selfTest = SelfTest(passed: true, detail: "\(cases) cases passed")
    case .failed(let why): selfTest = SelfTest(passed: false, detail: why)
    }
    loops = EngineInfo.loopVariant
    self.lanes = LaneCount(
      count: lanes.count, reason: lanes.reason,
      readings: lanes.readings.map {
        LaneCount.Reading(source: $0.source, count: $0.count, detail: $0.detail)
      })
  }

  /// What follows from the measurement, as a sentence.
  private static func advice(
    _ report: BLAS.KernelReport, _ speeds: KernelSpeeds, gflops: [String: Double]
  ) -> String {
    let current = report.core
    let (name, speed) = (speeds.recommended.kernels, gflops[speeds.recommended.kernels] ?? 0)
    func times(_ kernels: String) -> String {
      "\(decimal(speed / max(gflops[kernels] ?? 0, 1e-9), 2)) times as fast as \(kernels)"
    }
    if speed > 1.1 * (gflops[current] ?? 0) {
      return report.environmentRespected
        ? "OPENBLAS_CORETYPE costs speed here: \(name) is \(times(current)). "
          + "Unset it, or pass --kernels recommended."
        : "\(name) is \(times(current)): pass --kernels recommended."
    }
    if current != speeds.standard.kernels {
      return
        "Nothing to do: \(name) is \(times(speeds.standard.kernels)), OpenBLAS's choice here."
    }
    return "Nothing to do: \(current) suits this CPU."
  }

  /// The same for people.
  func print(size: Int) throws {
    try Output.table(
      [
        ["OpenBLAS", "\(openblas.version), \(openblas.build) build, threads: \(openblas.threads)"],
        ["", openblas.configuration],
        ["kernels", kernels],
        ["", reason],
      ] + fallbacks.map { ["", $0] } + [
        ["self-test", selfTest.detail],
        ["loops", loops],
        ["lanes", lanes.reason],
      ] + lanes.readings.map { ["", "\($0.source): \($0.detail)"] })
    try Output.line("\nsgemm of \(size)×\(size)×\(size) on one lane, GFLOP/s")
    try Output.table(
      [
        ["  in use", kernels], ["  OpenBLAS's choice in this environment", defaultKernels],
        ["  OpenBLAS's choice without OPENBLAS_CORETYPE", ownKernels],
        ["  recommended", recommendedKernels],
      ].map { $0 + [decimal(gflops[$0[1]] ?? 0, 0)] }, right: [2])
    try Output.line("\nrecommended over OpenBLAS's choice: \(decimal(ratio, 2))\n\(advice)")
  }
}
