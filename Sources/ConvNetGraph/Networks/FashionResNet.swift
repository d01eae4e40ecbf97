extension Network {
  /// A convolution, then three stages that each halve the image and add one residual block, and the
  /// largest value of each channel.
  ///
  /// After the small residual networks with which people raced for CIFAR-10 in DAWNBench (Page 2018), at
  /// three quarters of their width. 44.0 M multiply-adds for an image of 28 × 28, 1.09 M parameters. All
  /// convolutions but the first are 3 × 3 of stride 1 on at least 48 channels: what Winograd's transform
  /// saves most on. Pooling comes before batch normalisation, so that a quarter of the pixels has to be
  /// normalised, and the residual block ends in a ReLU of its own, so that the skip connection stays linear.
  static func fashionResNet(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    var y = x.convolutionUnit(16, kernel: 3, normalized: normalized)
    for filters in [48, 96, 192] {
      y = y.poolingUnit(filters, normalized: normalized)
      let residual = y.convolutionUnit(filters, kernel: 3, normalized: normalized)
        .convolutionUnit(filters, kernel: 3, normalized: normalized)
      y = y + residual
    }
    return y.globalMaxPooling().dense(classes)
  }
}

extension Graph.Value {
  /// A 3 × 3 convolution, max-pooling by 2 where there are rows to pool, batch normalisation and ReLU.
  fileprivate func poolingUnit(_ filters: Int, normalized: Bool) -> Graph.Value {
    var y = convolution(filters, kernel: 3, bias: !normalized)
    if !isSingleRow { y = y.maxPooling(kernel: 2) }
    return (normalized ? y.batchNormalization() : y).relu()
  }

  /// The largest value of each channel of a square image: `[N, S, S, C]` to `[N, C]`.
  fileprivate func globalMaxPooling() -> Graph.Value {
    let size = type.dimensions.dropFirst().first?.extent ?? 1
    return (size > 1 ? maxPooling(kernel: size) : self).flatten()
  }
}
