import ArgumentParser
import ConvNet
import FoundationEssentials
import OpenBLAS

/// `convnet doctor`: what computes, why, and how fast.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Explains the choice of OpenBLAS's kernels and of lanes, and measures the kernels.")

  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false
  @Flag(help: .hidden) var measuresKernels = false
  @Option(parsing: .unconditional, help: .hidden) var size = 2048

  func run() throws {
    guard (1...4096).contains(size) else {
      throw ToolError("--size must be between 1 and 4096, not \(size)")
    }
    let report = BLAS.bootstrap(kernel: kernelOptions.request)
    if measuresKernels {
      let gflops = BLAS.measureGigaflops(size: size, runs: 2)
      return try Output.json(KernelSpeed(kernels: report.core, gflops: gflops), isCompact: true)
    }
    let speeds = try KernelSpeeds.measure(
      kernelOptions.kernels, environment: report.environmentCore, size: size)
    let doctor = DoctorReport(report, speeds: speeds, lanes: .detect())
    if json { try Output.json(doctor) } else { try doctor.print(size: size) }
    if !doctor.selfTest.passed { throw ExitCode.failure }
  }
}

/// What a child process measures.
struct KernelSpeed: Codable {
  var kernels: String
  var gflops: Double
}

/// The kernels that differ by who chooses, each measured in a process of its own: kernels cannot be
/// changed once something has computed.
struct KernelSpeeds {
  /// The kernels in use.
  var current: KernelSpeed
  /// What OpenBLAS takes in this environment when nobody helps it.
  var standard: KernelSpeed
  /// What OpenBLAS takes when OPENBLAS_CORETYPE is not set either.
  var own: KernelSpeed
  /// What suits the CPU.
  var recommended: KernelSpeed

  private static let variable = "OPENBLAS_CORETYPE"

  /// Measures in two rounds, because other programs may run on this machine, and keeps the best.
  static func measure(
    _ request: String, environment: String?, size: Int
  ) throws -> KernelSpeeds {
    let first = try round(request, environment, size)
    let second = try round(request, environment, size)
    func best(_ path: KeyPath<KernelSpeeds, KernelSpeed>) -> KernelSpeed {
      KernelSpeed(
        kernels: first[keyPath: path].kernels,
        gflops: max(first[keyPath: path].gflops, second[keyPath: path].gflops))
    }
    return KernelSpeeds(
      current: best(\.current), standard: best(\.standard), own: best(\.own),
      recommended: best(\.recommended))
  }

  private static func round(
    _ request: String, _ environment: String?, _ size: Int
  ) throws -> KernelSpeeds {
    let standard = try speed("keep", size)
    return KernelSpeeds(
      current: try speed(request, size), standard: standard,
      own: environment == nil ? standard : try speed("keep", size, removing: [variable]),
      recommended: try speed("recommended", size))
  }

  private static func speed(
    _ kernels: String, _ size: Int, removing: Set<String> = []
  ) throws -> KernelSpeed {
    let text = try ChildProcess.output(
      ["doctor", "--measures-kernels", "--kernels", kernels, "--size", "\(size)"],
      removing: removing)
    return try JSONDecoder().decode(KernelSpeed.self, from: Data(text.utf8))
  }
}
