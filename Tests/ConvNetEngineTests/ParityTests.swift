import ConvNetEngine
import ConvNetFormats
import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// What PyTorch, Keras and ONNX's reference compute in float64, recorded by
/// `scripts/fixtures/batchnorm.py`: two training steps and an inference, with gradients.
@Suite struct ParityTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var file: String
    var name: String
    var options: BatchNormalizationOptions
    var axis: Int
    var testDescription: String { "\(file) \(name)" }

    init(_ file: String, _ name: String, _ options: BatchNormalizationOptions, axis: Int = -1) {
      (self.file, self.name, self.options, self.axis) = (file, name, options, axis)
    }
  }

  static let cases: [Case] =
    ["1d", "1d-sequence", "2d", "3d"].map { Case("pytorch", $0, .pyTorch, axis: 1) }
    + ["dense", "sequence", "image", "volume"].map { Case("keras", $0, .keras) }
    + ["dense", "image"].map { Case("onnx", $0, .onnx, axis: 1) } + [
      Case("pytorch", "cumulative", options(.pyTorch) { $0.decay = .cumulative }, axis: 1),
      Case(
        "pytorch", "plain",
        options(.pyTorch) {
          ($0.scale, $0.shift, $0.tracksRunningStatistics) = (false, false, false)
        }, axis: 1),
      Case(
        "keras", "channels-first",
        options(.keras) { ($0.decay, $0.epsilon) = (.keepOld(0.75), 0.01) }, axis: 1),
      Case(
        "onnx", "options", options(.onnx) { ($0.decay, $0.epsilon) = (.keepOld(0.75), 0.01) },
        axis: 1),
    ]

  private static func options(
    _ preset: BatchNormalizationOptions, _ change: (inout BatchNormalizationOptions) -> Void
  ) -> BatchNormalizationOptions {
    var options = preset
    change(&options)
    return options
  }

  /// The recorded tensors of a case, by names such as `0/x`.
  private struct Record {
    let tensors: [String: Tensor]

    init(_ c: Case) throws {
      let folder = "\(#filePath)".split(separator: "/").dropLast(2).joined(separator: "/")
      let file = try SafetensorsFile.open("/\(folder)/Fixtures/BatchNorm/\(c.file).safetensors")
      var tensors: [String: Tensor] = [:]
      for (name, tensor) in try file.readAll() where name.hasPrefix("\(c.name)/") {
        tensors[String(name.dropFirst(c.name.count + 1))] = tensor
      }
      self.tensors = tensors
    }

    func tensor(_ phase: String, _ name: String) throws -> Tensor {
      try #require(tensors["\(phase)/\(name)"], "\(phase)/\(name)")
    }

    /// What a phase's results are made of.
    func inputs(_ phase: String) throws -> [String: Tensor] {
      var inputs = ["x": try tensor(phase, "x"), "dy": try tensor(phase, "dy")]
      (inputs["scale"], inputs["shift"]) = (tensors["scale"], tensors["shift"])
      return inputs
    }
  }

  /// Bounds for float32, after the loops: sums of m terms, then a·x + b and a·dy + b·x + k.
  ///
  /// With s the largest 1/√(σ²+ε), |x − μ| ≤ 2X, |x̂| ≤ √m, |γ| ≤ G, |β| ≤ B, |dy| ≤ D. The reference in
  /// Double has the same with 2⁻⁵² for 2⁻²³; the recorded numbers, too, are within it.
  private struct Bounds {
    var y, dx, dscale, dshift, mean, variance: Double

    init(_ inputs: [String: Tensor], samples m: Int, inverse s: Double) {
      func largest(_ name: String, _ none: Double) -> Double {
        inputs[name]?.doubles.reduce(0) { max($0, abs($1)) } ?? none
      }
      let (x, dy) = (largest("x", 0), largest("dy", 0))
      let (scale, shift) = (largest("scale", 1), largest("shift", 0))
      let root = Double(m).squareRoot()
      y =
        Tolerance.bound(terms: m, maxA: scale * s, maxB: 2 * x)
        + Tolerance.ulps(1, magnitude: shift)
      dx = Tolerance.bound(terms: m, maxA: scale * s * dy, maxB: (2 + root) * (1 + s * x))
      dscale = Tolerance.bound(terms: m, maxA: dy, maxB: 2 * x * s)
      dshift = Tolerance.bound(terms: m, maxA: dy, maxB: 1)
      mean = Tolerance.bound(terms: m, maxA: x, maxB: 1)
      variance = Tolerance.bound(terms: m, maxA: 2 * x, maxB: 2 * x)
    }

    func of(_ name: String) -> Double {
      switch name {
      case "y": y
      case "dx": dx
      case "dscale": dscale
      default: dshift
      }
    }
  }

  @Test(arguments: cases, PlanOptions.BatchNormalizationStrategy.allCases)
  func trap1And2And3MatchTheFramework(
    _ c: Case, _ strategy: PlanOptions.BatchNormalizationStrategy
  ) throws {
    let record = try Record(c)
    let norm = BatchNormalization(
      c.options, axis: c.axis, strategy: strategy, lanes: TestLanes.all[1])
    let (scale, shift) = (record.tensors["scale"], record.tensors["shift"])
    #expect((scale != nil) == c.options.scale && (shift != nil) == c.options.shift)
    let shape = try record.tensor("0", "x").shape
    let channels = shape[c.axis < 0 ? c.axis + shape.rank : c.axis]
    var running = BatchNormalization.Running(channels: channels)
    for phase in ["0", "1", "eval"] {
      let inputs = try record.inputs(phase)
      let (x, dy) = (try record.tensor(phase, "x"), try record.tensor(phase, "dy"))
      let (batchY, statistics) = try norm.forward(x, scale: scale, shift: shift)
      let fromBatch = phase != "eval" || !c.options.tracksRunningStatistics
      let y =
        try fromBatch
        ? batchY : norm.inference(x, scale: scale, shift: shift, running: running)
      let gradients =
        try fromBatch
        ? norm.backward(dy, x: x, scale: scale, statistics: statistics)
        : norm.backward(dy, x: x, scale: scale, running: running)
      let variance = fromBatch ? statistics.variance(.population) : running.variance
      let bounds = Bounds(
        inputs, samples: shape.count / channels,
        inverse: 1 / ((variance.doubles.min() ?? 0) + c.options.epsilon).squareRoot())
      var actual = ["y": y, "dx": gradients.dx]
      if scale != nil { actual["dscale"] = gradients.dScale }
      if shift != nil { actual["dshift"] = gradients.dShift }
      try compare(c, record, phase, actual.mapValues(ReferenceTensor.init)) { bounds.of($0) }
      if phase != "eval", c.options.tracksRunningStatistics {
        running = try #require(norm.updated(running, with: statistics))
      }
      guard c.options.tracksRunningStatistics else { continue }
      try compare(c, record, phase, running, after: statistics, bounds)
    }
  }

  private func compare(
    _ c: Case, _ record: Record, _ phase: String, _ running: BatchNormalization.Running,
    after batch: BatchNormalization.Statistics, _ bounds: Bounds
  ) throws {
    let (mean, variance) = (
      try record.tensor(phase, "running_mean").doubles,
      try record.tensor(phase, "running_var").doubles
    )
    // A share of the batch's error, and a rounding of each of two updates.
    let take = c.options.decay.weight(update: 1)
    let largest = (mean.map(abs) + variance).reduce(0, max)
    let rounding = Tolerance.ulps(2, magnitude: largest)
    expectClose(
      running.mean.doubles, mean, tolerance: take * bounds.mean + rounding, "\(phase) running mean")
    expectClose(
      running.variance.doubles, variance, tolerance: take * bounds.variance + rounding,
      "\(phase) running variance")
    // The bound is tight enough to tell the estimators apart.
    let (unbiased, population) = (
      batch.variance(.unbiased).doubles, batch.variance(.population).doubles
    )
    let gap = zip(unbiased, population).map { $0 - $1 }.max() ?? 0
    #expect(take * gap > 4 * (take * bounds.variance + rounding))
  }

  /// The definition agrees to the digits of Double in training, where it rounds nothing to float32.
  @Test(arguments: cases) func definitionMatchesTheFrameworkInDouble(_ c: Case) throws {
    let record = try Record(c)
    for phase in ["0", "1"] {
      let inputs = try record.inputs(phase)
      let shape = try record.tensor(phase, "x").shape
      let channels = shape[c.axis < 0 ? c.axis + shape.rank : c.axis]
      let statistics = try BatchNormalization(axis: c.axis, lanes: TestLanes.all[0])
        .forward(record.tensor(phase, "x")).statistics
      let smallest = statistics.variance(.population).doubles.min() ?? 0
      let bounds = Bounds(
        inputs, samples: shape.count / channels,
        inverse: 1 / (smallest + c.options.epsilon).squareRoot())
      // Attributes of ONNX are float32.
      let epsilon =
        c.file == "onnx" ? Double(Float(c.options.epsilon)) : c.options.epsilon
      let results = try NormalizationReference(
        axis: c.axis, epsilon: epsilon, source: .batch)(inputs)
      try compare(c, record, phase, results) { bounds.of($0) * 0x1p-29 }
    }
  }

  /// Expects what was recorded; ONNX's reference records no gradients.
  private func compare(
    _ c: Case, _ record: Record, _ phase: String, _ actual: [String: ReferenceTensor],
    tolerance: (String) -> Double
  ) throws {
    for (name, value) in actual where name == "y" || c.file != "onnx" {
      let expected = try record.tensor(phase, name)
      #expect(value.shape == expected.shape)
      expectClose(
        value.values, expected.doubles, tolerance: tolerance(name), "\(c.name) \(phase) \(name)")
    }
  }
}
