import ConvNetGraph

/// The ways to compute a convolution, the most special first.
///
/// One static table: a plan takes the first that does not decline, or the one it is told to; the choice
/// depends on geometry without the number of images, so that an image gives the same bits in any batch.
enum ConvolutionStrategy: String, CaseIterable, Sendable {
  /// A matrix product on the activations as they lie.
  case pointwise
  /// Vector loops over pixels, every channel by itself.
  case depthwise
  /// Vector loops over filters, for images of few channels.
  case thin
  /// 3 × 3 kernels of stride 1 by Winograd's minimal filtering.
  case winograd
  /// Lines of pixels, read where they lie, times packed panels.
  case direct
  /// Rows of im2col in tiles of bounded size, times packed panels.
  case im2col

  /// Why the strategy cannot compute a convolution, or nil where it can.
  func declines(_ shape: ConvolutionShape) -> String? {
    switch self {
    case .pointwise:
      if !shape.isPointwise { return "kernel, stride or padding is not that of one pixel" }
      if shape.groups > 1 { return "channels are in \(shape.groups) groups" }
      return nil
    case .depthwise:
      return shape.isDepthwise ? nil : "channels are not separate"
    case .thin:
      return shape.isThin ? nil : "more than 4 channels, groups, dilation or rows too long"
    case .winograd:
      return shape.isWinograd ? nil : "kernel is not 3×3, dense and of stride 1"
    case .direct:
      return shape.groups > 1 ? "channels are in \(shape.groups) groups" : nil
    case .im2col:
      return nil
    }
  }

  /// Why the strategy is not taken unless it is forced, or nil where it is as good as any.
  func avoids(_ shape: ConvolutionShape, options: PlanOptions) -> String? {
    if self == .direct {
      return LineConvolution.suits(shape.horizontal) ? nil : "lines of outputs are too short"
    }
    guard self == .winograd else { return nil }
    if !options.allowsWinograd { return "exact results are asked for" }
    if min(shape.channels, shape.filters) < 16 { return "too few channels for its transforms" }
    if shape.pixels == 1 { return "the output is one pixel" }
    return nil
  }

  /// The strategies that declined a convolution or are not taken unless forced, with their reasons.
  func declined(
    _ shape: ConvolutionShape, options: PlanOptions
  ) -> [(strategy: String, reason: String)] {
    Self.allCases.filter { $0 != self }.compactMap { strategy in
      let reason = strategy.declines(shape) ?? strategy.avoids(shape, options: options)
      return reason.map { (strategy.rawValue, $0) }
    }
  }

  /// The strategy for a convolution.
  static func choose(_ shape: ConvolutionShape, options: PlanOptions) -> ConvolutionStrategy {
    let table = allCases.filter { $0.declines(shape) == nil }
    if let forced = table.first(where: { $0.rawValue == options.convolution }) { return forced }
    return table.first { $0.avoids(shape, options: options) == nil } ?? .im2col
  }
}

/// What a plan decided about one convolution, for reports.
public struct ConvolutionChoice: Sendable {
  /// The layer.
  public let layer: String
  /// The strategy that computes it.
  public let chosen: String
  /// The strategies that cannot, or that the table passes over, and why.
  public let declined: [(strategy: String, reason: String)]
}
