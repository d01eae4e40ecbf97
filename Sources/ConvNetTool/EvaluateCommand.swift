import ArgumentParser
import ConvNet
import ConvNetImages

/// `convnet evaluate`: how a saved model does on labelled images.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measures a saved model on the test images of a data set.")

  @Argument(help: NetworkOptions.modelHelp) var model: String
  @OptionGroup var networkOptions: NetworkOptions
  @OptionGroup var dataOptions: DataOptions
  @OptionGroup var foldingOptions: FoldingOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Result: Encodable {
    var accuracy: Double
    /// Of the five largest logits; left out where there are no more than five classes.
    var topFiveAccuracy: Double?
    var loss: Double
    var count: Int
    var classes: [String]
    /// Of each class the part of its samples that were recognised; null where it has none.
    var recalls: [Double?]
    /// For each true class (row) how often each class was predicted (column).
    var confusion: [[Int]]
  }

  func run() throws {
    try kernelOptions.bootstrap()
    let lanes = try laneOptions.make()
    var model = try networkOptions.load(model)
    let labelled = try dataOptions.load(model.imageTreatment().preprocessing)
    defer { labelled.remarkOnUnreadable() }
    let data = try labelled.tested(classNames: model.classNames)
    model = try model.taking(data)
    let evaluation = try Evaluator(foldingOptions.fold(model).model, lanes: lanes)
      .evaluate(data)
    let result = Result(
      accuracy: evaluation.accuracy, topFiveAccuracy: evaluation.topFiveAccuracy,
      loss: evaluation.loss, count: evaluation.count, classes: data.classNames,
      recalls: evaluation.recalls, confusion: evaluation.confusion)
    if json { return try Output.json(result) }
    let topFive = result.topFiveAccuracy.map { ", top 5 \(decimal($0 * 100, 2)) %" } ?? ""
    try Output.line(
      "accuracy \(decimal(result.accuracy * 100, 2)) %\(topFive), loss \(decimal(result.loss, 4)), "
        + "\(result.count) images\n\nconfusion: true classes in rows, predictions in columns")
    let names = result.classes
    let header = [""] + names.indices.map(String.init) + ["recognised"]
    let rows = zip(result.confusion, result.recalls).enumerated().map { index, row in
      ["\(index) \(names[index])"] + row.0.map(String.init)
        + [row.1.map { decimal($0 * 100, 1) + " %" } ?? "none"]
    }
    try Output.table([header] + rows, right: Set(1...(names.count + 1)))
  }
}
