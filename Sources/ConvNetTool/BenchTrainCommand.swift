import ArgumentParser
import ConvNet

/// `convnet bench train`.
struct BenchTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Measures whole training steps of a built-in network.",
    discussion: """
      A step is forward, loss, backward, SGD with momentum and the update of running statistics, on \
      random images. GFLOP/s are 3 times those of the forward pass by direct convolution, whatever \
      the engine does instead. --profile writes one step's parts in the trace-event format, which \
      chrome://tracing and ui.perfetto.dev show.
      """)

  @Option(help: "The network: \(Network.allCases.map(\.rawValue).joined(separator: ", ")).")
  var network: String
  @Option(parsing: .unconditional, help: "Images of a step.") var batch = 16
  @Option(parsing: .unconditional, help: "Classes; as many as the network's own by default.")
  var classes: Int?
  @Flag(help: "Leave batch normalisation out; convolutions have biases instead.")
  var noBatchNorm = false
  @OptionGroup var memoryOptions: MemoryOptions
  @OptionGroup var runOptions: NetworkRunOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Report: Encodable {
    var network: String
    var batch: Int
    var batchNorm: Bool
    var checkpointing: Bool
    var medianMs: Double
    var minMs: Double
    var p50Ms: Double
    var p99Ms: Double
    var runs: Int
    var lanes: Int
    var kernels: String
    /// What steps need: parameters, moments, activations, gradients, packed weights and scratch.
    var peakBytes: Int
    /// The most that was resident at one time.
    var residentBytes: Int?
    /// Learned numbers.
    var parameters: Int
    /// 10⁹ operations of direct convolutions a second, forward and backward.
    var gflops: Double
  }

  func run() throws {
    try runOptions.check(batch: batch)
    let network = try Network.named(network)
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let benchmark = try TrainingBenchmark(
      network: network,
      TrainingBenchmark.Configuration(
        batchSize: batch, size: runOptions.size, classes: classes,
        batchNormalization: !noBatchNorm,
        checkpointing: memoryOptions.checkpointing, lanes: lanes))
    kernelOptions.remarkOnEnvironment()
    let result = try benchmark.run(seconds: runOptions.seconds)
    try runOptions.write { try benchmark.profile() }
    let timing = TimingReport(result.timing)
    let report = Report(
      network: network.rawValue, batch: batch, batchNorm: !noBatchNorm,
      checkpointing: memoryOptions.checkpointing, medianMs: timing.medianMs,
      minMs: timing.minMs, p50Ms: timing.medianMs, p99Ms: result.timing.percentile99 * 1e3,
      runs: timing.runs, lanes: lanes.count, kernels: kernels,
      peakBytes: benchmark.peakByteCount, residentBytes: ProcessMemory.peakResidentByteCount,
      parameters: benchmark.parameterCount, gflops: result.gigaflops)
    if json { return try Output.json(report) }
    try show(report)
  }

  private func show(_ report: Report) throws {
    try Output.line(
      "\(report.network)\(report.batchNorm ? "" : " without batch norm")"
        + "\(report.checkpointing ? " with checkpointing" : ""), batch \(report.batch): "
        + "median \(decimal(report.medianMs, 3)) ms, shortest \(decimal(report.minMs, 3)) ms, p99 "
        + "\(decimal(report.p99Ms, 3)) ms, \(report.runs) runs, lanes: \(report.lanes), "
        + "\(report.kernels) kernels\n"
        + "\(decimal(report.gflops, 1)) GFLOP/s as direct convolutions, "
        + "\(decimal(Double(report.batch) / report.medianMs * 1e3, 1)) images/s\n"
        + "\(report.parameters) parameters, memory planned \(mebibytes(report.peakBytes)), "
        + "resident at most \(report.residentBytes.map(mebibytes) ?? "unknown")")
  }
}
