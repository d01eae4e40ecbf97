extension Network {
  /// VGG-16 with batch normalisation (Simonyan & Zisserman 2015, table 1, column D; Ioffe & Szegedy 2015).
  ///
  /// Convolutions have biases, though the normalisation after them makes up for any: PyTorch's
  /// checkpoints hold them. The classifier sees the last map as it is, 7 × 7 × 512 for images of 224:
  ///
  /// - Its rows are in the order of positions, then channels. PyTorch flattens channels first, so the
  ///   rows of `classifier.0.weight` of a checkpoint have to be permuted.
  /// - Images of another size give a classifier of another size, where PyTorch pools to 7 × 7. Pooling is
  ///   left out of a map of a single row, so that images of 28 have a network too.
  static func vgg16(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    let stages = [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]]
    return x.vgg(stages: stages, units: 4096, classes: classes, normalized: normalized)
  }
}

extension Graph.Value {
  /// Stages of 3 × 3 convolutions that end by halving the image, and three dense layers with dropout.
  ///
  /// Layers are numbered as in PyTorch's `Sequential`, with a number for every ReLU, pooling and dropout.
  package func vgg(stages: [[Int]], units: Int, classes: Int, normalized: Bool) -> Graph.Value {
    let features = scoped("features") { x in
      var (y, index) = (x, 0)
      for filters in stages {
        for count in filters {
          y = y.namedUnit(
            count, kernel: 3, bias: true, "\(index)", "\(index + 1)", normalized: normalized
          ).relu()
          index += 3
        }
        if !y.isSingleRow { y = y.maxPooling(kernel: 2) }
        index += 1
      }
      return y
    }
    return features.flatten().scoped("classifier") { x in
      x.dense(units, name: "0").relu().dropout(0.5)
        .dense(units, name: "3").relu().dropout(0.5)
        .dense(classes, name: "6")
    }
  }
}
