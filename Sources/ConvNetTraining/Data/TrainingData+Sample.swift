import ConvNetGraph

extension TrainingData {
  /// At most `count` samples, spread evenly over the set, so that sets sorted by class are represented.
  ///
  /// - Throws: `TrainingError` where no sample is asked for.
  public func sample(_ count: Int) throws -> TrainingData {
    guard count >= 1 else {
      throw TrainingError(.invalidOption, "a sample cannot have \(count) images")
    }
    guard count < self.count else { return self }
    return try subset((0..<count).map { $0 * self.count / count })
  }

  /// A copy of some samples, in the order of their numbers given.
  ///
  /// - Throws: `TrainingError` where a number is no sample's.
  public func subset(_ indices: [Int]) throws -> TrainingData {
    if let wrong = indices.first(where: { !labels.indices.contains($0) }) {
      throw TrainingError(.invalidData, "there is no sample \(wrong) of \(count)")
    }
    var part = Tensor(
      zeros: Shape([indices.count] + images.shape.dimensions.dropFirst()),
      elementType: images.elementType)
    let bytesPerImage = imageShape.count * images.elementType.byteCount
    part.withMutableBytes { target in
      images.withBytes { source in
        for (place, index) in indices.enumerated() {
          let image = source[index * bytesPerImage..<(index + 1) * bytesPerImage]
          UnsafeMutableRawBufferPointer(rebasing: target[(place * bytesPerImage)...])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: image))
        }
      }
    }
    return try TrainingData(
      images: part, labels: indices.map { labels[$0] }, classCount: classCount,
      classNames: classNames)
  }
}
