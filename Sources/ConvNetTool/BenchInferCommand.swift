import ArgumentParser
import ConvNet
import FoundationEssentials

/// `convnet bench infer`.
struct BenchInferCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infer",
    abstract: "Measures a whole network in inference.",
    discussion: """
      A built-in network gets random weights. GFLOP/s are those of direct convolutions, whatever the \
      engine does instead. --profile writes one run's steps in the trace-event format, which \
      chrome://tracing and ui.perfetto.dev show.
      """)

  @Option(help: "A network: \(Network.allCases.map(\.rawValue).joined(separator: ", ")).")
  var network: String?
  @Option(help: "Or a model that train --save wrote.") var model: String?
  @Option(parsing: .unconditional, help: "Images of a run.") var batch = 1
  @OptionGroup var runOptions: NetworkRunOptions
  @OptionGroup var foldingOptions: FoldingOptions
  @OptionGroup var exactnessOptions: ExactnessOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Report: Encodable {
    var network: String
    var batch: Int
    var medianMs: Double
    var minMs: Double
    var p50Ms: Double
    var p99Ms: Double
    var runs: Int
    var lanes: Int
    var kernels: String
    /// What the plan needs: packed weights, arena and scratch.
    var peakBytes: Int
    /// The most that was resident at one time, loading and folding included.
    var residentBytes: Int?
    /// The model's parameters.
    var weightsBytes: Int
    /// 10⁹ operations of direct convolutions a second.
    var gflops: Double
  }

  func validate() throws {
    guard (network == nil) != (model == nil) else {
      throw ValidationError("one of --network and --model says what is measured")
    }
  }

  func run() throws {
    try runOptions.check(batch: batch)
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let benchmark = try prepare(lanes)
    kernelOptions.remarkOnEnvironment()
    let result = try benchmark.run(seconds: runOptions.seconds)
    try runOptions.write { try benchmark.profile() }
    let timing = TimingReport(result.timing)
    let report = Report(
      network: network ?? model ?? "", batch: batch, medianMs: timing.medianMs,
      minMs: timing.minMs, p50Ms: timing.medianMs, p99Ms: result.timing.percentile99 * 1e3,
      runs: timing.runs, lanes: lanes.count, kernels: kernels, peakBytes: result.peakByteCount,
      residentBytes: ProcessMemory.peakResidentByteCount, weightsBytes: result.weightByteCount,
      gflops: result.gigaflops)
    if json { return try Output.json(report) }
    try show(report)
  }

  private func prepare(_ lanes: Lanes) throws -> InferenceBenchmark {
    let configuration = InferenceBenchmark.Configuration(
      batchSize: batch, size: runOptions.size, foldsBatchNormalization: !foldingOptions.noFolding,
      lanes: lanes, options: exactnessOptions.planOptions)
    if let network {
      return try InferenceBenchmark(network: Network.named(network), configuration)
    }
    return try InferenceBenchmark(model: ModelFormat.load(model ?? ""), configuration)
  }

  private func show(_ report: Report) throws {
    try Output.line(
      "\(report.network), batch \(report.batch): median \(decimal(report.medianMs, 3)) ms, "
        + "shortest \(decimal(report.minMs, 3)) ms, p99 \(decimal(report.p99Ms, 3)) ms, "
        + "\(report.runs) runs, lanes: \(report.lanes), \(report.kernels) kernels\n"
        + "\(decimal(report.gflops, 1)) GFLOP/s as direct convolutions\n"
        + "parameters \(mebibytes(report.weightsBytes)), plan \(mebibytes(report.peakBytes)), "
        + "resident at most \(report.residentBytes.map(mebibytes) ?? "unknown")")
  }
}
