public import ConvNetGraph

/// Labelled images in memory.
public struct TrainingData: Sendable {
  /// Images `[N, H, W, C]`, uint8 or float32, as files hold them: normalisation belongs to the model.
  public let images: Tensor
  /// The class of each image, in 0..<classCount.
  public let labels: [Int64]
  /// The number of classes.
  public let classCount: Int
  /// The names of the classes; empty where they have none.
  public let classNames: [String]

  /// Puts images and labels together.
  ///
  /// - Throws: `TrainingError` where their numbers differ, the images are not `[N, H, W, C]` of uint8 or
  ///   float32, or a label is no class.
  public init(
    images: Tensor, labels: [Int64], classCount: Int, classNames: [String] = []
  ) throws {
    guard images.shape.rank == 4, [.uint8, .float32].contains(images.elementType) else {
      throw TrainingError(
        .invalidData,
        "images are uint8 or float32 [N, H, W, C], not \(images.elementType.rawValue) "
          + "\(images.shape)")
    }
    guard images.shape[0] == labels.count else {
      throw TrainingError(
        .invalidData, "\(images.shape[0]) images cannot have \(labels.count) labels")
    }
    if let index = labels.firstIndex(where: { $0 < 0 || $0 >= Int64(classCount) }) {
      throw TrainingError(
        .invalidData,
        "the label \(labels[index]) of sample \(index) is not one of \(classCount) classes")
    }
    guard classNames.isEmpty || classNames.count == classCount else {
      throw TrainingError(
        .invalidData, "\(classCount) classes cannot have \(classNames.count) names")
    }
    self.images = images
    self.labels = labels
    self.classCount = classCount
    self.classNames = classNames
  }

  /// The number of samples.
  public var count: Int { labels.count }

  /// Elements of one image.
  package var imageCount: Int { images.shape.dimensions.dropFirst().reduce(1, *) }

  /// The number of channels.
  package var channels: Int { images.shape[3] }

  /// The mean and population standard deviation of each channel over all pixels, computed in Double in
  /// two passes; a constant channel gets the deviation 1.
  ///
  /// - Throws: `TrainingError` where there are no pixels, or pixels that are not finite.
  public func measuredNormalization() throws -> Normalization {
    let scaling = Normalization.scaling(images.elementType, channels: channels)
    let pixels = images.count / max(channels, 1)
    guard pixels > 0 else {
      throw TrainingError(.invalidData, "there are no pixels to measure in \(images.shape)")
    }
    var mean = sums { value, _ in value }
    mean = mean.map { $0 / Double(pixels) }
    let squares = sums { value, channel in (value - mean[channel]) * (value - mean[channel]) }
    let deviation = squares.map { sum in
      let deviation = (sum / Double(pixels)).squareRoot() * scaling.scale
      return deviation == 0 ? 1 : deviation
    }
    return try Normalization(
      scale: scaling.scale, mean: mean.map { $0 * scaling.scale }, standardDeviation: deviation)
  }

  /// Σ f(x, channel) over all pixels of each channel.
  private func sums(_ f: (Double, Int) -> Double) -> [Double] {
    var sums = [Double](repeating: 0, count: channels)
    func add<Element: TensorElement>(_ values: Span<Element>, _ number: (Element) -> Double) {
      var channel = 0
      for index in values.indices {
        sums[channel] += f(number(values[index]), channel)
        channel = channel + 1 == channels ? 0 : channel + 1
      }
    }
    if images.elementType == .uint8 {
      images.withElements { (values: Span<UInt8>) in add(values) { Double($0) } }
    } else {
      images.withElements { (values: Span<Float>) in add(values) { Double($0) } }
    }
    return sums
  }

  /// The first `count` samples.
  public func prefix(_ count: Int) throws -> TrainingData {
    let count = min(count, self.count)
    let shape = Shape([count] + images.shape.dimensions.dropFirst())
    var part = Tensor(zeros: shape, elementType: images.elementType)
    part.withMutableBytes { bytes in
      images.withBytes { bytes.copyMemory(from: .init(rebasing: $0[..<bytes.count])) }
    }
    return try TrainingData(
      images: part, labels: Array(labels[..<count]), classCount: classCount,
      classNames: classNames)
  }
}

/// What becomes of the samples that do not fill a batch.
public enum RemainderPolicy: Hashable, Sendable {
  /// They make a smaller batch.
  case keep
  /// They wait for another epoch, whose order is another.
  case drop
}
