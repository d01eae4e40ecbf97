public import ConvNetGraph

/// The kinds of file that a model is read from and written to.
public enum ModelFormat: String, Sendable, Hashable, CaseIterable {
  /// This package's own, see `ModelFile`.
  case saved = "convnet"
  /// A checkpoint of PyTorch, which lacks the network, see `PyTorchCheckpoint`.
  case pyTorch = "pytorch"
  /// The exchange format of many frameworks, see `ONNXFile`.
  case onnx

  /// What files of the format are called, with the dot; the first format of an ending is the one that is
  /// written where nothing else is said.
  public var fileExtension: String {
    switch self {
    case .saved, .pyTorch: ".safetensors"
    case .onnx: ".onnx"
    }
  }

  /// The format of a file that exists, by its contents.
  ///
  /// - Throws: `FileError` where it is none of these.
  public static func recognize(_ path: String) throws -> ModelFormat {
    // A safetensors file begins with the length of its header, less than 2³², in eight bytes, and
    // the header with a brace. Where a file is neither, its name says which reader is to complain.
    let file = try FileReader(path)
    let start = try file.bytes(count: min(9, file.size), at: 0)
    let isSafetensors =
      start.count == 9 && start[4..<8].allSatisfy { $0 == 0 } && start[8] == UInt8(ascii: "{")
    let isNamed = path.hasSuffix(Self.onnx.fileExtension)
    if !isSafetensors, isNamed || (try? ONNXModel.read(path)) != nil { return .onnx }
    return try ModelFile.isSavedModel(SafetensorsFile.open(path)) ? .saved : .pyTorch
  }

  /// The format of a file that is to be written, by the end of its name.
  ///
  /// - Throws: `FileError` listing the endings there are.
  public static func forWriting(_ path: String) throws -> ModelFormat {
    if let format = allCases.first(where: { path.hasSuffix($0.fileExtension) }) { return format }
    let known = allCases.map(\.fileExtension)
    let listed = known.indices.filter { !known[..<$0].contains(known[$0]) }.map { known[$0] }
    throw FileError(
      .unsupported,
      "the name of a model ends in \(listed.joined(separator: " or "))", at: path)
  }

  /// Reads a model of whatever format.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - graph: the network, for files that hold numbers only.
  /// - Throws: `FileError`, also where a network is needed and not given or given and not needed.
  public static func load(_ path: String, into graph: Graph? = nil) throws -> Model {
    let format = try recognize(path)
    switch (format, graph) {
    case (.pyTorch, let graph?): return try PyTorchCheckpoint.load(path, into: graph)
    case (.saved, nil): return try ModelFile.load(path)
    case (.onnx, nil): return try ONNXFile.load(path)
    case (_, nil):
      throw FileError(
        .mismatched,
        "the file holds tensors and no saved model, it lacks the graph: which network is it of?",
        at: path)
    case (_, _?):
      throw FileError(
        .mismatched, "the file holds its own network and cannot be put into another", at: path)
    }
  }

  /// Writes a model in this format, atomically.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public func save(_ model: Model, to path: String) throws {
    switch self {
    case .saved: try ModelFile.save(model, to: path)
    case .pyTorch: try PyTorchCheckpoint.save(model, to: path)
    case .onnx: try ONNXFile.save(model, to: path)
    }
  }
}
