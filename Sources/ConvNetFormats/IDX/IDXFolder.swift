import ConvNetGraph

/// A folder with the four files of the MNIST family, each plain or with `.gz` behind its name:
/// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`.
public enum IDXFolder {
  /// The most classes that labels may tell apart.
  private static let classLimit = 1000

  /// Whether a folder has one of the files.
  public static func recognizes(_ directory: String) -> Bool {
    ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"].contains {
      let path = "\(directory)/\($0)-ubyte"
      return SystemCall.exists(path) || SystemCall.exists(path + ".gz")
    }
  }

  /// Loads the images and labels of a folder.
  ///
  /// - Parameters:
  ///   - directory: the folder.
  ///   - classNames: the names of the classes; by default their numbers, up to the largest label.
  /// - Throws: `FileError` where a file is missing, damaged or something else than its name says,
  ///   where images and labels differ in number, where training and test images differ in size, or
  ///   where a label has no class.
  public static func load(
    _ directory: String, classNames: [String]? = nil
  ) throws -> ImageDataset {
    let train = try part("train", of: directory, classNames)
    let test = try part("t10k", of: directory, classNames)
    let (sizes, others) = (train.images.shape.dimensions[1...], test.images.shape.dimensions[1...])
    guard sizes == others else {
      throw FileError(
        .mismatched, "training images are \(Array(sizes)) and test images \(Array(others))",
        at: directory)
    }
    let last = Int((train.labels + test.labels).max() ?? 0)
    let names = classNames ?? (0...last).map(String.init)
    return ImageDataset(
      train: LabelledImages(images: train.images, labels: train.labels, classNames: names),
      test: LabelledImages(images: test.images, labels: test.labels, classNames: names))
  }

  private static func part(
    _ name: String, of directory: String, _ classNames: [String]?
  ) throws -> (images: Tensor, labels: [Int64]) {
    let imagePath = try find("\(name)-images-idx3-ubyte", in: directory)
    let images = try readImages(imagePath)
    let labelPath = try find("\(name)-labels-idx1-ubyte", in: directory)
    let labels = try readLabels(labelPath)
    guard labels.count == images.shape[0] else {
      throw FileError(
        .mismatched,
        "\(labels.count) labels do not fit the \(images.shape[0]) images of \(imagePath)",
        at: labelPath)
    }
    let classes = classNames?.count ?? classLimit
    if let wrong = labels.first(where: { !(0..<Int64(classes)).contains($0) }) {
      throw FileError(
        .mismatched, "a label \(wrong) is none of the classes 0 to \(classes - 1)", at: labelPath)
    }
    return (images, labels)
  }

  /// The plain file where there is one, else the compressed one.
  private static func find(_ name: String, in directory: String) throws -> String {
    let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
    for candidate in [path, path + ".gz"] where SystemCall.exists(candidate) { return candidate }
    guard SystemCall.exists(directory) else {
      throw FileError(.missing, "there is no such folder", at: directory)
    }
    throw FileError(.missing, "there is neither this file nor one with .gz behind it", at: path)
  }

  private static func readImages(_ path: String) throws -> Tensor {
    let tensor = try IDX.read(path)
    let (shape, type) = (tensor.shape, tensor.elementType)
    guard type == .uint8, shape.rank == 3 || shape.rank == 4 else {
      let what = shape.rank == 1 ? "holds labels" : "holds \(type.rawValue) \(shape)"
      throw FileError(
        .mismatched, "\(what), not images of bytes [N, H, W]", at: path)
    }
    guard shape.count > 0 else {
      throw FileError(.mismatched, "holds no images, its shape is \(shape)", at: path)
    }
    return shape.rank == 4 ? tensor : try tensor.reshaped(to: Shape(shape.dimensions + [1]))
  }

  private static func readLabels(_ path: String) throws -> [Int64] {
    let tensor = try IDX.read(path)
    guard tensor.shape.rank == 1, !tensor.elementType.isFloatingPoint else {
      let what = tensor.shape.rank >= 3 ? "holds images" : "holds an array of \(tensor.shape)"
      throw FileError(.mismatched, "\(what), not labels [N]", at: path)
    }
    return tensor.converted(to: .int64).withElements { (labels: Span<Int64>) in
      labels.indices.map { labels[$0] }
    }
  }
}
