import ArgumentParser
import ConvNet
import ConvNetExperiments
import FoundationEssentials
import Glibc

/// `convnet experiment`: measures the claims about batch normalisation.
struct ExperimentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "experiment",
    abstract: "Measures a claim about batch normalisation and says whether it held.",
    discussion: """
      NAME is one of \(Experiments.all.map(\.name).joined(separator: ", ")), or all, or list. The verdict \
      is computed from the numbers, which are means and standard deviations over the seeds. One seed \
      gives the same numbers on every repeat and for any number of lanes.
      """)

  @Argument(help: "An experiment, all, or list.") var name: String
  @Flag(help: "Compute little, to see it work; the numbers mean little.") var quick = false
  @Option(parsing: .unconditional, help: "How often everything is repeated from another seed.")
  var seeds = 3
  @Option(help: "A folder for NAME.json and NAME.svg, made if need be.") var output: String?
  @Option(help: "fashion-mnist, or a folder with the four files of the MNIST family.")
  var data = "fashion-mnist"
  @Option(
    help: """
      A Python with PyTorch, for the comparison in `cost`; by default CONVNET_PYTHON, or python3.
      """)
  var python: String?
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  func run() throws {
    if name == "list" { return try list() }
    let experiments = try name == "all" ? Experiments.all : [found()]
    guard (1...100).contains(seeds) else {
      throw ToolError("--seeds takes a number from 1 to 100, not \(seeds)")
    }
    if let output {
      try makeFolder(output)
      try Output.checkFolder(of: "\(output)/")
    }
    try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let dataset = try DataOptions.load(data)
    let context = try ExperimentContext(
      scale: quick ? .quick : .full, seeds: (1...UInt64(seeds)).map { $0 },
      train: TrainingData(dataset.train), test: TrainingData(dataset.test), dataName: data,
      lanes: lanes, python: python ?? Self.pythonOfEnvironment ?? "python3",
      report: { Output.remark($0) })
    kernelOptions.remarkOnEnvironment()
    var failures: [String] = []
    Experiments.run(experiments, in: context, show: show) { name, error in
      Output.remark("\(name): \(error)")
      failures.append(name)
    }
    guard failures.isEmpty else {
      throw ToolError("without a result: \(failures.joined(separator: ", "))")
    }
  }

  private func list() throws {
    if json {
      struct Entry: Encodable {
        var name: String
        var claim: Claim
      }
      return try Output.json(Experiments.all.map { Entry(name: $0.name, claim: $0.claim) })
    }
    for experiment in Experiments.all {
      try Output.line("\(experiment.name): \(experiment.claim.text) (\(experiment.claim.source))")
    }
  }

  private func found() throws -> any Experiment {
    guard let experiment = Experiments.named(name) else {
      throw ToolError(
        "there is no experiment \(name), only "
          + Experiments.all.map(\.name).joined(separator: ", "))
    }
    return experiment
  }

  private func show(_ result: ExperimentResult) throws {
    if let output {
      try Self.write(Output.encoder().encode(result), to: "\(output)/\(result.name).json")
      if !result.figures.isEmpty {
        try Self.write(Data(result.svg().utf8), to: "\(output)/\(result.name).svg")
      }
    }
    if json { return try Output.json(result, isCompact: true) }
    try Output.line("\(result.name): \(result.claim.text) (\(result.claim.source))\n")
    for setting in result.settings { try Output.line("\(setting.name): \(setting.value)") }
    try Output.line()
    let columns = result.table.headings.count
    try Output.table([result.table.headings] + result.table.rows, right: Set(1..<max(columns, 1)))
    try Output.line("\n\(result.verdict.sentence)\n")
    guard let names = result.names else { return }
    try Output.table([names.headings] + names.rows)
    try Output.line()
  }

  private static var pythonOfEnvironment: String? {
    getenv("CONVNET_PYTHON").map { String(cString: $0) }
  }

  private static func write(_ data: Data, to path: String) throws {
    try AtomicFile.write(to: path) { file in
      try data.withUnsafeBytes { bytes in try file.append(bytes) }
    }
  }
}
