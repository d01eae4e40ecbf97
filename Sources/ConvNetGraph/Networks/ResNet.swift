extension Network {
  /// ResNet-18 and -34 (He, Zhang, Ren & Sun 2016, table 1): stages of basic blocks.
  static func resnet(
    _ x: Graph.Value, basicBlocks blocks: [Int], classes: Int, normalized: Bool
  ) -> Graph.Value {
    resnet(x, blocks: blocks, classes: classes, normalized: normalized) { y, filters, stride in
      y.basicBlock(filters, stride: stride, normalized: normalized)
    }
  }

  /// ResNet-50 (table 1): stages of bottlenecks of 64, 128, 256 and 512 channels that expand fourfold.
  static func resnet(
    _ x: Graph.Value, bottlenecks blocks: [Int], classes: Int, normalized: Bool
  ) -> Graph.Value {
    resnet(x, blocks: blocks, classes: classes, normalized: normalized) { y, filters, stride in
      y.bottleneckBlock(filters, stride: stride, normalized: normalized)
    }
  }

  /// What all have in common; the first block of a stage but the first halves the image.
  private static func resnet(
    _ x: Graph.Value, blocks: [Int], classes: Int, normalized: Bool,
    block: (Graph.Value, _ filters: Int, _ stride: Int) -> Graph.Value
  ) -> Graph.Value {
    var y = x.namedUnit(64, kernel: 7, stride: 2, "conv1", "bn1", normalized: normalized).relu()
      .maxPooling(kernel: 3, stride: 2, padding: .explicit(1))
    for (stage, count) in blocks.enumerated() {
      y = y.scoped("layer\(stage + 1)") { y in
        (0..<count).reduce(y) { y, index in
          y.scoped("\(index)") { block($0, 64 << stage, stage > 0 && index == 0 ? 2 : 1) }
        }
      }
    }
    return y.globalAveragePooling().dense(classes, name: "fc")
  }
}

extension Graph.Value {
  /// Two 3 × 3 convolutions beside a skip connection.
  ///
  /// He et al. 2016, figure 5, left.
  package func basicBlock(_ filters: Int, stride: Int, normalized: Bool) -> Graph.Value {
    let residual = namedUnit(
      filters, kernel: 3, stride: stride, "conv1", "bn1", normalized: normalized
    )
    .relu().namedUnit(filters, kernel: 3, "conv2", "bn2", normalized: normalized)
    return (residual + projected(filters, stride: stride, normalized: normalized)).relu()
  }

  /// 1 × 1, 3 × 3 and 1 × 1 convolutions beside a skip connection (figure 5, right); four times as many
  /// channels come out.
  ///
  /// The stride is in the 3 × 3 convolution, not in the first one as in the paper: version 1.5, which
  /// PyTorch's checkpoints are for.
  package func bottleneckBlock(_ filters: Int, stride: Int, normalized: Bool) -> Graph.Value {
    let residual = namedUnit(filters, kernel: 1, "conv1", "bn1", normalized: normalized).relu()
      .namedUnit(filters, kernel: 3, stride: stride, "conv2", "bn2", normalized: normalized).relu()
      .namedUnit(4 * filters, kernel: 1, "conv3", "bn3", normalized: normalized)
    return (residual + projected(4 * filters, stride: stride, normalized: normalized)).relu()
  }

  /// The value itself, or a 1 × 1 convolution of it where shapes change (option B of the paper).
  private func projected(_ filters: Int, stride: Int, normalized: Bool) -> Graph.Value {
    guard stride != 1 || type.dimensions.last != .fixed(filters) else { return self }
    return scoped("downsample") {
      $0.namedUnit(filters, kernel: 1, stride: stride, "0", "1", normalized: normalized)
    }
  }
}
