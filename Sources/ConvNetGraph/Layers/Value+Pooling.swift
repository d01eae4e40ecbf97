extension Graph.Value {
  /// The largest value of each window of `[N, H, W, C]`; padding never wins, NaN always does.
  ///
  /// - Parameters:
  ///   - kernel: the extent of the square window.
  ///   - stride: pixels between neighbouring windows; the kernel's extent by default.
  ///   - padding: what is added around the image.
  public func maxPooling(
    kernel: Int, stride: Int? = nil, padding: Padding = .valid
  ) -> Graph.Value {
    apply(.maxPool(Self.window(kernel, stride, padding)))
  }

  /// The mean of each window of `[N, H, W, C]`.
  ///
  /// - Parameters:
  ///   - kernel: the extent of the square window.
  ///   - stride: pixels between neighbouring windows; the kernel's extent by default.
  ///   - padding: what is added around the image.
  ///   - countsPadding: whether positions of the padding count in the divisor.
  public func averagePooling(
    kernel: Int, stride: Int? = nil, padding: Padding = .valid, countsPadding: Bool = false
  ) -> Graph.Value {
    let window = Self.window(kernel, stride, padding)
    return apply(.averagePool(AveragePool(window: window, countsPadding: countsPadding)))
  }

  /// The mean over the image: `[N, H, W, C]` to `[N, C]`.
  public func globalAveragePooling() -> Graph.Value { reduced(.mean, axes: [1, 2]) }

  private static func window(_ kernel: Int, _ stride: Int?, _ padding: Padding) -> Window {
    let stride = stride ?? kernel
    return Window(kernel: [kernel, kernel], stride: [stride, stride], padding: padding)
  }
}
