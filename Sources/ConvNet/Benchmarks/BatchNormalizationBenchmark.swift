import CConvNetLoops
import Synchronization

/// The speed of batch normalisation, beside that at which the same memory can be streamed.
public struct BatchNormalizationBenchmark {
  /// What is measured.
  public enum Pass: String, Sendable, CaseIterable {
    /// Batch statistics, then normalisation: x is read, then read again while y is written.
    case forward
    /// dβ and dγ, then dx: x and dy are read, then read again while dx is written.
    case backward
    /// Normalisation with running statistics, that is scale and shift alone: x is read while y is written.
    case inference
    /// Batch statistics alone: x is read.
    case reductions
  }

  /// A pass and its limit.
  public struct Result: Sendable {
    /// The pass.
    public let timing: Timing
    /// Reading and writing the same buffers as often, on the same lanes, with hardly any arithmetic.
    public let streamLimit: Timing
    /// Bytes that the plan needs besides parameters.
    public let peakByteCount: Int
  }

  private let shape: Shape
  private let lanes: Lanes
  private let options: PlanOptions
  private let seconds: Double

  /// Prepares a measurement of `[N, H, W, C]` with γ and β, in at least 5 rounds and so many seconds.
  public init(
    shape: Shape, strategy: PlanOptions.BatchNormalizationStrategy = .fused,
    lanes: Lanes = .shared, seconds: Double = 2
  ) {
    self.shape = shape
    self.seconds = seconds
    self.lanes = lanes
    options = PlanOptions(batchNormalization: strategy)
  }

  /// Measures one pass.
  ///
  /// - Throws: `GraphError` or `PlanError` where there is no batch norm of this shape.
  public func run(_ pass: Pass) throws -> Result {
    let graph = try pass == .backward ? backwardGraph() : forwardGraph(pass)
    let runner = try PlanRunner(
      Model(initializing: graph, seed: 1),
      inputShapes: pass == .backward ? ["x": shape, "dy": shape] : ["x": shape],
      lanes: lanes, options: options)
    if pass == .backward { try setStatistics(runner) }
    let limit = try StreamLimit(runner, pass, lanes: lanes, count: shape.count)
    let timings = Timing.compare(seconds: seconds, [runner.run, limit.run])
    return Result(
      timing: timings[0], streamLimit: timings[1], peakByteCount: runner.plan.peakByteCount)
  }

  /// Statistics as data of mean 0 and variance 1 would give them.
  private func setStatistics(_ runner: PlanRunner) throws {
    let channels: Shape = [shape.dimensions.last ?? 1]
    let rows = Double(shape.count / max(channels.count, 1))
    try runner.workspace.setInput("count", to: Tensor(scalar: rows))
    try runner.workspace.setInput(
      "mean", to: Tensor(zeros: channels, elementType: .float64))
    try runner.workspace.setInput("m2", to: Tensor(repeating: rows, shape: channels))
  }

  private func forwardGraph(_ pass: Pass) throws -> Graph {
    if pass == .reductions {
      let builder = GraphBuilder()
      let x = builder.addInput("x", TensorType(.float32, shape))
      let moments = builder.add(.batchMoments(BatchMoments(axis: -1)), [x])
      for (name, value) in zip(["count", "mean", "y"], moments) { builder.addOutput(name, value) }
      return try builder.finish()
    }
    let graph = try Graph(inputs: [("x", TensorType(.float32, shape))]) { values in
      ["y": values[0].batchNormalization()]
    }
    return try ResolveMode(pass == .inference ? .inference : .training).apply(to: graph)
  }

  /// The two backward operations alone, with statistics from outside.
  private func backwardGraph() throws -> Graph {
    let builder = GraphBuilder()
    let channels: Shape = [shape.dimensions.last ?? 1]
    let type = TensorType(.float32, shape)
    let x = builder.addInput("x", type)
    let dy = builder.addInput("dy", type)
    let statistics = [
      builder.addInput("count", TensorType(.float64, [] as Shape)),
      builder.addInput("mean", TensorType(.float64, channels)),
      builder.addInput("m2", TensorType(.float64, channels)),
    ]
    let scale = builder.addParameter("weight", channels, role: .normalizationScale)
    let attributes = NormalizeGradient(axis: -1, epsilon: 1e-5, source: .batch, hasScale: true)
    let sums = builder.add(.normalizeGradientSums(attributes), [dy, x] + statistics)
    let dx = builder.add(
      .normalizeGradientInput(attributes), [dy, x] + statistics + sums + [scale])
    builder.addOutput("y", dx[0])
    return try builder.finish()
  }
}

/// The least that a pass has to move, moved with hardly any arithmetic: a sum in eight accumulators of
/// a vector each where data are read, and y = a·x + b or y = x + dy where they are written.
private struct StreamLimit {
  private let pass: BatchNormalizationBenchmark.Pass
  private let lanes: Lanes
  private let ranges: [Range<Int>]
  /// Addresses, because pointers may not go from lane to lane; every lane has a range of its own.
  private let x: UInt
  private let dy: UInt
  private let y: UInt
  /// Whether writing goes past the caches.
  private let streams: Bool
  /// Where the sums go, so that they are needed.
  private let sums: [Sum]

  /// Streams the buffers of a runner's own plan.
  init(
    _ runner: PlanRunner, _ pass: BatchNormalizationBenchmark.Pass, lanes: Lanes, count: Int
  ) throws {
    self.pass = pass
    self.lanes = lanes
    let vector = 16
    streams = ChannelLayout.streams(rows: count, channels: 1)
    sums = (0..<lanes.count).map { _ in Sum() }
    ranges = (0..<lanes.count).map { lane in
      let start = count * lane / lanes.count / vector * vector
      let end = lane + 1 == lanes.count ? count : count * (lane + 1) / lanes.count / vector * vector
      return start..<end
    }
    x = try runner.workspace.withInput("x") { UInt(bitPattern: $0.baseAddress) }
    dy =
      try pass == .backward
      ? runner.workspace.withInput("dy") { UInt(bitPattern: $0.baseAddress) } : 0
    y = try runner.workspace.withOutput("y") { UInt(bitPattern: $0.baseAddress) }
  }

  private final class Sum: Sendable {
    private let bits = Atomic<UInt64>(0)
    func store(_ value: Double) {
      bits.store(value.bitPattern, ordering: .relaxed)
    }
  }

  func run() {
    if pass != .inference { read() }
    if pass != .reductions { write() }
  }

  private func read() {
    let (ranges, inputs, sums) = (ranges, pass == .backward ? [x, dy] : [x], sums)
    lanes.run(pieces: ranges.count) { piece, _ in
      var total = 0.0
      let range = ranges[piece]
      for start in stride(from: range.lowerBound, to: range.upperBound, by: 4096) {
        for input in inputs {
          guard let source = UnsafePointer<Float>(bitPattern: input) else { return }
          total += cnl_sum(source + start, min(4096, range.upperBound - start))
        }
      }
      sums[piece].store(total)
    }
  }

  private func write() {
    let (ranges, x, dy, y, streams) = (ranges, x, dy, y, streams)
    lanes.run(pieces: ranges.count) { piece, _ in
      let (start, count) = (ranges[piece].lowerBound, ranges[piece].count)
      guard let source = UnsafePointer<Float>(bitPattern: x),
        let target = UnsafeMutablePointer<Float>(bitPattern: y)
      else { return }
      if streams {
        // As one channel after another of 16, past the caches, as batch norm itself writes so much.
        let ones = [Float](repeating: 1.5, count: 16)
        if let other = UnsafePointer<Float>(bitPattern: dy) {
          cnl_normalize_gradient(
            target + start, source + start, other + start, ones, ones, ones, ones, count / 16, 16,
            1)
        } else {
          cnl_normalize(
            target + start, source + start, ones, ones, ones, -.infinity, .infinity, count / 16, 16,
            1)
        }
      } else if let other = UnsafePointer<Float>(bitPattern: dy) {
        cnl_combine(
          Int32(CNL_ADD.rawValue), target + start, count, source + start, count, 1, other + start,
          count, 1, 1, count)
      } else {
        cnl_map(Int32(CNL_AFFINE.rawValue), 1.5, 2, target + start, source + start, count)
      }
    }
  }
}
