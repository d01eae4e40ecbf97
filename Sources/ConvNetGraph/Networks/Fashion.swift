extension Network {
  /// Five 3 × 3 convolutions at three resolutions and a dense layer.
  ///
  /// 5.6 M multiply-adds for an image of 28 × 28. Channel counts are multiples of a vector; strides
  /// shrink the image instead of pooling, so that nothing is computed to be thrown away; the dense layer
  /// sees where things are, which centred pictures of clothes reward over a global mean.
  static func fashion(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    x.convolutionUnit(16, kernel: 3, normalized: normalized)
      .convolutionUnit(32, kernel: 3, stride: 2, normalized: normalized)
      .convolutionUnit(32, kernel: 3, normalized: normalized)
      .convolutionUnit(64, kernel: 3, stride: 2, normalized: normalized)
      .convolutionUnit(64, kernel: 3, normalized: normalized)
      .flatten()
      .dense(classes)
  }
}
