import ArgumentParser
import ConvNet
import ConvNetImages

/// `convnet predict`: what is on photographs.
struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Tells the most likely classes of JPEG and PNG files.",
    discussion: """
      Images are resized, cut and normalised as the model says that it was trained; what it does not \
      say is assumed, with a remark. An image that cannot be read gets a sentence, the others are \
      answered, and the status is not 0 then. With --json every image is an object on a line of its own.
      """)

  @Argument(help: NetworkOptions.modelHelp) var model: String
  @Argument(help: "JPEG or PNG files.") var images: [String]
  @Option(parsing: .unconditional, help: "How many classes to tell.") var top = 5
  @OptionGroup var networkOptions: NetworkOptions
  @OptionGroup var laneOptions: LaneOptions
  @OptionGroup var kernelOptions: KernelOptions
  @Flag(help: "Print JSON only.") var json = false

  /// An image, as a line of JSON.
  struct Answer: Encodable {
    var image: String
    var classes: [ImageClassifier.Guess]?
    var error: String?
  }

  func run() throws {
    guard top >= 1 else { throw ToolError("--top must be at least 1, not \(top)") }
    let model = try networkOptions.load(model)
    try kernelOptions.bootstrap()
    let classifier = try ImageClassifier(
      model, options: PredictorOptions(lanes: laneOptions.make()))
    for assumption in classifier.treatment.assumptions { Output.remark(assumption) }
    var failures = 0
    for image in images {
      do {
        try show(Answer(image: image, classes: Array(classifier.classify(image).prefix(top))))
      } catch let error as FileError {
        failures += 1
        if json { try show(Answer(image: image, error: error.description)) }
        Output.remark(error.description)
      }
    }
    if failures > 0 { throw ExitCode.failure }
  }

  private func show(_ answer: Answer) throws {
    if json { return try Output.json(answer, isCompact: true) }
    let classes = answer.classes ?? []
    if images.count > 1 { try Output.line("\(answer.image):") }
    try Output.table(
      classes.map { [decimal($0.probability * 100, 2) + " %", $0.name] }, right: [0])
  }
}
