public import ConvNetGraph
public import ConvNetTraining

/// What is done to an image file before a model sees it, and what of that the model did not say itself.
public struct ImageTreatment: Hashable, Sendable {
  /// How an image of any size is made an input.
  public var preprocessing: ImagePreprocessing
  /// What is done to its pixels then.
  public var normalization: Normalization
  /// What was assumed because the model's metadata do not tell it, a sentence each.
  public var assumptions: [String]
}

extension Model {
  /// How photographs are made inputs of this model: as its metadata say, otherwise as its input's shape
  /// and custom suggest.
  ///
  /// Without metadata an input of one size takes images of this size; where the size is open, it is 224.
  /// An image's short side becomes 256/224 of the input's longer side, or as long as that where it is below
  /// 64 pixels, and the middle is cut out: an oblong image loses its ends. Three channels are normalised by
  /// ImageNet's moments, one channel to [0, 1].
  ///
  /// - Throws: `TrainingError` where the model has no single input for images of one or three channels.
  public func imageTreatment() throws -> ImageTreatment {
    var assumptions: [String] = []
    let preprocessing: ImagePreprocessing
    if let known = imagePreprocessing {
      preprocessing = known
    } else {
      let input = try imageInput()
      let assumed = try ImagePreprocessing(
        height: input.height, width: input.width, channels: input.channels)
      preprocessing = assumed
      assumptions.append(
        "the model does not say how images are resized: the short side becomes "
          + "\(assumed.shortSide), of which the middle \(assumed.height) × \(assumed.width) is used"
      )
    }
    if let normalization, normalization.mean.count == preprocessing.channels {
      return ImageTreatment(
        preprocessing: preprocessing, normalization: normalization, assumptions: assumptions)
    }
    let isColoured = preprocessing.channels == 3
    assumptions.append(
      "the model does not say how pixels are normalised: "
        + (isColoured ? "by the moments of ImageNet" : "to the range from 0 to 1"))
    return ImageTreatment(
      preprocessing: preprocessing,
      normalization: isColoured ? .imageNet : .scaling(.uint8, channels: 1),
      assumptions: assumptions)
  }

  /// The extents of the one input for images, whichever axis has the channels.
  private func imageInput() throws -> (height: Int, width: Int, channels: Int) {
    let views = try ResolveMode(.inference).apply(to: graph).inputViews
    guard views.count == 1, let type = views.first?.type, type.rank == 4 else {
      let inputs = views.map { "\($0.name) \($0.type)" }.joined(separator: ", ")
      throw TrainingError(
        .invalidData, "a classifier of images has one input [N, H, W, C], not \(inputs)")
    }
    let extents = type.dimensions.map(\.extent)
    let known = [1, 3]
    let isLast = extents[3].map { known.contains($0) } ?? false
    let isFirst = !isLast && (extents[1].map { known.contains($0) } ?? false)
    guard isLast || isFirst, let channels = extents[isLast ? 3 : 1] else {
      throw TrainingError(
        .invalidData, "images have one or three channels, which the input \(type) does not take")
    }
    let (height, width) = (extents[isLast ? 1 : 2], extents[isLast ? 2 : 3])
    return (height ?? width ?? 224, width ?? height ?? 224, channels)
  }
}
