extension Graph.Value {
  /// The largest value of each window of `[N, H, W, C]`, to `[N, H′, W′, C]` with extents as `Window` has
  /// them; padding never wins, NaN always does.
  ///
  /// - Parameters:
  ///   - kernel: the extent of the square window.
  ///   - stride: pixels between neighbouring windows; the kernel's extent by default.
  ///   - padding: what is added around the image.
  ///   - roundsUp: whether a last window may reach beyond image and padding (`ceil_mode` elsewhere).
  public func maxPooling(
    kernel: Int, stride: Int? = nil, padding: Padding = .valid, roundsUp: Bool = false
  ) -> Graph.Value {
    maxPooling(window: Self.window(kernel, stride, padding, roundsUp))
  }

  /// The largest value of each window, of one, two or three spatial dimensions with a geometry of their
  /// own: `[N, …, C]` to `[N, …′, C]`.
  public func maxPooling(window: Window) -> Graph.Value { apply(.maxPool(window)) }

  /// The mean of each window of `[N, H, W, C]`, to `[N, H′, W′, C]` with extents as `Window` has them.
  ///
  /// - Parameters:
  ///   - kernel: the extent of the square window.
  ///   - stride: pixels between neighbouring windows; the kernel's extent by default.
  ///   - padding: what is added around the image.
  ///   - countsPadding: whether positions of the padding count in the divisor.
  ///   - roundsUp: whether a last window may reach beyond image and padding (`ceil_mode` elsewhere); what
  ///     lies beyond never counts.
  public func averagePooling(
    kernel: Int, stride: Int? = nil, padding: Padding = .valid, countsPadding: Bool = false,
    roundsUp: Bool = false
  ) -> Graph.Value {
    averagePooling(
      window: Self.window(kernel, stride, padding, roundsUp), countsPadding: countsPadding)
  }

  /// The mean of each window, of one, two or three spatial dimensions with a geometry of their own:
  /// `[N, …, C]` to `[N, …′, C]`.
  public func averagePooling(window: Window, countsPadding: Bool = false) -> Graph.Value {
    apply(.averagePool(AveragePool(window: window, countsPadding: countsPadding)))
  }

  /// The mean over all positions: `[N, H, W, C]`, or of other spatial dimensions, to `[N, C]`.
  public func globalAveragePooling() -> Graph.Value {
    guard type.rank >= 3 else {
      builder.fail(GraphError(.invalidShape, "\(type) has no positions to be averaged over"))
      return self
    }
    return reduced(.mean, axes: Array(1..<(type.rank - 1)))
  }

  private static func window(
    _ kernel: Int, _ stride: Int?, _ padding: Padding, _ roundsUp: Bool
  ) -> Window {
    let stride = stride ?? kernel
    return Window(
      kernel: [kernel, kernel], stride: [stride, stride], padding: padding, roundsUp: roundsUp)
  }
}
