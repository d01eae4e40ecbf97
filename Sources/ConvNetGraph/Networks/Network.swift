/// The networks that come with the package.
///
///     let graph = try Network.named("fashion").graph(classes: 10)
public enum Network: String, Sendable, Hashable, CaseIterable {
  /// LeCun et al.'s LeNet-5 with ReLU, max-pooling and batch normalisation; 28 × 28 × 1, 10 classes.
  case lenet
  /// A small network for Fashion-MNIST, learned in a minute; 28 × 28 × 1, 10 classes.
  case fashion

  /// The network of a name.
  ///
  /// - Throws: `GraphError` listing the names there are.
  public static func named(_ name: String) throws -> Network {
    if let network = Network(rawValue: name) { return network }
    let known = allCases.map(\.rawValue).joined(separator: ", ")
    throw GraphError(
      .malformedGraph, "there is no built-in network named “\(name)”; there are: \(known)")
  }

  /// The height and width of its images unless told otherwise.
  public var defaultSize: Int { 28 }

  /// The channels of its images unless told otherwise.
  public var defaultChannels: Int { 1 }

  /// The classes it tells apart unless told otherwise.
  public var defaultClassCount: Int { 10 }

  /// Describes the network, from images `[N, size, size, channels]` to logits `[N, classes]`.
  ///
  /// - Parameters:
  ///   - classes: the number of logits.
  ///   - batchNormalization: whether layers are normalised; otherwise the same convolutions and dense
  ///     layers have biases. Filters keep their names, so that one seed gives both the same filters.
  ///   - size: the height and width of the images.
  ///   - channels: the channels of the images.
  /// - Throws: `GraphError` where the images are too small for the network, or there are no classes.
  public func graph(
    classes: Int? = nil, batchNormalization: Bool = true, size: Int? = nil, channels: Int? = nil
  ) throws -> Graph {
    let (size, channels) = (size ?? defaultSize, channels ?? defaultChannels)
    let classes = classes ?? defaultClassCount
    guard size >= 1, channels >= 1, classes >= 1 else {
      throw GraphError(
        .invalidAttribute,
        "no network has images of \(size) × \(size) × \(channels) and \(classes) classes",
        at: rawValue)
    }
    return try Graph(input: .image(height: size, width: size, channels: channels)) { x in
      switch self {
      case .lenet: Self.lenet(x, classes: classes, normalized: batchNormalization)
      case .fashion: Self.fashion(x, classes: classes, normalized: batchNormalization)
      }
    }
  }
}

extension Graph.Value {
  /// A convolution and its ReLU, with batch normalisation between them or with a bias.
  func convolutionUnit(
    _ filters: Int, kernel: Int, stride: Int = 1, padding: Padding = .same, normalized: Bool
  ) -> Graph.Value {
    let y = convolution(
      filters, kernel: kernel, stride: stride, padding: padding, bias: !normalized)
    return (normalized ? y.batchNormalization() : y).relu()
  }

  /// A dense layer and its ReLU, with batch normalisation between them or with a bias.
  func denseUnit(_ units: Int, normalized: Bool) -> Graph.Value {
    let y = dense(units, bias: !normalized)
    return (normalized ? y.batchNormalization() : y).relu()
  }
}
