import ArgumentParser
import ConvNet
import ConvNetImages

/// Where training starts: a built-in network with fresh weights, or a model.
struct StartOptions: ParsableArguments {
  @Option(help: "The network: \(Network.allCases.map(\.rawValue).joined(separator: ", ")).")
  var network: String?
  @Option(
    help: """
      A model to go on from, saved or imported; with --network a checkpoint of PyTorch (.safetensors).
      """)
  var model: String?
  @Option(parsing: .unconditional, help: "The classes of a checkpoint, if not the network's own.")
  var classes: Int?
  @Flag(help: "Give the model a new last layer, with as many outputs as the data have classes.")
  var replaceHead = false
  @Option(
    help: """
      Keep everything in the model whose name begins with this, running statistics included; may be \
      repeated.
      """)
  var freeze: [String] = []
  @Option(
    help: """
      How it is trained: \(Recipe.Purpose.allCases.map(\.rawValue).joined(separator: ", ")). Other \
      options change single numbers of it.
      """)
  var recipe: String?
  @Flag(help: "Leave batch normalisation out; convolutions have biases instead.")
  var noBatchNorm = false

  @Option(
    parsing: .unconditional,
    help: "The height and width that image files are brought to; by default the network's.")
  var imageSize: Int?
  @Option(
    help: """
      How pixels are normalised: measured (by the moments of the training images), imagenet (by those \
      of ImageNet) or scaling (to the range from 0 to 1); by default as the model says, or measured.
      """)
  var normalization: NormalizationChoice?

  func validate() throws {
    guard network != nil || model != nil else {
      throw ValidationError("one of --network and --model says what is trained")
    }
    guard model != nil || (!replaceHead && freeze.isEmpty && classes == nil) else {
      throw ValidationError(
        "--replace-head, --freeze and --classes change a --model, not a new network")
    }
    guard network != nil || classes == nil else {
      throw ValidationError("--classes belongs to a checkpoint of a --network")
    }
    guard model == nil || !noBatchNorm else {
      throw ValidationError("--no-batch-norm goes with a new network; a --model is as it is")
    }
  }

  private var recipeName: String { recipe ?? Recipe.Purpose.standard.rawValue }

  /// What can be known before data are loaded.
  struct Start {
    /// What reports call it.
    let name: String
    let recipe: Recipe
    let network: Network?
    /// What a file with its own graph holds.
    let model: Model?
  }

  /// Reads what there is to read.
  func start() throws -> Start {
    if let network {
      let network = try Network.named(network)
      return Start(
        name: network.rawValue, recipe: try .named(recipeName, for: network), network: network,
        model: nil)
    }
    let path = model ?? ""
    let model = try ModelFormat.load(path)
    let network = model.networkName.flatMap(Network.init(rawValue:))
    return Start(
      name: model.networkName ?? path, recipe: try .named(recipeName, for: network ?? .fashion),
      network: network, model: model)
  }

  /// What image files are made for the network or the model.
  func preprocessing(_ start: Start) throws -> ImagePreprocessing {
    if let model = start.model {
      let known = try model.imageTreatment().preprocessing
      guard let imageSize, imageSize != known.height || imageSize != known.width else {
        return known
      }
      return try ImagePreprocessing(
        height: imageSize, channels: known.channels, filter: known.filter)
    }
    guard let network = start.network else { throw ToolError("there is nothing to be trained") }
    return try ImagePreprocessing(
      height: imageSize ?? network.defaultSize, channels: network.defaultChannels)
  }

  /// The model to be trained on some data.
  func model(_ start: Start, for data: any ImageSource, seed: UInt64) throws -> Model {
    var result = try initial(start, for: data, seed: seed)
    if model != nil {
      if replaceHead { result = try result.replacingHead(classes: data.classCount, seed: seed) }
      result = try freeze.reduce(result) { try $0.freezing(prefix: $1) }
      let logits = result.graph.outputViews.first?.type.dimensions.last
      if case .fixed(let classes) = logits, classes != data.classCount {
        throw ToolError(
          "\(start.name) tells \(classes) classes apart and the data have \(data.classCount): "
            + "--replace-head gives it a new last layer")
      }
      guard result.graph.trainableCount > 0 else {
        throw ToolError("--freeze \(freeze.joined(separator: " ")) leaves nothing to be trained")
      }
    }
    if result.normalization == nil || normalization != nil {
      result.normalization = try (normalization ?? .measured).normalization(for: data)
    }
    // As the images of this training are made; data in memory leave what there is.
    if let made = data.preprocessing, !data.isInMemory || result.imagePreprocessing == nil {
      result.imagePreprocessing = made
    }
    // Training defines what the outputs mean: names that the data have take the place of a model's.
    if !data.classNames.isEmpty || result.classNames.count != data.classCount {
      result.classNames = data.classNames
    }
    return result
  }

  /// The model of a file, or a network with weights of a checkpoint or new ones.
  private func initial(_ start: Start, for data: any ImageSource, seed: UInt64) throws -> Model {
    let shape = data.imageShape
    if let model = start.model { return try model.fitting(images: data.batchShape(1)) }
    guard let network = start.network else { throw ToolError("there is nothing to be trained") }
    var result: Model
    if let model {
      let graph = try network.graph(classes: classes, size: shape[1], channels: shape[2])
      result = try ModelFormat.load(model, into: graph)
    } else {
      let graph = try network.graph(for: data, batchNormalization: !noBatchNorm)
      result = try Model(initializing: graph, seed: seed)
    }
    result.networkName = network.rawValue
    return result
  }
}

/// How pixels are normalised.
enum NormalizationChoice: String, ExpressibleByArgument, CaseIterable {
  case measured
  case imagenet
  case scaling

  func normalization(for data: any ImageSource) throws -> Normalization {
    switch self {
    case .measured: return try data.measuredNormalization()
    case .scaling: return .scaling(data.elementType, channels: data.channels)
    case .imagenet:
      guard data.channels == 3 else {
        throw ToolError("ImageNet has moments of 3 channels, the images have \(data.channels)")
      }
      return .imageNet
    }
  }
}
