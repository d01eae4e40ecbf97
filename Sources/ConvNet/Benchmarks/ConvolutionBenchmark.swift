import OpenBLAS

/// The speed of one convolution, beside that of OpenBLAS on a large square product.
public struct ConvolutionBenchmark {
  /// What was measured.
  public struct Result: Sendable {
    /// The convolution.
    public let timing: Timing
    /// `sgemm` of 2048 × 2048 × 2048 on one lane, in the same minutes.
    public let sgemm: Timing
    /// The steps of the plan, strategy first.
    public let steps: [String]
    /// Bytes that the plan needs besides parameters.
    public let peakByteCount: Int
    /// Scratch of one lane, in bytes.
    public let scratchByteCount: Int
    /// Floating-point operations of the convolution's definition: 2 for each multiply-add.
    public let operationCount: Int

    /// 10⁹ operations of the definition a second.
    public var gigaflops: Double { Double(operationCount) / timing.median / 1e9 }
    /// The same of `sgemm`, one lane.
    public var sgemmGigaflops: Double {
      let size = Double(ConvolutionBenchmark.sgemmSize)
      return 2 * size * size * size / sgemm.median / 1e9
    }
  }

  fileprivate static let sgemmSize = 2048
  /// 2 GiB: enough to measure, little enough not to bring a machine down by a slip.
  private static let floatLimit = 1 << 29

  private let runner: PlanRunner
  private let operationCount: Int

  /// Prepares a convolution without bias, padded to keep its extents up to the stride.
  ///
  /// - Parameters:
  ///   - input: `[N, H, W, C]`.
  ///   - filters: the number of output channels.
  ///   - kernel: the extent of the square kernel.
  ///   - stride: pixels between neighbouring outputs.
  ///   - strategy: the strategy to force; nil leaves the choice to the engine.
  ///   - lanes: the threads that compute.
  /// - Throws: `GraphError` or `PlanError` where shapes do not fit or the strategy cannot be had.
  public init(
    input: Shape, filters: Int, kernel: Int, stride: Int = 1, strategy: String? = nil,
    lanes: Lanes = .shared
  ) throws {
    let graph = try Graph(input: TensorType(.float32, input)) { x in
      x.convolution(filters, kernel: kernel, stride: stride, bias: false)
    }
    let outputs = graph.outputViews.first?.type.shape?.count ?? 0
    let floats = input.count + outputs + graph.trainableCount
    guard floats <= Self.floatLimit else {
      throw PlanError(
        .unsupported, "\(floats) numbers are more than a benchmark takes, \(Self.floatLimit)",
        at: "convolution of \(input)")
    }
    operationCount = 2 * outputs * kernel * kernel * input[3]
    runner = try PlanRunner(
      Model(initializing: graph, seed: 1), inputShapes: ["input": input], lanes: lanes,
      options: PlanOptions(convolution: strategy))
  }

  /// Measures, in at least 5 rounds and 2 seconds.
  public func run() -> Result {
    let size = Self.sgemmSize
    let a = [Float](repeating: 0.5, count: size * size)
    let b = [Float](repeating: 0.25, count: size * size)
    var c = [Float](repeating: 0, count: size * size)
    let timings = Timing.compare([
      runner.run,
      {
        a.withUnsafeBufferPointer { a in
          b.withUnsafeBufferPointer { b in
            c.withUnsafeMutableBufferPointer { c in
              BLAS.sgemm(
                BLAS.Matrix(a, rows: size, columns: size),
                BLAS.Matrix(b, rows: size, columns: size),
                into: BLAS.MutableMatrix(c, rows: size, columns: size))
            }
          }
        }
      },
    ])
    return Result(
      timing: timings[0], sgemm: timings[1], steps: runner.plan.stepDescriptions,
      peakByteCount: runner.plan.peakByteCount, scratchByteCount: runner.plan.scratchByteCount,
      operationCount: operationCount)
  }
}
