/// What is made of the pixels around a point when an image is resized.
public enum Interpolation: Hashable, Sendable {
  /// The nearest one.
  case nearest
  /// Two along every axis, weighted by their distance.
  case linear
  /// Four along every axis (Keys 1981, with a = −0.75).
  case cubic

  fileprivate var operation: Resize.Interpolation {
    switch self {
    case .nearest: .nearest(.preferFloor)
    case .linear: .linear
    case .cubic: .cubic(-0.75)
    }
  }
}

extension Graph.Value {
  /// Resizes images `[N, H, W, C]` to `[N, height, width, C]`.
  ///
  /// Pixels are squares whose centres are mapped to one another, as PyTorch's `align_corners=False` does;
  /// beyond the centres at the edge stand the pixels there.
  ///
  /// - Parameters:
  ///   - height: rows of the result.
  ///   - width: columns of the result.
  ///   - interpolation: what is made of the pixels around a point.
  ///   - antialiases: whether a pixel of a smaller result is made of all pixels that it covers; not for
  ///     `.nearest`.
  public func resized(
    height: Int, width: Int, _ interpolation: Interpolation = .linear, antialiases: Bool = false
  ) -> Graph.Value {
    guard type.rank == 4 else {
      builder.fail(GraphError(.invalidShape, "\(type) is no batch of images to be resized"))
      return self
    }
    return [height, width].enumerated().reduce(self) { value, axis in
      value.apply(
        .resize(
          Resize(
            axis: 1 + axis.offset, extent: .size(axis.element),
            interpolation: interpolation.operation, coordinates: .halfPixel,
            antialiases: antialiases)))
    }
  }

  /// Makes every spatial axis of `[N, …, C]` so many times as long; see
  /// `resized(height:width:_:antialiases:)`.
  public func upsampled(
    by factor: Int, _ interpolation: Interpolation = .nearest
  ) -> Graph.Value {
    guard factor >= 1, type.rank >= 3 else {
      builder.fail(GraphError(.invalidAttribute, "\(type) cannot be upsampled by \(factor)"))
      return self
    }
    return (1..<(type.rank - 1)).reduce(self) { value, axis in
      value.apply(
        .resize(
          Resize(
            axis: axis, extent: .scale(Double(factor)), interpolation: interpolation.operation,
            coordinates: .halfPixel)))
    }
  }
}
