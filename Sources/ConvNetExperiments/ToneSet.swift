package import ConvNet
import Glibc

/// Short sounds of ten classes in noise, made from a seed: a keyword set without recordings.
///
/// A sound has a pitch, a phase, a loudness, a start and noise of its own, so that neither a place in the
/// sequence nor a single frequency gives its class away, only how pitch and loudness move.
package enum ToneSet {
  /// The classes, by label.
  package static let classNames = [
    "steady tone", "rising chirp", "falling chirp", "rising, then falling", "low, then high",
    "high, then low", "two tones at once", "trembling loudness", "trembling pitch", "three bursts",
  ]

  static let text =
    "ten classes of synthetic tones (chirps, pairs, vibrato, tremolo, bursts) of random pitch, "
    + "phase, loudness (tenfold) and start, in white noise"

  /// Sounds as images `[count, length, 1, 1]` of float32, their classes in turns.
  package static func make(count: Int, length: Int, seed: UInt64) throws -> TrainingData {
    var samples: [Float] = []
    samples.reserveCapacity(count * length)
    for index in 0..<count {
      samples += sound(
        index % classNames.count, length: length,
        random: Philox(seed: seed, purpose: "tone \(index)"))
    }
    return try TrainingData(
      images: Tensor(samples, shape: [count, length, 1, 1]),
      labels: (0..<count).map { Int64($0 % classNames.count) }, classCount: classNames.count,
      classNames: classNames)
  }

  private static func sound(_ label: Int, length: Int, random: Philox) -> [Float] {
    let noise = random.normals(length + 2)
    let draws = (0..<4).map { random.uniform(UInt64(length + 64 + $0)) }
    // Cycles a sample: from 1/32 to 1/16, and moved by up to half of that.
    let pitch = (1 + draws[0]) / 32
    let loudness = pow(10, draws[1] - 0.5)
    let extent = Double(length) * 0.75
    let start = draws[2] * (Double(length) - extent)
    var phase = draws[3]
    return (0..<length).map { i in
      let t = (Double(i) - start) / extent
      guard (0..<1).contains(t) else { return Float(0.3 * noise[i]) }
      phase += pitch * bend(label, t)
      var value = sin(2 * .pi * phase) * swell(label, t)
      if label == 6 { value = (value + sin(2 * .pi * 1.5 * phase)) / 2 }
      return Float(loudness * value + 0.3 * noise[i])
    }
  }

  /// The pitch over time, in parts of the sound's own.
  private static func bend(_ label: Int, _ t: Double) -> Double {
    switch label {
    case 1: 0.75 + 0.5 * t
    case 2: 1.25 - 0.5 * t
    case 3: 1.25 - abs(t - 0.5)
    case 4: t < 0.5 ? 0.8 : 1.2
    case 5: t < 0.5 ? 1.2 : 0.8
    case 8: 1 + 0.25 * sin(2 * .pi * 6 * t)
    default: 1
    }
  }

  /// The loudness over time, in parts of the sound's own.
  private static func swell(_ label: Int, _ t: Double) -> Double {
    switch label {
    case 7: 0.5 + 0.5 * sin(2 * .pi * 6 * t)
    case 9: Int(t * 6) % 2 == 0 ? 1 : 0
    default: 1
    }
  }
}
