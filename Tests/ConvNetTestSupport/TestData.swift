package import ConvNetGraph
package import ConvNetReference

/// Numbers for tests: functions of a seed, the same on every machine.
package enum TestData {
  /// Whole numbers of a range, times `scale`, in float32: sums of their products are exact while they stay below 2²⁴.
  package static func integers(
    _ shape: Shape, in range: ClosedRange<Int> = -4...4, scale: Int = 1, seed: UInt64
  ) -> Tensor {
    Tensor(
      words(shape.count, seed: seed).map { Float(scale * integer($0, in: range)) }, shape: shape)
  }

  /// Labels or other whole numbers of a range, in int64.
  package static func labels(
    _ shape: Shape, in range: ClosedRange<Int>, seed: UInt64
  ) -> Tensor {
    Tensor(words(shape.count, seed: seed).map { Int64(integer($0, in: range)) }, shape: shape)
  }

  /// Evenly distributed numbers of a range, in float32.
  package static func uniform(
    _ shape: Shape, in range: ClosedRange<Float> = -1...1, seed: UInt64
  ) -> Tensor {
    let width = range.upperBound - range.lowerBound
    return Tensor(
      words(shape.count, seed: seed).map { range.lowerBound + width * Float($0 >> 8) * 0x1p-24 },
      shape: shape)
  }

  /// Evenly distributed numbers of a range, in Double, for the reference.
  package static func doubles(
    _ shape: Shape, in range: ClosedRange<Double> = -1...1, seed: UInt64
  ) -> ReferenceTensor {
    let random = Philox(seed: seed, stream: stream)
    let width = range.upperBound - range.lowerBound
    return ReferenceTensor(
      (0..<shape.count).map { range.lowerBound + width * random.uniform(UInt64($0)) },
      shape: shape)
  }

  /// The numbers 0 to count − 1, each once, times a step, in an order of the seed: no two are equal, so
  /// that maxima are unique and stay where they are under small changes.
  package static func distinct(
    _ shape: Shape, step: Double = 0.1, seed: UInt64
  ) -> ReferenceTensor {
    let order = Philox(seed: seed, stream: stream).permutation(shape.count)
    return ReferenceTensor(
      order.map { (Double($0) - Double(shape.count) / 2 + 0.25) * step }, shape: shape)
  }

  /// A stream of its own, so that tests never repeat numbers that the library draws from one seed.
  private static let stream: UInt64 = 0x7465_7374

  private static func words(_ count: Int, seed: UInt64) -> [UInt32] {
    let random = Philox(seed: seed, stream: stream)
    return (0..<count).map { random.word(UInt64($0)) }
  }

  private static func integer(_ word: UInt32, in range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(word % UInt32(range.count))
  }
}
