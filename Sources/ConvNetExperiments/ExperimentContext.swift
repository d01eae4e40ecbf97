package import ConvNet
import Synchronization

/// What an experiment is given: data, seeds and how much time it may take.
package struct ExperimentContext: Sendable {
  /// How much is computed.
  package enum Scale: String, Hashable, Sendable, Codable {
    /// As published.
    case full
    /// All experiments within a minute, to see them work; the numbers mean little.
    case quick
    /// A few steps, for tests.
    case tiny
  }

  package let scale: Scale
  package let seeds: [UInt64]
  /// What to learn from and what to measure on, as files hold them.
  package let train: TrainingData
  package let test: TrainingData
  package let dataName: String
  /// The normalisation of pixels, measured on the training images.
  package let normalization: Normalization
  /// The threads that compute.
  let lanes: Lanes
  /// A Python that may have PyTorch, for a comparison; none for nil.
  let python: String?
  private let report: @Sendable (String) -> Void

  /// Makes a context; `report` gets lines about progress, from any thread.
  package init(
    scale: Scale, seeds: [UInt64], train: TrainingData, test: TrainingData, dataName: String,
    lanes: Lanes = .shared, python: String? = nil,
    report: @escaping @Sendable (String) -> Void = { _ in }
  ) throws {
    guard !seeds.isEmpty else {
      throw TrainingError(.invalidOption, "an experiment needs at least one seed")
    }
    self.scale = scale
    self.seeds = seeds
    self.train = train
    self.test = test
    self.dataName = dataName
    self.lanes = lanes
    self.python = python
    self.report = report
    normalization = try train.measuredNormalization()
  }

  /// Says how far an experiment is.
  func note(_ line: String) { report(line) }

  /// One of three values, by scale.
  package func choose<Value>(full: Value, quick: Value, tiny: Value) -> Value {
    switch scale {
    case .full: full
    case .quick: quick
    case .tiny: tiny
    }
  }

  /// The settings of every experiment.
  var settings: [ExperimentResult.Setting] {
    [
      .init("data", "\(dataName), \(train.count) training and \(test.count) test images"),
      .init("scale", scale.rawValue),
    ]
  }

  /// Does independent jobs, as many at once as there are lanes and each on one, which for small networks
  /// is faster than one after the other on all lanes; the results come in the order of the jobs.
  ///
  /// - Parameters:
  ///   - label: names a job in the line that reports its end; no line for nil.
  ///   - body: does a job with the lanes it is given.
  /// - Throws: the first error of a job, after all have ended.
  package func map<Job: Sendable, Output: Sendable>(
    _ jobs: [Job], label: (@Sendable (Job, Output) -> String)? = nil,
    _ body: @Sendable (Job, Lanes) throws -> Output
  ) throws -> [Output] {
    let results = Mutex([Swift.Result<Output, any Error>?](repeating: nil, count: jobs.count))
    lanes.run(pieces: jobs.count) { index, _ in
      let result = Swift.Result { () throws -> Output in try body(jobs[index], Lanes(count: 1)) }
      if let label, case .success(let output) = result { report(label(jobs[index], output)) }
      results.withLock { $0[index] = result }
    }
    return try results.withLock { $0 }.compactMap { try $0?.get() }
  }

  /// Does a job for each combination of a variant and a seed; the results are by variant, then by seed.
  package func forEachSeed<Variant: Sendable, Output: Sendable>(
    of variants: [Variant], label: (@Sendable (Variant, UInt64, Output) -> String)? = nil,
    _ body: @Sendable (Variant, UInt64, Lanes) throws -> Output
  ) throws -> [[Output]] {
    let jobs = variants.flatMap { variant in seeds.map { (variant, $0) } }
    let all = try map(jobs, label: label.map { label in { label($0.0, $0.1, $1) } }) {
      try body($0.0, $0.1, $1)
    }
    return variants.indices.map { Array(all[$0 * seeds.count..<($0 + 1) * seeds.count]) }
  }
}
