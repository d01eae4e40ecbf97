import ConvNetGraph
import Glibc

/// Random changes of brightness, contrast, saturation and hue, in this order.
///
/// All four are linear in a pixel, so that one matrix is drawn for an image. Bytes are kept in 0…255 at
/// the end; float images have no range that is known and are not cut off. Saturation and hue are for
/// images of three channels, red, green and blue; others keep theirs.
public struct ColorJitter: Hashable, Sendable {
  /// A pixel is multiplied by a factor from 1 − brightness to 1 + brightness; at most 1.
  public var brightness: Double
  /// Its distance from the image's mean grey is multiplied by 1 ± contrast; at most 1.
  public var contrast: Double
  /// Its distance from its own grey, 0.299·r + 0.587·g + 0.114·b, is multiplied by 1 ± saturation; at
  /// most 1.
  public var saturation: Double
  /// Colours turn about the grey axis by up to this part of a full turn; at most 0.5.
  ///
  /// A third makes red green, green blue and blue red, as it does in HSV.
  public var hue: Double

  /// Makes a choice of changes.
  ///
  /// Numbers outside their range are refused by whoever takes the choice, with `TrainingError`.
  public init(
    brightness: Double = 0, contrast: Double = 0, saturation: Double = 0, hue: Double = 0
  ) {
    self.brightness = brightness
    self.contrast = contrast
    self.saturation = saturation
    self.hue = hue
  }

  func check() throws {
    try Augmentation.check(brightness, "a change of brightness by up to", in: 0...1)
    try Augmentation.check(contrast, "a change of contrast by up to", in: 0...1)
    try Augmentation.check(saturation, "a change of saturation by up to", in: 0...1)
    try Augmentation.check(hue, "a change of hue by up to the part of a turn", in: 0...0.5)
  }

  /// The change of one sample.
  package func change(sample: Int, in epoch: EpochKey) -> ColorChange {
    let words = epoch.random("color").block(UInt64(sample))
    return ColorChange(
      brightness: 1 + brightness * words[0].symmetric, contrast: 1 + contrast * words[1].symmetric,
      saturation: 1 + saturation * words[2].symmetric, turn: hue * words[3].symmetric)
  }
}

extension ColorJitter: Codable {
  /// Reads a choice of changes; what is missing is off.
  ///
  /// - Throws: `DecodingError`, or `TrainingError` where a number is outside its range.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      brightness: try values.decodeIfPresent(Double.self, forKey: .brightness) ?? 0,
      contrast: try values.decodeIfPresent(Double.self, forKey: .contrast) ?? 0,
      saturation: try values.decodeIfPresent(Double.self, forKey: .saturation) ?? 0,
      hue: try values.decodeIfPresent(Double.self, forKey: .hue) ?? 0)
    try check()
  }
}

/// The change of one image's colours: factors b, c and s, and a turn in parts of 2π.
package struct ColorChange: Hashable, Sendable {
  package var brightness = 1.0
  package var contrast = 1.0
  package var saturation = 1.0
  package var turn = 0.0

  /// Makes a change.
  package init(
    brightness: Double = 1, contrast: Double = 1, saturation: Double = 1, turn: Double = 0
  ) {
    self.brightness = brightness
    self.contrast = contrast
    self.saturation = saturation
    self.turn = turn
  }

  /// The weights of grey (ITU-R BT.601).
  private static let grey = [0.299, 0.587, 0.114]

  /// M = H·S·(c·b), row by row: y = M·x + (1 − c)·b·m in every channel, with m the image's mean grey.
  ///
  /// S = s·I + (1 − s)·1·gᵀ keeps grey pixels, and so does the turn H about (1, 1, 1) (Rodrigues 1840):
  /// what contrast adds passes through both.
  package var matrix: [Double] {
    let angle = 2 * .pi * turn
    let (cosine, sine) = (cos(angle), sin(angle) / 3.0.squareRoot())
    let rest = (1 - cosine) / 3
    // cos·I + (1 − cos)/3·1·1ᵀ + sin/√3·K with K·x = (1, 1, 1) × x; its rows sum to 1.
    let turned = [
      cosine + rest, rest - sine, rest + sine, rest + sine, cosine + rest, rest - sine, rest - sine,
      rest + sine, cosine + rest,
    ]
    return turned.enumerated().map { index, h in
      contrast * brightness * (saturation * h + (1 - saturation) * Self.grey[index % 3])
    }
  }

  /// Changes pixels where they are, cuts them off, and normalises them: y = factor·x + offset.
  ///
  /// - Parameters:
  ///   - pixels: `[count, channels]`.
  ///   - range: what values are kept in; nil where they have no range.
  func apply(
    to pixels: UnsafeMutablePointer<Float>, count: Int, channels: Int,
    range: ClosedRange<Float>?, factors: UnsafeBufferPointer<Float>,
    offsets: UnsafeBufferPointer<Float>
  ) {
    let (low, high) = (range?.lowerBound ?? -.infinity, range?.upperBound ?? .infinity)
    let weights =
      channels == 3 ? Self.grey : [Double](repeating: 1 / Double(channels), count: channels)
    var mean = 0.0
    if contrast != 1 {
      for c in 0..<channels {
        var sum = 0.0
        for i in 0..<count { sum += Double(pixels[i * channels + c]) }
        mean += weights[c] * sum / Double(max(count, 1))
      }
    }
    let shift = Float((1 - contrast) * brightness * mean)
    guard channels == 3 else {
      let scale = Float(contrast * brightness)
      for c in 0..<channels {
        for i in stride(from: c, to: count * channels, by: channels) {
          let y = Swift.min(Swift.max(scale * pixels[i] + shift, low), high)
          pixels[i] = factors[c] * y + offsets[c]
        }
      }
      return
    }
    let m = matrix.map { Float($0) }
    let red = SIMD4(m[0], m[3], m[6], 0)
    let green = SIMD4(m[1], m[4], m[7], 0)
    let blue = SIMD4(m[2], m[5], m[8], 0)
    let factor = SIMD4(factors[0], factors[1], factors[2], 0)
    let offset = SIMD4(offsets[0], offsets[1], offsets[2], 0)
    let (lows, highs) = (SIMD4(repeating: low), SIMD4(repeating: high))
    for i in 0..<count {
      let pixel = pixels + 3 * i
      let x = red * pixel[0] + green * pixel[1] + blue * pixel[2] + shift
      let y = x.clamped(lowerBound: lows, upperBound: highs) * factor + offset
      (pixel[0], pixel[1], pixel[2]) = (y[0], y[1], y[2])
    }
  }
}
