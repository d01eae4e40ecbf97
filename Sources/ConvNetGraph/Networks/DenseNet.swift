extension Network {
  /// DenseNet-121 (Huang, Liu, van der Maaten & Weinberger 2017, table 1) of growth rate 32.
  ///
  /// The pooling of a transition is left out of a map of a single row, so that images of 28 have a
  /// network too.
  static func densenet121(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    let features = x.scoped("features") { x in
      var y = x.namedUnit(64, kernel: 7, stride: 2, "conv0", "norm0", normalized: normalized).relu()
        .maxPooling(kernel: 3, stride: 2, padding: .explicit(1))
      for (stage, layers) in [6, 12, 24, 16].enumerated() {
        if stage > 0 {
          y = y.scoped("transition\(stage)") { $0.denseTransition(normalized: normalized) }
        }
        y = y.scoped("denseblock\(stage + 1)") {
          $0.denseBlock(layers: layers, growth: 32, normalized: normalized)
        }
      }
      return normalized ? y.batchNormalization(name: "norm5") : y
    }
    return features.relu().globalAveragePooling().dense(classes, name: "classifier")
  }
}

extension Graph.Value {
  /// Layers that each add `growth` channels to all before them.
  ///
  /// Batch norm, ReLU, 1 × 1 convolution to four times as many, batch norm, ReLU, 3 × 3 convolution: Huang
  /// et al. 2017, equation 2, DenseNet-B.
  package func denseBlock(layers: Int, growth: Int, normalized: Bool) -> Graph.Value {
    (1...layers).reduce(self) { x, index in
      x.concatenated(
        with: x.scoped("denselayer\(index)") {
          $0.preactivated("norm1", normalized)
            .namedConvolution(4 * growth, kernel: 1, bias: !normalized, "conv1")
            .preactivated("norm2", normalized)
            .namedConvolution(growth, kernel: 3, bias: !normalized, "conv2")
        })
    }
  }

  /// Halves channels by a 1 × 1 convolution (DenseNet-C, θ = ½), and the image by averaging.
  package func denseTransition(normalized: Bool) -> Graph.Value {
    let channels = type.dimensions.last?.extent ?? 2
    let y = preactivated("norm", normalized)
      .namedConvolution(channels / 2, kernel: 1, bias: !normalized, "conv")
    return y.isSingleRow ? y : y.averagePooling(kernel: 2)
  }

  private func preactivated(_ name: String, _ normalized: Bool) -> Graph.Value {
    (normalized ? batchNormalization(name: name) : self).relu()
  }
}
