import ConvNetGraph

extension Dropout {
  /// y[i] = x[i]/(1 − rate) where word i of the stream is at least the threshold, else 0.
  func evaluate(_ x: ReferenceTensor, key: ReferenceTensor) -> [Double] {
    let (seed, step) = (key.integers[0], key.integers[1])
    let random = Philox(seed: UInt64(bitPattern: seed), stream: stream(step: step))
    return x.values.enumerated().map { index, value in
      random.word(UInt64(index)) >= threshold ? value * Double(scale) : 0
    }
  }
}
