package import ConvNetEngine
package import ConvNetGraph
import Glibc

/// Pairs of images mixed to one, x̃ = λ·x + (1 − λ)·x′, and the loss of x̃ of those of both labels.
///
/// This is mixup (Zhang et al. 2018). The partner x′ of a sample is the one after it in its batch, of the last the first; an order drawn
/// anew each epoch makes that any other sample. λ ~ Beta(α, α) is drawn for each sample.
package enum Mixup {
  /// The place in a batch of the partner of the sample at a place.
  package static func partner(of place: Int, count: Int) -> Int {
    place + 1 == count ? 0 : place + 1
  }

  /// λ of some samples.
  package static func weights(
    _ samples: some Collection<Int>, alpha: Double, in epoch: EpochKey
  ) -> [Float] {
    let random = epoch.random("mixup")
    return samples.map { Float(random.beta(alpha, at: UInt64($0))) }
  }

  /// Elements that a lane mixes at a time, of all images.
  private static let chunk = 1024

  /// Mixes the images of a batch with their partners where they are.
  package static func mix(
    _ images: UnsafeMutableBufferPointer<Float>, weights: [Float], lanes: Lanes
  ) {
    guard let start = images.baseAddress, weights.count > 1 else { return }
    let imageCount = images.count / weights.count
    // Pieces write disjoint elements of all images.
    nonisolated(unsafe) let base = start
    lanes.run(pieces: (imageCount + chunk - 1) / chunk) { piece, _ in
      let range = piece * chunk..<min((piece + 1) * chunk, imageCount)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count) { first in
        for i in range { first[i - range.lowerBound] = base[i] }
        for (n, weight) in weights.enumerated() {
          let image = base + n * imageCount
          if n + 1 < weights.count {
            let next = image + imageCount
            for i in range { image[i] = next[i] + weight * (image[i] - next[i]) }
          } else {
            for i in range {
              let partner = first[i - range.lowerBound]
              image[i] = partner + weight * (image[i] - partner)
            }
          }
        }
      }
    }
  }
}

extension Philox {
  /// Blocks that a sample may use up; each try succeeds in more than 95 of 100 cases.
  private static let gammaTries: UInt64 = 32

  /// A number of the distribution Beta(α, α): X/(X + Y) with X and Y of Gamma(α, 1).
  package func beta(_ alpha: Double, at index: UInt64) -> Double {
    let x = logGamma(alpha, at: 2 * index)
    let y = logGamma(alpha, at: 2 * index + 1)
    return 1 / (1 + exp(y - x))
  }

  /// The logarithm of a number of the distribution Gamma(α, 1) (Marsaglia & Tsang 2000), which for small
  /// α may be too small for a number itself.
  ///
  /// d·v has the distribution Gamma(α + 1), d = α + 2/3, v = (1 + x/√(9d))³ with x normal, where
  /// ln u < x²/2 + d·(1 − v + ln v); times u^(1/α) it is Gamma(α) (their section 6).
  private func logGamma(_ alpha: Double, at index: UInt64) -> Double {
    let d = alpha + 2.0 / 3
    let c = 1 / (9 * d).squareRoot()
    for attempt in 0..<Self.gammaTries {
      let words = block(index * Self.gammaTries + attempt)
      let x = (-2 * log(words[0].unit)).squareRoot() * cos(2 * .pi * words[1].unit)
      let root = 1 + c * x
      guard root > 0 else { continue }
      let v = root * root * root
      if log(words[2].unit) < x * x / 2 + d * (1 - v + log(v)) {
        return log(d * v) + log(words[3].unit) / alpha
      }
    }
    // Less likely than 10⁻⁴⁰: the middle of the distribution.
    return log(d)
  }
}
