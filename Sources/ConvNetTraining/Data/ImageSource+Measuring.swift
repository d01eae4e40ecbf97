public import ConvNetEngine
import ConvNetGraph
import Synchronization

extension ImageSource {
  /// Measures a sample of 1024 images spread evenly over the set.
  ///
  /// - Throws: `TrainingError` where there are no pixels, or pixels that are not finite; `FileError` where
  ///   an image cannot be read.
  public func measuredNormalization() throws -> Normalization {
    try measuredNormalization(samples: 1024)
  }

  /// The mean and population standard deviation of each channel over the pixels of some images, as they
  /// are evaluated, spread evenly over the set; a constant channel gets the deviation 1.
  ///
  /// Each image is measured in Double in two passes, and images are merged in order by Chan's formula.
  ///
  /// - Parameters:
  ///   - samples: how many images at most.
  ///   - lanes: the threads that read them; the result does not depend on their number.
  /// - Throws: as `measuredNormalization()`. Unreadable samples that are left out are not measured.
  public func measuredNormalization(
    samples: Int, lanes: Lanes = .shared
  ) throws -> Normalization {
    let chosen = min(samples, count)
    guard chosen > 0 else {
      throw TrainingError(.invalidData, "there are no images to measure")
    }
    let found = Mutex([Result<[PixelMoments], any Error>?](repeating: nil, count: chosen))
    lanes.run(pieces: chosen) { piece, _ in
      let result = Result { try moments(of: piece * count / chosen) }
      found.withLock { $0[piece] = result }
    }
    var total = [PixelMoments](repeating: PixelMoments(), count: channels)
    for result in found.withLock({ $0 }) {
      do {
        for (channel, moments) in (try result?.get() ?? []).enumerated() {
          total[channel].merge(moments)
        }
      } catch is UnreadableSample {
        continue
      }
    }
    guard total.allSatisfy({ $0.count > 0 }) else {
      throw TrainingError(.invalidData, "none of \(chosen) images could be measured")
    }
    let scale = Normalization.scaling(elementType, channels: channels).scale
    return try Normalization(
      scale: scale, mean: total.map { $0.mean * scale },
      standardDeviation: total.map { $0.squares == 0 ? 1 : $0.deviation * scale })
  }

  /// The moments of each channel of one image.
  private func moments(of sample: Int) throws -> [PixelMoments] {
    try withPixels(of: sample, in: nil) { bytes in
      guard elementType == .uint8 else {
        let pixels = bytes.assumingMemoryBound(to: Float.self)
        return (0..<channels).map { PixelMoments(pixels, channel: $0, of: channels) { Double($0) } }
      }
      return (0..<channels).map { PixelMoments(bytes, channel: $0, of: channels) { Double($0) } }
    }
  }
}

/// Count, mean and sum of squared distances from the mean.
private struct PixelMoments {
  var count = 0.0
  var mean = 0.0
  var squares = 0.0

  init() {}

  init<Pixels: RandomAccessCollection>(
    _ pixels: Pixels, channel: Int, of channels: Int, _ number: (Pixels.Element) -> Double
  ) where Pixels.Index == Int {
    let places = stride(from: channel, to: pixels.count, by: channels)
    for place in places {
      mean += number(pixels[place])
      count += 1
    }
    mean /= max(count, 1)
    for place in places {
      let difference = number(pixels[place]) - mean
      squares += difference * difference
    }
  }

  var deviation: Double { (squares / count).squareRoot() }

  /// Chan's formula.
  mutating func merge(_ other: PixelMoments) {
    let total = count + other.count
    guard total > 0 else { return }
    let difference = other.mean - mean
    mean += difference * other.count / total
    squares += other.squares + difference * difference * count * other.count / total
    count = total
  }
}
