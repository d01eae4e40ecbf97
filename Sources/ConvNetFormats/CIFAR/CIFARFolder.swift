import ConvNetGraph

/// A folder with the binary version of CIFAR-10 (`data_batch_1.bin` to `data_batch_5.bin`,
/// `test_batch.bin`, `batches.meta.txt`) or CIFAR-100 (`train.bin`, `test.bin`,
/// `fine_label_names.txt`, `coarse_label_names.txt`), as their archives unpack.
public enum CIFARFolder {
  /// The names of the ten classes of CIFAR-10, in the order of their numbers.
  public static let classNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  /// The most bytes that a file of names may have.
  private static let nameLimit = 1 << 16

  /// Whether a folder has the first file of either.
  public static func recognizes(_ directory: String) -> Bool {
    SystemCall.exists(directory + "/data_batch_1.bin") || isHundred(directory)
  }

  private static func isHundred(_ directory: String) -> Bool {
    SystemCall.exists(directory + "/train.bin")
  }

  /// Loads the images and labels of a folder.
  ///
  /// - Parameters:
  ///   - directory: the folder.
  ///   - coarse: whether the labels of CIFAR-100 are its twenty groups instead of its hundred classes.
  /// - Throws: `FileError` where a file is missing or damaged. A missing file of names is none: the
  ///   classes of CIFAR-10 are known, and those of CIFAR-100 are called by their numbers then.
  public static func load(_ directory: String, coarse: Bool = false) throws -> ImageDataset {
    func path(_ name: String) -> String { "\(directory)/\(name)" }
    guard isHundred(directory) else {
      let names = try names(path("batches.meta.txt"), labels: .ten) ?? classNames
      return ImageDataset(
        train: try part((1...5).map { path("data_batch_\($0).bin") }, .ten, names),
        test: try part([path("test_batch.bin")], .ten, names))
    }
    let labels: CIFAR.Labels = coarse ? .coarse : .fine
    let file = path(coarse ? "coarse_label_names.txt" : "fine_label_names.txt")
    let names = try names(file, labels: labels) ?? (0..<labels.classCount).map(String.init)
    return ImageDataset(
      train: try part([path("train.bin")], labels, names),
      test: try part([path("test.bin")], labels, names))
  }

  private static func part(
    _ paths: [String], _ labels: CIFAR.Labels, _ names: [String]
  ) throws -> LabelledImages {
    let found = try CIFAR.read(paths, labels: labels)
    return LabelledImages(images: found.images, labels: found.labels, classNames: names)
  }

  /// One name a line; nil where there is no such file.
  private static func names(_ path: String, labels: CIFAR.Labels) throws -> [String]? {
    guard SystemCall.exists(path) else { return nil }
    let file = try FileReader(path)
    guard file.size <= nameLimit,
      let text = String(validating: try file.bytes(count: file.size, at: 0), as: UTF8.self)
    else { throw FileError(.malformed, "this is no list of names", at: path) }
    let names = text.split(whereSeparator: \.isNewline).map(String.init)
    guard names.count == labels.classCount else {
      throw FileError(
        .mismatched, "\(names.count) names do not fit \(labels.classCount) classes", at: path)
    }
    return names
  }
}
