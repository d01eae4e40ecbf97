extension TrainingData {
  /// Images from files, to train on or to measure a model on.
  ///
  /// - Parameters:
  ///   - images: what a loader read.
  ///   - classNames: the classes of the model to be measured; by default those of the images.
  ///     Images of a folder know no more classes than their labels show.
  /// - Throws: `TrainingError` where a label is none of these classes.
  public init(_ images: LabelledImages, classNames: [String] = []) throws {
    let names = classNames.isEmpty ? images.classNames : classNames
    try self.init(
      images: images.images, labels: images.labels, classCount: names.count, classNames: names)
  }
}

extension Network {
  /// Describes the network for images and classes of labelled data.
  ///
  /// - Throws: `TrainingError` where images are not square, `GraphError` where they are too small.
  public func graph(for data: any ImageSource, batchNormalization: Bool = true) throws -> Graph {
    let shape = data.imageShape
    guard shape[0] == shape[1] else {
      throw TrainingError(
        .invalidData, "\(rawValue) takes square images, not \(shape[0]) × \(shape[1])")
    }
    return try graph(
      classes: data.classCount, batchNormalization: batchNormalization, size: shape[1],
      channels: shape[2])
  }
}
