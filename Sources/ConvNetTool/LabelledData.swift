import ConvNet
import ConvNetImages

extension DataOptions {
  /// Finds the data, and reads those that belong in memory.
  ///
  /// - Parameter preprocessing: what image files are made; data in memory are as they are.
  func load(_ preprocessing: @autoclosure () throws -> ImagePreprocessing) throws -> LabelledData {
    try Self.load(data, preprocessing(), unreadable: unreadable, validation: validation)
  }

  /// As the method, for a path.
  static func load(
    _ data: String, _ preprocessing: @autoclosure () throws -> ImagePreprocessing,
    unreadable: String = "error", validation: Double? = nil
  ) throws -> LabelledData {
    guard let policy = UnreadablePolicy(rawValue: unreadable) else {
      throw ToolError("--unreadable is error or skip, not \(unreadable)")
    }
    // Checkpoints and logs may lie in folders beside the files of the other kinds.
    if data != "fashion-mnist", !IDXFolder.recognizes(data), !CIFARFolder.recognizes(data),
      ImageFolderSplits.isRecognized(data)
    {
      let splits = try ImageFolderSplits(
        data, preprocessing: preprocessing(), unreadable: policy,
        validation: validation ?? LabelledData.usualShare)
      return LabelledData(splits)
    }
    let images = try load(data)
    let (train, test) = try (TrainingData(images.train), TrainingData(images.test))
    guard let validation, validation != 0 else {
      return LabelledData(train: train, validation: nil, test: test)
    }
    let parts = try train.split(validation: validation)
    return LabelledData(train: parts.training, validation: parts.validation, test: test)
  }
}

/// The parts of a data set, as far as there are any.
struct LabelledData {
  /// The part of a folder of images that is kept for validation unless told otherwise.
  static let usualShare = 0.1

  private let learned: (any ImageSource)?
  private let validation: (any ImageSource)?
  private let test: (any ImageSource)?
  private let folders: [ImageFolder]

  init(train: any ImageSource, validation: (any ImageSource)?, test: any ImageSource) {
    (learned, self.validation, self.test, folders) = (train, validation, test, [])
  }

  init(_ splits: ImageFolderSplits) {
    (learned, validation, test) = (splits.train, splits.validation, splits.test)
    folders = [splits.train, splits.validation, splits.test].compactMap { $0 }
  }

  /// Whether images are kept for validation besides those to test with.
  var isSplit: Bool { validation != nil && test != nil }

  /// What to learn from.
  func training() throws -> any ImageSource {
    guard let learned else { throw ToolError("--validation leaves no images to learn from") }
    return learned
  }

  /// What to measure a model on while it learns: images kept for validation, otherwise test images.
  func watched() throws -> any ImageSource { try part(validation ?? test) }

  /// What to measure a model on at the end: test images, otherwise those kept for validation.
  ///
  /// - Parameter classNames: the classes of the model, which those of a folder are matched with.
  func tested(classNames: [String]) throws -> any ImageSource {
    let part = try part(test ?? validation)
    switch part {
    case let folder as ImageFolder: return try folder.matching(classNames: classNames)
    case let data as TrainingData where !classNames.isEmpty:
      return try TrainingData(
        images: data.images, labels: data.labels, classCount: classNames.count,
        classNames: classNames)
    default: return part
    }
  }

  private func part(_ found: (any ImageSource)?) throws -> any ImageSource {
    guard let found else {
      throw ToolError("there are no images to measure the model on, see --validation")
    }
    return found
  }

  /// Says at the end which files could not be read; their number.
  @discardableResult
  func remarkOnUnreadable() -> Int {
    let errors = folders.flatMap(\.unreadable)
    guard !errors.isEmpty else { return 0 }
    Output.remark("\(errors.count) image files could not be read and were skipped:")
    for error in errors.prefix(20) { Output.remark(error.description) }
    if errors.count > 20 { Output.remark("… and \(errors.count - 20) others") }
    return errors.count
  }
}

extension Model {
  /// The model as it takes the images of some data: turned where it wants channels first and, for image
  /// files, with the normalisation that is assumed where it has none, which is remarked on.
  func taking(_ data: any ImageSource) throws -> Model {
    var model = self
    if !data.isInMemory {
      let treatment = try imageTreatment()
      for assumption in treatment.assumptions { Output.remark(assumption) }
      model.normalization = treatment.normalization
    }
    return try model.fitting(images: data.batchShape(1))
  }
}
