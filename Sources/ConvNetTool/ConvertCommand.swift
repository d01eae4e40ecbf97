import ArgumentParser
import ConvNet

/// `convnet convert`: a model from one kind of file into another.
struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Reads a model of any kind of file and writes it as another.",
    discussion: """
      What IN is, its contents tell: a saved model, an ONNX model (.onnx), or a checkpoint of PyTorch, \
      which needs --network, because it holds tensors and no network. OUT becomes what its name ends \
      in: .onnx, or for .safetensors a saved model; --to pytorch writes a checkpoint, with the names \
      and layouts of PyTorch's state_dict, without the network.
      """)

  @Argument(help: NetworkOptions.modelHelp) var input: String
  @Argument(help: "Where to write it.") var output: String
  @Option(
    help: "What to write, \(formats); by default what the name of the file says.",
    transform: format)
  var to: ModelFormat?
  @OptionGroup var networkOptions: NetworkOptions
  @Flag(help: "Fold batch norm into the layers beside it, where they have no other reader.")
  var foldBatchNorm = false
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Result: Encodable {
    var saved: String
    var from: String
    var to: String
    /// Parameters, as numbers.
    var parameters: Int
    /// Batch-norm layers that became part of others.
    var folded: Int
  }

  func run() throws {
    let format = try to ?? ModelFormat.forWriting(output)
    try Output.checkFolder(of: output)
    var model = try networkOptions.load(input)
    let source = try ModelFormat.recognize(input)
    var folded = 0
    if foldBatchNorm {
      let result = try FoldBatchNormalization().fold(model)
      (model, folded) = (result.model, result.report.folds.count)
    }
    try format.save(model, to: output)
    let result = Result(
      saved: output, from: source.rawValue, to: format.rawValue,
      parameters: model.parameters.values.reduce(0) { $0 + $1.count }, folded: folded)
    if json { return try Output.json(result) }
    let folding = foldBatchNorm ? ", \(folded) batch-norm layers folded" : ""
    try Output.line(
      "\(input) (\(result.from)) -> \(output) (\(result.to)): \(result.parameters) parameters"
        + folding)
  }

  private static func format(_ name: String) throws -> ModelFormat {
    if let format = ModelFormat(rawValue: name) { return format }
    throw ValidationError("there is no format “\(name)”; there are: \(formats)")
  }

  private static let formats = ModelFormat.allCases.map(\.rawValue).joined(separator: ", ")
}
