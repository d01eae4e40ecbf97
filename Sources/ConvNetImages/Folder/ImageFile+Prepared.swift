import ConvNetGraph
import ConvNetTraining

extension ImageFile {
  /// The image as a model is measured on it: the short side resized, the middle cut out.
  func prepared(_ rule: ImagePreprocessing) throws -> PixelImage {
    try decode(rule.view(height: height, width: width), rule)
  }

  /// The image as a model learns from it: a part of random size and place, perhaps mirrored.
  func varied(
    _ rule: ImagePreprocessing, _ crop: RandomResizedCrop, sample: Int, random: Philox
  ) throws -> PixelImage {
    try decode(crop.view(height: height, width: width, sample: sample, random: random), rule)
  }

  private func decode(_ view: ImageView, _ rule: ImagePreprocessing) throws -> PixelImage {
    try decode(
      view, height: rule.height, width: rule.width, channels: rule.channels == 1 ? .grey : .rgb,
      filter: rule.filter)
  }
}

extension ImagePreprocessing {
  /// The part of an image of so many pixels that is cut out, in pixels of this image; rounded where
  /// torchvision's Resize and CenterCrop round.
  package func view(height rows: Int, width columns: Int) -> ImageView {
    let resized = PixelImage.extents(shortSide: shortSide, height: rows, width: columns)
    func margin(_ all: Int, _ part: Int) -> Double {
      (Double(all - part) / 2).rounded(.toNearestOrEven)
    }
    let (y, x) = (
      Double(rows) / Double(resized.height), Double(columns) / Double(resized.width)
    )
    return ImageView(
      ImageBox(
        top: margin(resized.height, height) * y, left: margin(resized.width, width) * x,
        height: Double(height) * y, width: Double(width) * x))
  }
}
