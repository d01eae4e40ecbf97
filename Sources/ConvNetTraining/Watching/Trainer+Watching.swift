import CConvNetLoops

extension Trainer {
  /// Calls a closure with the gradient of each trainable parameter in the last step, before clipping;
  /// with none before the first step.
  package func forEachGradient(
    _ body: (_ parameter: String, _ gradient: UnsafeBufferPointer<Float>) throws -> Void
  ) rethrows {
    for (entry, gradient) in zip(optimizerState.entries, optimizerState.gradients) {
      try body(entry.name, gradient)
    }
  }

  /// The Euclidean norm of all gradients of the last step before clipping, clipped or not; nil before the
  /// first step, and where it is beyond floats.
  package var measuredGradientNorm: Double? {
    if let gradientNorm { return gradientNorm }
    var squares = 0.0
    forEachGradient { squares += cnl_sum_of_squares($1.baseAddress, $1.count) }
    return optimizerState.gradients.isEmpty || !squares.isFinite ? nil : squares.squareRoot()
  }
}
