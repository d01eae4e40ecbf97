import ArgumentParser
import ConvNet

/// `convnet bench`: how fast single operations and whole networks are.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: """
      Measures operations and networks: at least 5 rounds and 2 seconds each, after a warm-up.
      """,
    subcommands: [
      BenchInferCommand.self, BenchTrainCommand.self, BenchImagesCommand.self,
      BenchConvolutionCommand.self, BenchBatchNormalizationCommand.self,
    ])
}

/// The input of a benchmark.
struct ShapeOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "The input, N,H,W,C.") var shape: String

  func make() throws -> Shape {
    let parts = shape.split(separator: ",", omittingEmptySubsequences: false)
    let extents = parts.compactMap { Int($0) }
    guard parts.count == 4, extents.count == 4, extents.allSatisfy({ $0 >= 1 }) else {
      throw ToolError("--shape takes N,H,W,C, four numbers from 1 upwards, not \(shape)")
    }
    let result = try Shape(checking: extents)
    guard result.count <= 1 << 29 else {
      throw ToolError("--shape \(shape) has more than 2²⁹ elements")
    }
    return result
  }
}

/// What every benchmark reports, in milliseconds.
struct TimingReport: Encodable {
  var medianMs: Double
  var minMs: Double
  var runs: Int

  init(_ timing: Timing) {
    medianMs = timing.median * 1e3
    minMs = timing.minimum * 1e3
    runs = timing.runs
  }
}

/// `convnet bench convolution`.
struct BenchConvolutionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convolution",
    abstract: "Measures a convolution beside OpenBLAS's own speed on 2048 × 2048 × 2048.")

  @OptionGroup var shapeOptions: ShapeOptions
  @Option(parsing: .unconditional, help: "Output channels.") var filters: Int
  @Option(parsing: .unconditional, help: "Extent of the square kernel.") var kernel: Int
  @Option(parsing: .unconditional, help: "Pixels between neighbouring outputs.") var stride = 1
  @Option(help: "The strategy to force, such as im2col.") var strategy: String?
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Report: Encodable {
    var medianMs: Double
    var minMs: Double
    var runs: Int
    var lanes: Int
    var kernels: String
    var peakBytes: Int
    /// Scratch of one lane.
    var scratchBytes: Int
    var steps: [String]
    /// 10⁹ operations of a direct convolution a second.
    var gflops: Double
    /// The same of `sgemm` 2048³, one lane, in turns with the convolution.
    var sgemmGflops: Double
    /// The first over the second times the number of lanes.
    var sgemmRatio: Double
  }

  func run() throws {
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let benchmark = try ConvolutionBenchmark(
      input: shapeOptions.make(), filters: filters, kernel: kernel, stride: stride,
      strategy: strategy, lanes: lanes)
    kernelOptions.remarkOnEnvironment()
    let result = benchmark.run()
    let timing = TimingReport(result.timing)
    let report = Report(
      medianMs: timing.medianMs, minMs: timing.minMs, runs: timing.runs, lanes: lanes.count,
      kernels: kernels, peakBytes: result.peakByteCount, scratchBytes: result.scratchByteCount,
      steps: result.steps, gflops: result.gigaflops, sgemmGflops: result.sgemmGigaflops,
      sgemmRatio: result.gigaflops / (result.sgemmGigaflops * Double(lanes.count)))
    if json { return try Output.json(report) }
    for step in report.steps { try Output.line(step) }
    try Output.line(
      "median \(decimal(report.medianMs, 3)) ms, shortest \(decimal(report.minMs, 3)) ms, "
        + "\(report.runs) runs, lanes: \(report.lanes), \(report.kernels) kernels\n"
        + "\(decimal(report.gflops, 1)) GFLOP/s, sgemm 2048³ on one lane "
        + "\(decimal(report.sgemmGflops, 1)): \(decimal(report.sgemmRatio * 100, 1)) % a lane\n"
        + "\(report.peakBytes) bytes, of which \(report.scratchBytes) of scratch a lane")
  }
}

/// `convnet bench batchnorm`.
struct BenchBatchNormalizationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "batchnorm",
    abstract: "Measures batch normalisation beside the speed at which its memory can be streamed.")

  @OptionGroup var shapeOptions: ShapeOptions
  @Option(help: "blas or fused.")
  var strategy = "fused"
  @Option(help: "Seconds for each pass, at least.") var seconds = 2.0
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// One pass.
  struct PassReport: Encodable {
    var medianMs: Double
    var minMs: Double
    var runs: Int
    var peakBytes: Int
    var streamLimitMs: Double

    init(_ result: BatchNormalizationBenchmark.Result) {
      let timing = TimingReport(result.timing)
      (medianMs, minMs, runs) = (timing.medianMs, timing.minMs, timing.runs)
      peakBytes = result.peakByteCount
      streamLimitMs = result.streamLimit.median * 1e3
    }
  }

  /// The shape of the JSON.
  struct Report: Encodable {
    var strategy: String
    var lanes: Int
    var kernels: String
    var forward: PassReport
    var backward: PassReport
    var inference: PassReport
    var reductions: PassReport
  }

  func run() throws {
    guard let strategy = PlanOptions.BatchNormalizationStrategy(rawValue: strategy) else {
      let known = PlanOptions.BatchNormalizationStrategy.allCases.map(\.rawValue)
      throw ToolError(
        "there is no strategy “\(strategy)” for batch norm; there are: "
          + known.joined(separator: ", "))
    }
    guard (0...3600).contains(seconds) else {
      throw ToolError("--seconds takes a number from 0 to 3600, not \(seconds)")
    }
    let kernels = try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let benchmark = BatchNormalizationBenchmark(
      shape: try shapeOptions.make(), strategy: strategy, lanes: lanes, seconds: seconds)
    let forward = try PassReport(benchmark.run(.forward))
    kernelOptions.remarkOnEnvironment()
    let report = Report(
      strategy: strategy.rawValue, lanes: lanes.count, kernels: kernels,
      forward: forward,
      backward: PassReport(try benchmark.run(.backward)),
      inference: PassReport(try benchmark.run(.inference)),
      reductions: PassReport(try benchmark.run(.reductions)))
    if json { return try Output.json(report) }
    try Output.line("\(strategy.rawValue), lanes: \(lanes.count), \(kernels) kernels\n")
    let passes = [
      ("forward", report.forward), ("backward", report.backward), ("inference", report.inference),
      ("reductions", report.reductions),
    ]
    try Output.table(
      [["pass", "median ms", "shortest ms", "runs", "stream limit ms", "ratio", "bytes"]]
        + passes.map { name, pass in
          [
            name, decimal(pass.medianMs, 3), decimal(pass.minMs, 3), "\(pass.runs)",
            decimal(pass.streamLimitMs, 3), decimal(pass.medianMs / pass.streamLimitMs, 2),
            "\(pass.peakBytes)",
          ]
        }, right: Set(1...6))
  }
}
