public import ConvNetGraph

/// What is done to pixels before they enter a network: (scale·x − mean)/deviation, channel by channel.
///
/// It belongs to the model, as metadata, so that evaluation and prediction treat pixels as training did.
public struct Normalization: Hashable, Sendable {
  /// What a stored value is multiplied by first: 1/255 for bytes, 1 for floats.
  public var scale: Double
  /// The mean of each channel after scaling.
  public var mean: [Double]
  /// The standard deviation of each channel after scaling; positive.
  public var standardDeviation: [Double]

  /// Makes a normalisation.
  ///
  /// - Throws: `TrainingError` where there is not one mean and one positive deviation for each channel,
  ///   or a number is not finite.
  public init(scale: Double = 1, mean: [Double], standardDeviation: [Double]) throws {
    guard mean.count == standardDeviation.count, !mean.isEmpty, scale.isFinite,
      mean.allSatisfy(\.isFinite), standardDeviation.allSatisfy({ $0.isFinite && $0 > 0 })
    else {
      throw TrainingError(
        .invalidData,
        "the means \(mean) and deviations \(standardDeviation) do not normalise channels")
    }
    self.scale = scale
    self.mean = mean
    self.standardDeviation = standardDeviation
  }

  private init(scale: Double, channels: Int) {
    self.scale = scale
    mean = [Double](repeating: 0, count: channels)
    standardDeviation = [Double](repeating: 1, count: channels)
  }

  /// Scaling alone: bytes to [0, 1], floats as they are.
  public static func scaling(_ elementType: ElementType, channels: Int) -> Normalization {
    Normalization(scale: elementType == .uint8 ? 1 / 255 : 1, channels: channels)
  }

  /// The moments of the photographs of ImageNet, which most published models of photographs were trained
  /// with (red, green, blue of bytes in [0, 1]).
  public static var imageNet: Normalization {
    var result = Normalization(scale: 1 / 255, channels: 3)
    result.mean = [0.485, 0.456, 0.406]
    result.standardDeviation = [0.229, 0.224, 0.225]
    return result
  }

  /// Normalises pixels, as training does: what a `Predictor` is given.
  ///
  /// - Parameter images: uint8 or float32, as files hold them; channels last, such as `[N, H, W, C]`.
  /// - Returns: float32 of the same shape.
  /// - Throws: `TrainingError` where elements are of another type, or channels of another number.
  public func applied(to images: Tensor) throws -> Tensor {
    guard [.uint8, .float32].contains(images.elementType),
      images.shape.dimensions.last == mean.count
    else {
      throw TrainingError(
        .invalidData,
        "pixels are uint8 or float32 with \(mean.count) channels at the end, not "
          + "\(images.elementType.rawValue) \(images.shape)")
    }
    var result = Tensor(zeros: images.shape)
    result.withMutableBytes { target in
      images.withBytes {
        Self.write(
          $0, of: images.elementType, by: coefficients,
          to: target.assumingMemoryBound(to: Float.self))
      }
    }
    return result
  }

  /// Normalises pixels of uint8 or float32.
  package static func write(
    _ pixels: UnsafeRawBufferPointer, of elementType: ElementType,
    by coefficients: (factors: [Float], offsets: [Float]),
    to target: UnsafeMutableBufferPointer<Float>
  ) {
    if elementType == .uint8 {
      write(pixels.assumingMemoryBound(to: UInt8.self), coefficients, to: target, Float.init)
    } else {
      write(pixels.assumingMemoryBound(to: Float.self), coefficients, to: target) { $0 }
    }
  }

  @inline(__always)
  private static func write<Element>(
    _ pixels: UnsafeBufferPointer<Element>, _ coefficients: (factors: [Float], offsets: [Float]),
    to target: UnsafeMutableBufferPointer<Float>, _ number: (Element) -> Float
  ) {
    let (factors, offsets) = coefficients
    for channel in factors.indices {
      let (factor, offset) = (factors[channel], offsets[channel])
      for i in stride(from: channel, to: target.count, by: factors.count) {
        target[i] = factor * number(pixels[i]) + offset
      }
    }
  }

  /// Factor and offset of each channel: y = factor·x + offset.
  package var coefficients: (factors: [Float], offsets: [Float]) {
    let factors = standardDeviation.map { Float(scale / $0) }
    return (factors, zip(mean, standardDeviation).map { Float(-$0 / $1) })
  }
}

extension Model {
  private static let scaleKey = "preprocessing.scale"
  private static let meanKey = "preprocessing.mean"
  private static let deviationKey = "preprocessing.standard_deviation"

  /// The normalisation of pixels that belongs to this model, kept in its metadata as decimal numbers;
  /// nil where there is none, or none that can be read.
  public var normalization: Normalization? {
    get {
      guard let scale = metadata[Self.scaleKey].flatMap({ Double($0) }),
        let mean = Self.numbers(metadata[Self.meanKey]),
        let deviation = Self.numbers(metadata[Self.deviationKey])
      else { return nil }
      return try? Normalization(scale: scale, mean: mean, standardDeviation: deviation)
    }
    set {
      metadata[Self.scaleKey] = newValue.map { "\($0.scale)" }
      metadata[Self.meanKey] = newValue.map { Self.text($0.mean) }
      metadata[Self.deviationKey] = newValue.map { Self.text($0.standardDeviation) }
    }
  }

  /// Swift prints the shortest decimal that reads back as the same number.
  private static func text(_ numbers: [Double]) -> String {
    numbers.map { "\($0)" }.joined(separator: " ")
  }

  private static func numbers(_ text: String?) -> [Double]? {
    guard let parts = text?.split(separator: " ") else { return nil }
    let numbers = parts.compactMap { Double($0) }
    return numbers.count == parts.count ? numbers : nil
  }
}
