extension Graph.Value {
  /// The basic residual block: convolution, batch norm, ReLU, convolution, batch norm, plus the input,
  /// ReLU.
  ///
  /// From `[N, H, W, C]` to `[N, ⌈H/stride⌉, ⌈W/stride⌉, filters]`. After He et al. 2016, figure 2, with a
  /// projection where shapes change.
  ///
  /// - Parameters:
  ///   - filters: the number of output channels.
  ///   - stride: the stride of the first convolution and of the projection.
  public func residualBlock(_ filters: Int, stride: Int = 1) -> Graph.Value {
    let changes = stride != 1 || type.dimensions.last != .fixed(filters)
    let skip =
      changes
      ? convolution(filters, kernel: 1, stride: stride, bias: false).batchNormalization() : self
    let residual = convolution(filters, kernel: 3, stride: stride, bias: false)
      .batchNormalization().relu()
      .convolution(filters, kernel: 3, bias: false).batchNormalization()
    return (residual + skip).relu()
  }
}
