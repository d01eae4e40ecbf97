import ConvNetFormats
package import ConvNetGraph

extension TrainingLog {
  /// Writes down what the first images look like that a training is about to learn from, augmentation
  /// included, on one sheet.
  ///
  /// - Parameters:
  ///   - data: what it learns from.
  ///   - trainer: what learns.
  ///   - count: how many images at most; a negative number stops the program.
  /// - Throws: `FileError` where an image cannot be read, or the file not be written.
  public func record(
    samplesOf data: any ImageSource, for trainer: Trainer, count: Int = 64
  ) throws {
    let epoch = EpochKey(seed: trainer.seed, epoch: trainer.epochCount)
    let samples = data.order(of: epoch).prefix(min(count, trainer.batchSize))
    guard !samples.isEmpty, data.imageShape.count > 0 else { return }
    // Without the model's normalisation, whose numbers are not for people.
    let assembler = try BatchAssembler(
      data: data, normalization: nil, augmentation: trainer.augmentation)
    var images = [Float](repeating: 0, count: samples.count * data.imageShape.count)
    try images.withUnsafeMutableBufferPointer {
      try assembler.assemble(samples, into: $0, in: epoch, lanes: trainer.lanes)
    }
    let sheet = ContactSheet(
      images, shape: data.imageShape, range: data.elementType == .uint8 ? 0...1 : nil)
    events.add(
      png: PNGFile.encode(
        sheet.pixels, width: sheet.width, height: sheet.height, channels: sheet.channels),
      width: sheet.width, height: sheet.height, channels: sheet.channels, "images/training",
      step: trainer.stepCount)
    try events.flush()
  }
}

/// Images side by side, in about as many rows as columns.
package struct ContactSheet {
  package let width: Int
  package let height: Int
  /// 3 of colours, otherwise 1: the images' first channel.
  package let channels: Int
  /// `[height, width, channels]`.
  package private(set) var pixels: [UInt8]

  /// Pixels between two images.
  private static let gap = 2

  /// Lays out images.
  ///
  /// - Parameters:
  ///   - images: `[N, H, W, C]`.
  ///   - shape: `[H, W, C]`.
  ///   - range: what is black and what is white; by default the images' own extremes.
  package init(_ images: [Float], shape: Shape, range: ClosedRange<Float>? = nil) {
    let (rows, columns, depth) = (shape[0], shape[1], shape[2])
    let count = images.count / shape.count
    let across = Int(Double(count).squareRoot().rounded(.up))
    let down = (count + across - 1) / across
    width = across * (columns + Self.gap) - Self.gap
    height = down * (rows + Self.gap) - Self.gap
    channels = depth == 3 ? 3 : 1
    pixels = [UInt8](repeating: 128, count: width * height * channels)
    let finite = images.lazy.filter(\.isFinite)
    let black = range?.lowerBound ?? finite.min() ?? 0
    let white = range?.upperBound ?? finite.max() ?? 1
    let factor = white > black ? 255 / (white - black) : 0
    for image in 0..<count {
      let corner = (
        y: image / across * (rows + Self.gap), x: image % across * (columns + Self.gap)
      )
      for y in 0..<rows {
        for x in 0..<columns {
          for c in 0..<channels {
            let value = images[((image * rows + y) * columns + x) * depth + c]
            let level = ((value - black) * factor).rounded()
            // A number that is none is black.
            pixels[((corner.y + y) * width + corner.x + x) * channels + c] =
              level > 0 ? UInt8(min(level, 255)) : 0
          }
        }
      }
    }
  }
}
