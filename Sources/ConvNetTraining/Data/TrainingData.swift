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

  /// The mean and population standard deviation of each channel over all pixels, computed in Double in
  /// two passes; a constant channel gets the deviation 1.
  ///
  /// - Throws: `TrainingError` where there are no pixels, or pixels that are not finite.
  public func measuredNormalization() throws -> Normalization {
    let scale = Normalization.scaling(images.elementType, channels: channels).scale
    let pixels = images.count / max(channels, 1)
    guard pixels > 0 else {
      throw TrainingError(.invalidData, "there are no pixels to measure in \(images.shape)")
    }
    let moments = (0..<channels).map { channel in
      images.elementType == .uint8 ? byteMoments(channel) : floatMoments(channel)
    }
    return try Normalization(
      scale: scale, mean: moments.map { $0.mean * scale },
      standardDeviation: moments.map { $0.variance == 0 ? 1 : $0.variance.squareRoot() * scale })
  }

  /// Mean and variance of a channel of bytes, by counting each value.
  private func byteMoments(_ channel: Int) -> (mean: Double, variance: Double) {
    var counts = [Int](repeating: 0, count: 256)
    images.withBytes { bytes in
      counts.withUnsafeMutableBufferPointer { counts in
        for index in stride(from: channel, to: bytes.count, by: channels) {
          counts[Int(bytes[index])] += 1
        }
      }
    }
    let pixels = Double(images.count / channels)
    func mean(_ f: (Double) -> Double) -> Double {
      counts.indices.reduce(0) { $0 + Double(counts[$1]) * f(Double($1)) } / pixels
    }
    let center = mean { $0 }
    return (center, mean { ($0 - center) * ($0 - center) })
  }

  /// Mean and variance of a channel of floats, in two passes.
  private func floatMoments(_ channel: Int) -> (mean: Double, variance: Double) {
    images.withBytes { bytes in
      let values = bytes.assumingMemoryBound(to: Float.self)
      let indices = stride(from: channel, to: values.count, by: channels)
      let pixels = Double(values.count / channels)
      var sum = 0.0
      for index in indices { sum += Double(values[index]) }
      let mean = sum / pixels
      var squares = 0.0
      for index in indices {
        let difference = Double(values[index]) - mean
        squares += difference * difference
      }
      return (mean, squares / pixels)
    }
  }

  /// The first `count` samples, or all where there are fewer.
  ///
  /// - Throws: `TrainingError` where the count is negative.
  public func prefix(_ count: Int) throws -> TrainingData {
    guard count >= 0 else {
      throw TrainingError(.invalidOption, "there are no first \(count) images")
    }
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
