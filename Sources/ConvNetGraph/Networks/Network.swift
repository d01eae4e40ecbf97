/// The networks that come with the package.
///
///     let graph = try Network.named("fashion").graph(classes: 10)
///
/// Those for ImageNet are as in their papers, with explicit symmetric padding, and with the parameter
/// names that PyTorch's checkpoints have, such as `layer1.0.conv1.weight` and `bn1.running_mean`.
public enum Network: String, Sendable, Hashable, CaseIterable {
  /// LeCun et al.'s LeNet-5 with ReLU, max-pooling and batch normalisation; 28 × 28 × 1, 10 classes.
  case lenet
  /// A small network for Fashion-MNIST, learned in a minute; 28 × 28 × 1, 10 classes.
  case fashion
  /// A residual network for Fashion-MNIST that learns to err on 6 images of 100 within minutes;
  /// 28 × 28 × 1, 10 classes.
  case fashionResNet = "fashion-resnet"
  /// He et al.'s residual network of 18 layers; 224 × 224 × 3, 1000 classes.
  case resnet18
  /// He et al.'s residual network of 34 layers; 224 × 224 × 3, 1000 classes.
  case resnet34
  /// He et al.'s residual network of 50 layers, with strides in the 3 × 3 convolutions (version 1.5);
  /// 224 × 224 × 3, 1000 classes.
  case resnet50
  /// Simonyan & Zisserman's network of 16 layers, with batch normalisation; 224 × 224 × 3, 1000 classes.
  case vgg16BatchNorm = "vgg16-bn"
  /// Sandler et al.'s network of inverted residuals; 224 × 224 × 3, 1000 classes.
  case mobilenetV2 = "mobilenet-v2"
  /// Huang et al.'s densely connected network of 121 layers; 224 × 224 × 3, 1000 classes.
  case densenet121

  /// The network of a name.
  ///
  /// - Throws: `GraphError` listing the names there are.
  public static func named(_ name: String) throws -> Network {
    if let network = Network(rawValue: name) { return network }
    let known = allCases.map(\.rawValue).joined(separator: ", ")
    throw GraphError(
      .malformedGraph, "there is no built-in network named “\(name)”; there are: \(known)")
  }

  /// The height and width of its images in pixels unless told otherwise.
  public var defaultSize: Int { isForImageNet ? 224 : 28 }

  /// The channels of its images unless told otherwise.
  public var defaultChannels: Int { isForImageNet ? 3 : 1 }

  /// The classes it tells apart unless told otherwise.
  public var defaultClassCount: Int { isForImageNet ? 1000 : 10 }

  private var isForImageNet: Bool { ![.lenet, .fashion, .fashionResNet].contains(self) }

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
    return try Graph(input: .image(height: size, width: size, channels: channels)) {
      describe($0, classes: classes, normalized: batchNormalization)
    }
  }

  private func describe(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    switch self {
    case .lenet: Self.lenet(x, classes: classes, normalized: normalized)
    case .fashion: Self.fashion(x, classes: classes, normalized: normalized)
    case .fashionResNet: Self.fashionResNet(x, classes: classes, normalized: normalized)
    case .resnet18:
      Self.resnet(x, basicBlocks: [2, 2, 2, 2], classes: classes, normalized: normalized)
    case .resnet34:
      Self.resnet(x, basicBlocks: [3, 4, 6, 3], classes: classes, normalized: normalized)
    case .resnet50:
      Self.resnet(x, bottlenecks: [3, 4, 6, 3], classes: classes, normalized: normalized)
    case .vgg16BatchNorm: Self.vgg16(x, classes: classes, normalized: normalized)
    case .mobilenetV2: Self.mobilenetV2(x, classes: classes, normalized: normalized)
    case .densenet121: Self.densenet121(x, classes: classes, normalized: normalized)
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

  /// A named convolution with the symmetric padding that keeps the size at stride 1, and a named batch
  /// normalisation or a bias.
  ///
  /// Where the stride is 2 `.same` would pad an even image at its end only.
  func namedUnit(
    _ filters: Int, kernel: Int, stride: Int = 1, groups: Int = 1, bias: Bool = false,
    _ convolution: String, _ normalization: String, normalized: Bool
  ) -> Graph.Value {
    let y = namedConvolution(
      filters, kernel: kernel, stride: stride, groups: groups, bias: bias || !normalized,
      convolution)
    return normalized ? y.batchNormalization(name: normalization) : y
  }

  /// A named convolution with symmetric padding of half the kernel.
  func namedConvolution(
    _ filters: Int, kernel: Int, stride: Int = 1, groups: Int = 1, bias: Bool, _ name: String
  ) -> Graph.Value {
    convolution(
      filters, kernel: kernel, stride: stride, padding: .explicit(kernel / 2), groups: groups,
      bias: bias, name: name)
  }

  /// Whether an image cannot be halved any more.
  var isSingleRow: Bool { type.dimensions.dropFirst().first == .fixed(1) }
}
