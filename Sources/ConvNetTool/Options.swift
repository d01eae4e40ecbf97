import ArgumentParser
import ConvNet
import Glibc
import OpenBLAS

/// Which of OpenBLAS's kernels compute.
struct KernelOptions: ParsableArguments {
  @Option(
    help: """
      OpenBLAS's kernels: automatic (suit the CPU, unless OPENBLAS_CORETYPE is set), recommended \
      (suit the CPU in any case), keep (OpenBLAS's choice) or a name such as SkylakeX.
      """)
  var kernels = "automatic"

  /// What is asked of the library.
  var request: BLAS.Kernel {
    switch kernels {
    case "automatic": .automatic
    case "recommended": .recommended
    case "keep": .keep
    default: .named(kernels)
    }
  }

  /// Chooses the kernels and gives their name; to be called before anything computes.
  ///
  /// - Throws: `ToolError` where kernels of the wanted name cannot be had.
  @discardableResult
  func bootstrap() throws -> String {
    let report = BLAS.bootstrap(kernel: request)
    if case .named(let name) = request, report.core.lowercased() != name.lowercased() {
      throw ToolError(report.fallbacks.first ?? report.reason)
    }
    if case .failed(let why) = report.selfTest {
      throw ToolError("OpenBLAS computes wrongly with its \(report.core) kernels: \(why)")
    }
    return report.core
  }

  /// Remarks that the environment costs speed, where it does; for commands that compute for long.
  func remarkOnEnvironment() {
    let report = BLAS.bootstrap(kernel: request)
    guard report.environmentRespected, report.recommendedCore != report.core else { return }
    Output.remark(
      "OPENBLAS_CORETYPE keeps OpenBLAS at its \(report.core) kernels, \(report.recommendedCore) "
        + "suits this CPU better: unset it or pass --kernels recommended.")
  }
}

/// How many threads compute.
struct LaneOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "Threads that compute, 1 to 1024; by default as many as this process may use."
  )
  var lanes: Int?

  func make() throws -> Lanes {
    try lanes.map { try Lanes(count: $0) } ?? .shared
  }
}

/// What training does to need less memory.
struct MemoryOptions: ParsableArguments {
  @Flag(
    help: """
      Compute the activations of segments of the network again in the backward pass instead of \
      keeping them: much less memory, up to a third more time, the same results but for rounding.
      """)
  var checkpointing = false
}

/// Where labelled images come from.
struct DataOptions: ParsableArguments {
  @Option(
    help: """
      fashion-mnist; a folder with the four files of the MNIST family, plain or .gz; one with the \
      binary version of CIFAR-10 or CIFAR-100; or a folder of JPEG and PNG files with a folder for \
      each class, or with such folders named train and val or test.
      """)
  var data: String
  @Option(help: "Image files that cannot be read: error, or skip, with a list at the end.")
  var unreadable = "error"
  @Option(
    parsing: .unconditional,
    help: """
      The part of the training images that is kept for validation, chosen by a hash of their names: 0.1 \
      for image files without a folder for validation, otherwise none; test images take the place then.
      """)
  var validation: Double?

  /// Reads data that belong in memory.
  static func load(_ data: String) throws -> ImageDataset {
    if data == "fashion-mnist" { return try FashionMNIST.load() }
    return try CIFARFolder.recognizes(data) ? CIFARFolder.load(data) : IDXFolder.load(data)
  }
}

/// Whether the engine runs batch norm folded into its neighbours.
struct FoldingOptions: ParsableArguments {
  @Flag(help: "Run batch norm as layers of its own instead of folding it into its neighbours.")
  var noFolding = false

  /// The model as the engine shall run it, and what became of its batch norm.
  func fold(_ model: Model) throws -> (model: Model, report: FoldBatchNormalization.Report) {
    let model = try MoveTransposes().apply(to: model)
    return noFolding
      ? (model, FoldBatchNormalization.Report())
      : try FoldBatchNormalization().fold(FoldConstants().apply(to: model))
  }
}

/// Whether convolutions are sums of products to the letter.
struct ExactnessOptions: ParsableArguments {
  @Flag(
    help: """
      Compute every convolution as the sum that defines it: 3×3 kernels not by Winograd's minimal \
      filtering, which is two to three times as fast and off by some 1e-6 of the largest result.
      """)
  var exact = false

  var planOptions: PlanOptions { PlanOptions(allowsWinograd: !exact) }
}

/// The network of a file that holds numbers only.
struct NetworkOptions: ParsableArguments {
  @Option(
    help: """
      For a checkpoint of PyTorch: the network it is of, \
      \(Network.allCases.map(\.rawValue).joined(separator: ", ")).
      """)
  var network: String?
  @Option(parsing: .unconditional, help: "The classes of that network, if not its own number.")
  var classes: Int?
  @Option(parsing: .unconditional, help: "The height and width of its images, if not its own.")
  var imageSize: Int?

  func validate() throws {
    guard network != nil || (classes == nil && imageSize == nil) else {
      throw ValidationError("--classes and --image-size belong to --network")
    }
  }

  /// Reads a model of any format.
  func load(_ path: String) throws -> Model {
    guard let network = try network.map(Network.named) else {
      return try ModelFormat.load(path)
    }
    let graph = try network.graph(classes: classes, size: imageSize)
    var model = try ModelFormat.load(path, into: graph)
    model.networkName = network.rawValue
    return model
  }

  /// What is said of a model that is given as an argument.
  static let modelHelp: ArgumentHelp =
    "A model that train --save wrote, an .onnx file, or with --network a checkpoint of PyTorch."
}

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String { ProgressBar.decimal(value, digits) }

/// A number with four significant digits, in scientific notation where it is very small or large.
func significant(_ value: Double) -> String {
  let capacity = 32
  var text = [CChar](repeating: 0, count: capacity)
  _ = withVaList([value]) { vsnprintf(&text, capacity, "%.4g", $0) }
  return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
