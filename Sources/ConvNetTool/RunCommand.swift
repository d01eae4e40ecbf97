import ArgumentParser
import ConvNet
import ConvNetReference

/// `convnet run`: arrays go in, arrays come out.
struct RunCommand: ParsableCommand {
  /// Who computes.
  enum Executor: String, ExpressibleByArgument, CaseIterable {
    case engine, reference
  }

  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Runs a saved model, in inference mode, on arrays in NumPy's format.",
    discussion: """
      Arrays enter the network as they are, in the model's own layout; the normalisation of pixels \
      that training found is in the model's metadata and is not applied. Without NAME= they are \
      taken in the order in which the model declares its inputs or outputs, see convnet inspect. \
      The engine folds batch norm into the layers beside it, see convnet inspect --folding; the \
      reference never does.
      """)

  @Argument(help: NetworkOptions.modelHelp) var model: String
  @OptionGroup var networkOptions: NetworkOptions
  @Option(help: "[NAME=]FILE.npy, once for each input.") var input: [String] = []
  @Option(help: "[NAME=]FILE.npy, for each output that is wanted.") var output: [String]
  @Option(help: "engine (fast) or reference (naive loops in Double).")
  var executor = Executor.engine
  @OptionGroup var foldingOptions: FoldingOptions
  @OptionGroup var exactnessOptions: ExactnessOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions

  func run() throws {
    try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    let (model, inputs) = try load()
    let graph = try ResolveMode(.inference).apply(to: model.graph)
    let targets = try NamedPath.match(output, to: graph.outputs.map(\.name), kind: "output")
    let outputs = try execute(model, inputs, wanted: targets.keys.sorted(), lanes: lanes)
    for (name, path) in targets.sorted(by: { $0.key < $1.key }) {
      guard let tensor = outputs[name] else { continue }
      try NpyFile.write(tensor, to: path)
      try Output.line("\(name) \(tensor.elementType.rawValue) \(tensor.shape) -> \(path)")
    }
  }

  /// The model, and its inputs by name.
  ///
  /// Shapes and indices that an ONNX model takes as inputs are built into it, and no inputs any more.
  private func load() throws -> (Model, [String: Tensor]) {
    if try ModelFormat.recognize(model) == .onnx {
      let names = try ONNXFile.inputNames(model)
      let given = try NamedPath.match(input, to: names, kind: "input").mapValues(NpyFile.read)
      let model = try ONNXFile.load(
        model, inputShapes: given.mapValues(\.shape), values: given)
      let left = try inputNames(of: model)
      return (model, given.filter { left.contains($0.key) })
    }
    let model = try networkOptions.load(model)
    let sources = try NamedPath.match(input, to: inputNames(of: model), kind: "input")
    return (model, try sources.mapValues(NpyFile.read))
  }

  /// The inputs of the model in inference, all of which are needed.
  private func inputNames(of model: Model) throws -> [String] {
    try ResolveMode(.inference).apply(to: model.graph).inputs.map(\.name)
  }

  private func execute(
    _ model: Model, _ inputs: [String: Tensor], wanted: [String], lanes: Lanes
  ) throws -> [String: Tensor] {
    if let missing = try inputNames(of: model).first(where: { inputs[$0] == nil }) {
      throw ToolError("the model's input “\(missing)” needs an --input")
    }
    switch executor {
    case .reference:
      return try Reference(model, mode: .inference).run(inputs: inputs)
    case .engine:
      let options = PredictorOptions(
        plan: exactnessOptions.planOptions, lanes: lanes, maximumConcurrency: 1,
        foldsBatchNormalization: !foldingOptions.noFolding)
      return try Predictor(model, options: options).predict(inputs, outputs: wanted)
    }
  }
}

/// `[NAME=]FILE`, as the command line writes it.
enum NamedPath {
  /// Gives every file a name: its own, or the first of `names` that is left.
  ///
  /// Only names that exist count as such, so that a path may hold an equals sign.
  static func match(
    _ arguments: [String], to names: [String], kind: String
  ) throws -> [String: String] {
    var paths: [String: String] = [:]
    var unnamed: [String] = []
    for argument in arguments {
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, names.contains(String(parts[0])) else {
        unnamed.append(argument)
        continue
      }
      guard paths.updateValue(String(parts[1]), forKey: String(parts[0])) == nil else {
        throw ToolError("the \(kind) “\(parts[0])” is given twice")
      }
    }
    let left = names.filter { paths[$0] == nil }
    guard unnamed.count <= left.count else {
      throw ToolError(
        "“\(unnamed[left.count])” belongs to no \(kind) of the model, which has: "
          + names.joined(separator: ", "))
    }
    for (name, path) in zip(left, unnamed) { paths[name] = path }
    return paths
  }
}
