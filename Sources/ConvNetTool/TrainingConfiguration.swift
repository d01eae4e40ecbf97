import ConvNet
import ConvNetFormats
import FoundationEssentials

/// The options of `train` as a file: what `--config` takes and `--checkpoints` leaves.
///
/// Each key but `recipe` is an option of the command line under its own name, with _ for -; where both are
/// given the command line wins.
struct TrainingConfiguration: Codable {
  var data: String?
  var unreadable: String?
  var validation: Double?
  var imageSize: Int?
  var normalization: String?
  var network: String?
  var model: String?
  var classes: Int?
  var replaceHead: Bool?
  var freeze: [String]?
  var noBatchNorm: Bool?
  var seed: UInt64?
  var checkpointEvery: Int?
  var keep: Int?
  var earlyStopping: Int?
  var metric: String?
  var keepBest: Bool?
  /// Everything that makes a recipe, or a part of it.
  var recipe: RecipeChanges?

  static let fileName = "config.json"
  private static let part = "configuration"

  /// Reads a file.
  ///
  /// - Throws: `ToolError` naming an unknown key and the nearest known one, or `FileError`.
  static func load(_ path: String) throws -> TrainingConfiguration {
    let file = try FileReader(path)
    guard file.size < 1 << 20 else {
      throw FileError(.tooLarge, "a configuration does not take \(file.size) bytes", at: path)
    }
    guard let text = String(validating: try file.bytes(count: file.size, at: 0), as: UTF8.self)
    else { throw FileError(.malformed, "the configuration is not UTF-8", at: path) }
    let tree = try JSONText.decode(JSONTree.self, from: text, of: path, part: part)
    let known = try JSONText.decode(
      JSONTree.self, from: JSONText.encode(example, isForPeople: true), of: path, part: part)
    if let (key, nearest) = tree.unknownKey(beside: known) {
      throw ToolError("\(path): there is no key “\(key)”; the nearest is “\(nearest)”")
    }
    return try JSONText.decode(
      TrainingConfiguration.self, from: text, of: path, part: part, isForPeople: true)
  }

  /// Writes the file into a folder, atomically.
  func save(in folder: String) throws {
    let text = try JSONText.encode(self, isForPeople: true) + "\n"
    try AtomicFile.write(to: "\(folder)/\(Self.fileName)") { try $0.append(Array(text.utf8)) }
  }

  /// All keys there are.
  private static var example: TrainingConfiguration {
    var optimizer = RecipeChanges.Optimizer()
    optimizer.name = ""
    (optimizer.learningRate, optimizer.momentum, optimizer.nesterov) = (0, 0, false)
    (optimizer.beta1, optimizer.beta2, optimizer.epsilon) = (0, 0, 0)
    optimizer.weightDecay = 0
    var schedule = RecipeChanges.Schedule()
    (schedule.name, schedule.everyEpochs, schedule.factor) = ("", 0, 0)
    (schedule.floor, schedule.rise, schedule.start, schedule.end) = (0, 0, 0, 0)
    var clipping = RecipeChanges.Clipping()
    (clipping.norm, clipping.value) = (0, 0)
    var recipe = RecipeChanges()
    (recipe.epochs, recipe.batchSize, recipe.warmUpSteps) = (0, 0, 0)
    (recipe.optimizer, recipe.schedule, recipe.clipping) = (optimizer, schedule, clipping)
    (recipe.labelSmoothing, recipe.averageDecay, recipe.checkpointing) = (0, 0, false)
    recipe.remainder = .drop
    recipe.augmentation = Augmentation(
      colorJitter: ColorJitter(), randomErasing: RandomErasing())
    return TrainingConfiguration(
      data: "", unreadable: "", validation: 0, imageSize: 0, normalization: "", network: "",
      model: "", classes: 0, replaceHead: false, freeze: [],
      noBatchNorm: false, seed: 0, checkpointEvery: 0, keep: 0, earlyStopping: 0, metric: "",
      keepBest: false, recipe: recipe)
  }
}

// MARK: The command line

extension TrainingConfiguration {
  /// The arguments of the program, with those of the configuration that `train` is to use put behind
  /// them, so that they are checked as if they had been typed.
  static func completing(_ arguments: [String]) throws -> [String] {
    guard arguments.first == "train" else { return arguments }
    func isGiven(_ option: String) -> Bool {
      arguments.contains { $0 == option || $0.hasPrefix(option + "=") }
    }
    func value(_ option: String) -> String? {
      for (index, argument) in arguments.enumerated() {
        if argument.hasPrefix(option + "=") { return String(argument.dropFirst(option.count + 1)) }
        if argument == option, index + 1 < arguments.count { return arguments[index + 1] }
      }
      return nil
    }
    var completed = arguments
    var path = value("--config")
    if path == nil, isGiven("--resume"), let folder = value("--checkpoints") {
      let left = "\(folder)/\(fileName)"
      guard FileManager.default.fileExists(atPath: left) else { return arguments }
      path = left
      completed += ["--config", left]
    }
    guard let path else { return arguments }
    // A network or a model of one's own takes the place of both, and of what was done to them.
    let isStartGiven = isGiven("--network") || isGiven("--model")
    for (option, values) in try load(path).options {
      let isStart = [
        "--network", "--model", "--classes", "--replace-head", "--freeze", "--no-batch-norm",
      ].contains(option)
      guard !isGiven(option), !(isStart && isStartGiven) else { continue }
      for value in values { completed += value.isEmpty ? [option] : [option, value] }
    }
    return completed
  }

  /// Options with their values; a flag has an empty one.
  private var options: [(option: String, values: [String])] {
    func one(_ value: some Any) -> [String] { ["\(value)"] }
    func flag(_ value: Bool?) -> [String] { value == true ? [""] : [] }
    return [
      ("--data", data.map(one) ?? []), ("--unreadable", unreadable.map(one) ?? []),
      ("--validation", validation.map(one) ?? []), ("--image-size", imageSize.map(one) ?? []),
      ("--normalization", normalization.map(one) ?? []), ("--network", network.map(one) ?? []),
      ("--model", model.map(one) ?? []), ("--classes", classes.map(one) ?? []),
      ("--replace-head", flag(replaceHead)), ("--freeze", freeze ?? []),
      ("--no-batch-norm", flag(noBatchNorm)), ("--seed", seed.map(one) ?? []),
      ("--checkpoint-every", checkpointEvery.map(one) ?? []), ("--keep", keep.map(one) ?? []),
      ("--early-stopping", earlyStopping.map(one) ?? []), ("--metric", metric.map(one) ?? []),
      ("--keep-best", flag(keepBest)),
    ]
  }
}
