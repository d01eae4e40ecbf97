/// Numbers counted in buckets whose limits grow by a tenth, as TensorFlow makes them: from 10⁻¹² to
/// 10²⁰ on both sides of 0.
package struct EventHistogram: Hashable, Sendable {
  /// The smallest finite number; ∞ where there is none.
  package private(set) var minimum = Double.infinity
  /// The largest finite number; −∞ where there is none.
  package private(set) var maximum = -Double.infinity
  /// How many finite numbers there are.
  package private(set) var count = 0
  /// How many others there are, which no bucket holds.
  package private(set) var nonFiniteCount = 0
  /// The sum of the finite numbers.
  package private(set) var sum = 0.0
  /// The sum of their squares.
  package private(set) var sumOfSquares = 0.0
  private var buckets = [Int](repeating: 0, count: limits.count)

  /// The right ends of the buckets, which do not belong to them.
  private static let limits: [Double] = {
    var positive: [Double] = []
    var limit = 1e-12
    while limit < 1e20 {
      positive.append(limit)
      limit *= 1.1
    }
    positive.append(.greatestFiniteMagnitude)
    return positive.reversed().map { -$0 } + [0] + positive
  }()

  /// Counts numbers.
  package init(_ values: some Sequence<Float>) {
    for value in values {
      let value = Double(value)
      guard value.isFinite else {
        nonFiniteCount += 1
        continue
      }
      minimum = min(minimum, value)
      maximum = max(maximum, value)
      count += 1
      sum += value
      sumOfSquares += value * value
      buckets[Self.bucket(of: value)] += 1
    }
  }

  /// The first bucket whose limit is greater than a number.
  private static func bucket(of value: Double) -> Int {
    var (low, high) = (0, limits.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if limits[middle] > value { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// Limits and counts, with neighbouring empty buckets made one.
  package var merged: [(limit: Double, count: Int)] {
    var result: [(limit: Double, count: Int)] = []
    for (limit, count) in zip(Self.limits, buckets) {
      if count == 0, let last = result.last, last.count == 0 { result.removeLast() }
      result.append((limit, count))
    }
    return result
  }

  /// The message `tensorflow.HistogramProto`.
  var message: ProtobufWriter {
    var message = ProtobufWriter()
    let merged = merged
    message.double(1, count == 0 ? 0 : minimum)
    message.double(2, count == 0 ? 0 : maximum)
    message.double(3, Double(count))
    message.double(4, sum)
    message.double(5, sumOfSquares)
    message.doubles(6, merged.map(\.limit))
    message.doubles(7, merged.map { Double($0.count) })
    return message
  }
}
