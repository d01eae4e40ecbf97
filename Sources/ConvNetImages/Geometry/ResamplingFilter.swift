public import ConvNetTraining

/// How the pixels of a resized image are made of those of the source.
///
/// The filters widen with the reduction, so that every pixel of the source counts (antialiasing), as
/// Pillow's of the same names do: bilinear is a triangle, bicubic Keys's polynomial (1981) with a = −½.
public typealias ResamplingFilter = ImagePreprocessing.Filter

extension ResamplingFilter {
  /// The distance from the centre, in pixels of the smaller image, at which weights end.
  var support: Double { self == .bilinear ? 1 : 2 }

  /// The weight at a distance.
  func weight(_ distance: Double) -> Double {
    let x = abs(distance)
    guard x < support else { return 0 }
    guard self == .bicubic else { return 1 - x }
    let a = -0.5
    return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * a
  }
}

/// The weights of one axis, as `cnl_resample_columns` and `cnl_resample_rows` take them.
struct ResamplingWeights {
  /// For every output the first input and the number of inputs.
  var spans: [Int] = []
  /// For every output `maximum` weights with 22 bits of fraction, those beyond its inputs 0.
  var weights: [Int32] = []
  var maximum: Int

  /// Resamples [start, start + length) of `inputs` pixels into `outputs`, perhaps in reverse order.
  init(
    _ filter: ResamplingFilter, inputs: Int, start: Double, length: Double, outputs: Int,
    reversed: Bool = false
  ) {
    let scale = length / Double(outputs)
    let widening = max(scale, 1)
    let support = filter.support * widening
    maximum = min(2 * Int(support.rounded(.up)) + 1, inputs)
    spans.reserveCapacity(2 * outputs)
    weights.reserveCapacity(maximum * outputs)
    var row = [Double](repeating: 0, count: maximum)
    for place in 0..<outputs {
      let output = reversed ? outputs - 1 - place : place
      let centre = start + (Double(output) + 0.5) * scale
      let first = max(Int(centre - support + 0.5), 0)
      let count = min(Int(centre + support + 0.5), inputs) - first
      var sum = 0.0
      for i in 0..<count {
        row[i] = filter.weight((Double(i + first) - centre + 0.5) * (1 / widening))
        sum += row[i]
      }
      spans += [first, count]
      for i in 0..<maximum {
        let weight = i < count ? (sum == 0 ? row[i] : row[i] / sum) : 0
        weights.append(Int32(weight * 0x1p22 + (weight < 0 ? -0.5 : 0.5)))
      }
    }
  }

  /// The inputs that any output needs.
  var range: Range<Int> {
    let first = stride(from: 0, to: spans.count, by: 2).map { spans[$0] }.min() ?? 0
    let end = stride(from: 0, to: spans.count, by: 2).map { spans[$0] + spans[$0 + 1] }.max() ?? 0
    return first..<end
  }
}
