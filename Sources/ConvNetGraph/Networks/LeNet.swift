extension Network {
  /// LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998, figure 2), as it is written since.
  ///
  /// ReLU instead of tanh, max-pooling instead of learned subsampling, a dense layer of logits instead
  /// of distances, and the 28 × 28 image padded to the paper's 32 × 32. Batch normalisation after every
  /// layer but the last.
  static func lenet(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    x.convolutionUnit(6, kernel: 5, normalized: normalized).maxPooling(kernel: 2)
      .convolutionUnit(16, kernel: 5, padding: .valid, normalized: normalized)
      .maxPooling(kernel: 2)
      .flatten()
      .denseUnit(120, normalized: normalized)
      .denseUnit(84, normalized: normalized)
      .dense(classes)
  }
}
