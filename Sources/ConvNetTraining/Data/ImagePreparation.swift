import ConvNetGraph

/// The way of one image from stored pixels to what the network reads: moved, recoloured, normalised,
/// erased.
struct ImagePreparation {
  let height: Int
  let width: Int
  let channels: Int
  let augmentation: Augmentation?
  /// What values of pixels are kept in; nil for floats, whose range is not known.
  private let range: ClosedRange<Float>?
  private let factors: [Float]
  private let offsets: [Float]
  private let ones: [Float]
  private let zeros: [Float]

  /// Prepares for images of a shape.
  ///
  /// - Throws: `TrainingError` where the normalisation has another number of channels, or a number of
  ///   the augmentation is outside its range.
  init(
    shape: Shape, elementType: ElementType, normalization: Normalization?,
    augmentation: Augmentation?
  ) throws {
    (height, width, channels) = (shape[0], shape[1], shape[2])
    let normalization = normalization ?? .scaling(elementType, channels: channels)
    guard normalization.mean.count == channels else {
      throw TrainingError(
        .invalidData,
        "images of \(channels) channels cannot be normalised by \(normalization.mean.count) means")
    }
    try augmentation?.check()
    self.augmentation = augmentation
    range = elementType == .uint8 ? 0...255 : nil
    (factors, offsets) = normalization.coefficients
    ones = [Float](repeating: 1, count: channels)
    zeros = [Float](repeating: 0, count: channels)
  }

  /// Writes an image where the network reads it.
  ///
  /// - Parameters:
  ///   - image: `[height, width, channels]`.
  ///   - sample: which one, for the draws.
  ///   - epoch: the pass of a training; without it nothing is random and the image stays as it is.
  ///   - output: room for as much.
  ///   - number: what an element of the image is as a number.
  @inline(__always)
  func prepare<Element>(
    _ image: UnsafePointer<Element>, sample: Int, in epoch: EpochKey?,
    to output: UnsafeMutablePointer<Float>, _ number: (Element) -> Float
  ) {
    guard let augmentation, let epoch else {
      return write(image, nil, factors, offsets, to: output, number)
    }
    let change = augmentation.change(sample: sample, random: Augmentation.random(epoch))
    let color = augmentation.colorJitter?.change(sample: sample, in: epoch)
    let map = augmentation.map(sample: sample, in: epoch, height: height, width: width)
    if map == nil && color == nil {
      write(image, change, factors, offsets, to: output, number)
    } else {
      if let map {
        map.resample(
          image, height: height, width: width, channels: channels, to: output, number)
      } else {
        write(image, change, ones, zeros, to: output, number)
      }
      finish(output, color)
    }
    erase(output, augmentation, sample, epoch)
  }

  /// Colours and normalisation of raw pixels, where they are.
  private func finish(_ pixels: UnsafeMutablePointer<Float>, _ color: ColorChange?) {
    guard let color else { return write(pixels, nil, factors, offsets, to: pixels) { $0 } }
    factors.withUnsafeBufferPointer { factors in
      offsets.withUnsafeBufferPointer { offsets in
        color.apply(
          to: pixels, count: height * width, channels: channels, range: range, factors: factors,
          offsets: offsets)
      }
    }
  }

  private func erase(
    _ pixels: UnsafeMutablePointer<Float>, _ augmentation: Augmentation, _ sample: Int,
    _ epoch: EpochKey
  ) {
    guard let erasing = augmentation.randomErasing,
      let box = erasing.box(sample: sample, in: epoch, height: height, width: width)
    else { return }
    factors.withUnsafeBufferPointer { factors in
      offsets.withUnsafeBufferPointer { offsets in
        erasing.erase(
          box, of: pixels, width: width, channels: channels, sample: sample, in: epoch,
          factors: factors, offsets: offsets)
      }
    }
  }

  /// Whole pixels moved and normalised in one pass: y = factor·x + offset; outside is x = 0.
  @inline(__always)
  private func write<Element>(
    _ image: UnsafePointer<Element>, _ change: Augmentation.Change?, _ factors: [Float],
    _ offsets: [Float], to output: UnsafeMutablePointer<Float>, _ number: (Element) -> Float
  ) {
    factors.withUnsafeBufferPointer { factors in
      offsets.withUnsafeBufferPointer { offsets in
        guard let change, change != Augmentation.Change() else {
          for c in 0..<channels {
            let (a, b) = (factors[c], offsets[c])
            for i in stride(from: c, to: height * width * channels, by: channels) {
              output[i] = a * number(image[i]) + b
            }
          }
          return
        }
        for h in 0..<height {
          for w in 0..<width {
            let from = (h: h + change.dy, w: w + change.dx)
            let inside = from.h >= 0 && from.h < height && from.w >= 0 && from.w < width
            let column = change.mirrors ? width - 1 - from.w : from.w
            for c in 0..<channels {
              let x = inside ? number(image[(from.h * width + column) * channels + c]) : 0
              output[(h * width + w) * channels + c] = factors[c] * x + offsets[c]
            }
          }
        }
      }
    }
  }
}
