extension Graph.Value {
  /// The loss −Σ q·log softmax(logits) of each row of logits float32 `[N, K]`, as float32 `[N]`.
  ///
  /// - Parameters:
  ///   - labels: int64 `[N]`, each below the number of classes; another label gives NaN.
  ///   - labelSmoothing: s in q = (1 − s)·onehot + s/K (Szegedy et al. 2016, section 7), in 0..<1.
  public func softmaxCrossEntropy(
    labels: Graph.Value, labelSmoothing: Double = 0
  ) -> Graph.Value {
    apply(.softmaxCrossEntropy(SoftmaxCrossEntropy(labelSmoothing: labelSmoothing)), labels)
  }
}
