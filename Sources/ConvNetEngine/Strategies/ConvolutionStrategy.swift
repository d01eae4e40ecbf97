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
    case .im2col:
      return nil
    }
  }

  /// The strategies that declined a convolution, with their reasons.
  static func declined(_ shape: ConvolutionShape) -> [(strategy: String, reason: String)] {
    allCases.compactMap { strategy in
      strategy.declines(shape).map { (strategy.rawValue, $0) }
    }
  }

  /// The strategy for a convolution.
  static func choose(_ shape: ConvolutionShape, forced: String?) -> ConvolutionStrategy {
    let table = allCases.filter { $0.declines(shape) == nil }
    return table.first { $0.rawValue == forced } ?? table.first ?? .im2col
  }
}

/// What a plan decided about one convolution, for reports.
public struct ConvolutionChoice: Sendable {
  /// The layer.
  public let layer: String
  /// The strategy that computes it.
  public let chosen: String
  /// The strategies that cannot, and why.
  public let declined: [(strategy: String, reason: String)]
}
