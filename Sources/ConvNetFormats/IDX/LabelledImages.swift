public import ConvNetGraph

/// Images with the class of each.
public struct LabelledImages: Sendable {
  /// The images, uint8 `[N, H, W, C]`.
  public let images: Tensor
  /// The class of each image, in 0..<classNames.count.
  public let labels: [Int64]
  /// The names of the classes, in the order of their numbers.
  public let classNames: [String]

  /// Puts images and labels together.
  ///
  /// Images that are not uint8 of rank 4, another number of labels, or a label without a class name
  /// stop the program; the loaders check files before they come here.
  public init(images: Tensor, labels: [Int64], classNames: [String]) {
    guard images.elementType == .uint8, images.shape.rank == 4 else {
      let found = "\(images.elementType.rawValue) \(images.shape)"
      fatalError("Labelled images are uint8 [N, H, W, C], not \(found).")
    }
    guard labels.count == images.shape[0] else {
      fatalError("\(labels.count) labels do not fit images of shape \(images.shape).")
    }
    let classes = 0..<Int64(classNames.count)
    if let wrong = labels.first(where: { !classes.contains($0) }) {
      fatalError("A label \(wrong) has no name among \(classNames.count) classes.")
    }
    self.images = images
    self.labels = labels
    self.classNames = classNames
  }

  /// The number of images.
  public var count: Int { labels.count }
}

/// Images to train on and images to test with, of one size and the same classes.
public struct ImageDataset: Sendable {
  /// The images to train on.
  public let train: LabelledImages
  /// The images to test with.
  public let test: LabelledImages

  /// Puts the two parts together.
  public init(train: LabelledImages, test: LabelledImages) {
    self.train = train
    self.test = test
  }
}
