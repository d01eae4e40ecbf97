import ConvNet
import OpenBLAS

/// What batch norm costs: time, memory and parameters of a training step and of inference.
package struct CostExperiment: Experiment {
  package init() {}

  package var name: String { "cost" }

  package var claim: Claim {
    Claim(
      "Batch normalisation adds little to the cost of training and, because at inference it is a linear "
        + "map that goes into the layer before, nothing to that of inference.",
      source: "Ioffe & Szegedy 2015, section 3.1, algorithm 2")
  }

  /// What is run, with and without batch norm.
  private enum Pass: String, CaseIterable {
    case training = "training step"
    case inference = "inference"
    case folded = "inference, folded"

    /// What PyTorch's script calls it.
    var normalizedName: String {
      switch self {
      case .training: "training normalized"
      case .inference: "inference normalized"
      case .folded: "inference folded"
      }
    }
    var plainName: String { self == .training ? "training plain" : "inference plain" }
  }

  /// The shortest time of a pass in each round, in seconds.
  private struct Times {
    var normalized = Sample([])
    var plain = Sample([])

    /// What batch norm adds, round by round, as a part of the time without.
    var overhead: Sample { Sample(zip(normalized.values, plain.values).map { $0 / $1 - 1 }) }
  }

  /// What batch norm may add and still count as little, as parts of what there is without it.
  private enum Little {
    static let training = 0.1
    static let folded = 0.02
    static let memory = 0.1
    static let parameters = 0.01

    static var text: String {
      func percent(_ part: Double) -> String { "\(decimal(part * 100, 0)) %" }
      return
        "less than \(percent(training)) of a step's time, \(percent(folded)) of folded inference's, "
        + "\(percent(memory)) of a step's memory and \(percent(parameters)) of the parameters"
    }
  }

  private struct Setup {
    var network: Network
    var batchSize: Int
    var size: Int?
    var rounds: Int
    var seconds: Double
  }

  package func run(_ context: ExperimentContext) throws -> ExperimentResult {
    let setup = context.choose(
      full: Setup(network: .resnet18, batchSize: 16, size: 224, rounds: 7, seconds: 0.5),
      quick: Setup(network: .resnet18, batchSize: 4, size: 64, rounds: 3, seconds: 0.05),
      tiny: Setup(network: .fashion, batchSize: 2, size: nil, rounds: 2, seconds: 0))
    let subject = try Subject(context, setup)
    let peer = peer(context, setup)
    var times = [Pass: Times]()
    var peerTimes = [Pass: Times]()
    for round in 1...setup.rounds {
      for pass in Pass.allCases {
        times[pass, default: Times()].normalized.values.append(
          try subject.seconds(pass.normalizedName, setup.seconds))
      }
      for (name, passes) in [
        (Pass.training.plainName, [Pass.training]),
        (Pass.inference.plainName, [.inference, .folded]),
      ] {
        let seconds = try subject.seconds(name, setup.seconds)
        for pass in passes { times[pass]?.plain.values.append(seconds) }
      }
      if let peer { ask(peer.peer, setup, &peerTimes) }
      context.note("cost: round \(round) of \(setup.rounds)")
    }
    return result(
      context, setup, subject, times, peer: peer.map { ($0.version, peerTimes) })
  }

  /// The networks that are measured, on all lanes.
  private struct Subject {
    let training: (normalized: TrainingBenchmark, plain: TrainingBenchmark)
    let inference:
      (normalized: InferenceBenchmark, folded: InferenceBenchmark, plain: InferenceBenchmark)
    let parameters: (normalized: Int, plain: Int)
    let lanes: Int

    init(_ context: ExperimentContext, _ setup: Setup) throws {
      lanes = context.lanes.count
      func training(_ isNormalized: Bool) throws -> TrainingBenchmark {
        try TrainingBenchmark(
          network: setup.network,
          .init(
            batchSize: setup.batchSize, size: setup.size, batchNormalization: isNormalized,
            lanes: context.lanes))
      }
      func inference(_ isNormalized: Bool, folds: Bool) throws -> InferenceBenchmark {
        let graph = try setup.network.graph(batchNormalization: isNormalized, size: setup.size)
        return try InferenceBenchmark(
          model: Model(randomizing: graph),
          .init(
            batchSize: setup.batchSize, foldsBatchNormalization: folds, lanes: context.lanes))
      }
      self.training = (try training(true), try training(false))
      self.inference = (
        try inference(true, folds: false), try inference(true, folds: true),
        try inference(false, folds: true)
      )
      parameters = (self.training.normalized.parameterCount, self.training.plain.parameterCount)
    }

    /// The shortest time of a pass.
    func seconds(_ name: String, _ seconds: Double) throws -> Double {
      switch name {
      case Pass.training.normalizedName:
        try training.normalized.run(seconds: seconds).timing.minimum
      case Pass.training.plainName: try training.plain.run(seconds: seconds).timing.minimum
      case Pass.inference.normalizedName:
        try inference.normalized.run(seconds: seconds).timing.minimum
      case Pass.folded.normalizedName: try inference.folded.run(seconds: seconds).timing.minimum
      default: try inference.plain.run(seconds: seconds).timing.minimum
      }
    }
  }

  // MARK: PyTorch

  private func peer(
    _ context: ExperimentContext, _ setup: Setup
  ) -> (peer: PythonPeer, version: String)? {
    guard let python = context.python, setup.network == .resnet18, let size = setup.size,
      let peer = PythonPeer(
        python, script: TorchResNet.script,
        arguments: ["\(context.lanes.count)", "\(setup.batchSize)", "\(size)"]),
      let version = peer.line()
    else { return nil }
    return (peer, version)
  }

  /// One round of the peer; what it does not answer is left out.
  private func ask(_ peer: PythonPeer, _ setup: Setup, _ times: inout [Pass: Times]) {
    func seconds(_ name: String) -> Double? { peer.ask("\(name) \(setup.seconds)") }
    guard let training = seconds(Pass.training.plainName),
      let inference = seconds(Pass.inference.plainName)
    else { return }
    let normalized = Pass.allCases.compactMap { seconds($0.normalizedName) }
    guard normalized.count == Pass.allCases.count else { return }
    for (pass, time) in zip(Pass.allCases, normalized) {
      times[pass, default: Times()].normalized.values.append(time)
      times[pass]?.plain.values.append(pass == .training ? training : inference)
    }
  }

  // MARK: What it comes to

  private func result(
    _ context: ExperimentContext, _ setup: Setup, _ subject: Subject, _ times: [Pass: Times],
    peer: (version: String, times: [Pass: Times])?
  ) -> ExperimentResult {
    let torch = peer.map { "PyTorch \($0.version)" } ?? "PyTorch (not found)"
    var table = ExperimentResult.Table([
      "", "without batch norm", "with batch norm", "added", "\(torch), without", "with", "added",
    ])
    for pass in Pass.allCases {
      table.rows.append(
        ["\(pass.rawValue), ms"] + cells(times[pass]) + cells(peer?.times[pass]))
    }
    let memory = (
      normalized: subject.training.normalized.peakByteCount,
      plain: subject.training.plain.peakByteCount
    )
    table.rows.append(
      ["memory of a training step, MiB"] + counts(memory.plain, memory.normalized, unit: 1 << 20))
    table.rows.append(
      ["parameters"] + counts(subject.parameters.plain, subject.parameters.normalized, unit: 1))
    return ExperimentResult(
      self, context,
      settings: [
        .init(
          "network",
          "\(setup.network.rawValue), batches of \(setup.batchSize) images"
            + (setup.size.map { " of \($0)×\($0)" } ?? "")),
        .init("without batch norm", "convolutions have biases instead"),
        .init("time", "the shortest pass of each of \(setup.rounds) rounds, all in turns"),
        .init("threads", "\(subject.lanes)"),
        .init("little", Little.text),
        .init("kernels", BLAS.bootstrap().core),
      ], table: table, figures: [figure(times, peer?.times ?? [:])],
      verdict: Verdict(checks(times, subject, memory, peer: peer?.times)), seeds: [])
  }

  private func cells(_ times: Times?) -> [String] {
    guard let times, !times.plain.values.isEmpty else { return ["-", "-", "-"] }
    func milliseconds(_ sample: Sample) -> String { Sample(sample.values.map { $0 * 1e3 }).text(2) }
    return [milliseconds(times.plain), milliseconds(times.normalized), times.overhead.percent]
  }

  private func counts(_ plain: Int, _ normalized: Int, unit: Int) -> [String] {
    func text(_ count: Int) -> String {
      unit == 1 ? "\(count)" : decimal(Double(count) / Double(unit), 1)
    }
    let added = decimal((Double(normalized) / Double(plain) - 1) * 100, 2)
    return [text(plain), text(normalized), "\(added) %", "-", "-", "-"]
  }

  private func checks(
    _ times: [Pass: Times], _ subject: Subject, _ memory: (normalized: Int, plain: Int),
    peer: [Pass: Times]?
  ) -> [Verdict.Check] {
    func added(_ pass: Pass, _ times: [Pass: Times]?) -> Sample {
      times?[pass]?.overhead ?? Sample([0])
    }
    let (training, folded) = (added(.training, times), added(.folded, times))
    let memoryAdded = Double(memory.normalized) / Double(memory.plain) - 1
    let parametersAdded =
      Double(subject.parameters.normalized) / Double(subject.parameters.plain) - 1
    var checks: [Verdict.Check] = [
      .init(
        "a training step takes \(training.percent) longer with batch norm",
        training.mean < Little.training),
      .init(
        "inference takes \(added(.inference, times).percent) longer as it stands and "
          + "\(folded.percent) longer with batch norm folded into the convolutions",
        folded.mean < Little.folded),
      .init(
        "a step needs \(decimal(memoryAdded * 100, 2)) % more memory and the network "
          + "\(decimal(parametersAdded * 100, 2)) % more parameters",
        memoryAdded < Little.memory && parametersAdded < Little.parameters),
    ]
    if let peer, Pass.allCases.allSatisfy({ peer[$0]?.overhead.values.isEmpty == false }) {
      checks.append(
        .init(
          "in PyTorch, in the same run, a step takes \(added(.training, peer).percent) longer and "
            + "inference \(added(.inference, peer).percent), folded \(added(.folded, peer).percent)",
          !training.isClearlyAbove(added(.training, peer))))
    }
    return checks
  }

  /// What batch norm adds in each round.
  private func figure(_ times: [Pass: Times], _ peer: [Pass: Times]) -> Figure {
    let sides = [("ConvNet", times, false), ("PyTorch", peer, true)]
    let series = sides.flatMap { name, times, isPeer in
      Pass.allCases.enumerated().compactMap { index, pass -> Figure.Series? in
        guard let added = times[pass]?.overhead.values, !added.isEmpty else { return nil }
        return Figure.Series(
          "\(name), \(pass.rawValue)",
          added.enumerated().map { Figure.Point(Double($0.offset + 1), $0.element * 100) },
          isDashed: isPeer, color: index)
      }
    }
    return Figure(
      "What batch norm adds", subtitle: "shortest pass of each round", x: Figure.Axis("round"),
      y: Figure.Axis("more time, %"), series: series)
  }
}
