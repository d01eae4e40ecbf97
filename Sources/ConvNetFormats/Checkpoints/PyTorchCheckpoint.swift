public import ConvNetGraph

/// Checkpoints of PyTorch in the safetensors format: a module's `state_dict`, without the network.
///
///     let graph = try Network.resnet18.graph()
///     let model = try PyTorchCheckpoint.load("resnet18.safetensors", into: graph)
///
/// The built-in networks have the names of torchvision's; a network described in Swift needs those that
/// the checkpoint has. Layouts are translated on the way: filters `[filters, channels/groups, kernel…]`,
/// dense weights `[out, in]`, and rows of a dense layer behind `flatten()`, which are channels first
/// there. Float16 and bfloat16 become float32.
///
/// - `num_batches_tracked` may be absent, an integer or a whole float, of shape `[]` or `[1]`.
/// - A prefix `module.`, `model.` or `state_dict.` that all tensors share is left out, repeatedly, and
///   `norm.1` of old DenseNets is `norm1`. Other namings, such as timm's, are not translated.
public enum PyTorchCheckpoint {
  /// Puts the numbers of a checkpoint into a network.
  ///
  /// - Throws: `FileError` naming everything that is missing, unexpected or of another shape.
  public static func load(_ path: String, into graph: Graph) throws -> Model {
    try load(
      path, into: graph, except: [], parameters: [:], state: Model.initialState(of: graph),
      metadata: [:])
  }

  /// Puts the numbers of a checkpoint into a model, leaving parts of it as they are: for fine-tuning, a
  /// head with another number of classes.
  ///
  ///     let model = try Model(initializing: Network.resnet18.graph(classes: 10), seed: 1)
  ///     try PyTorchCheckpoint.load("resnet18.safetensors", into: model, except: ["fc."])
  ///
  /// - Parameters:
  ///   - path: the checkpoint.
  ///   - model: the network, its numbers and metadata.
  ///   - prefixes: what begins with one of them is neither looked for in the checkpoint nor taken from it.
  /// - Throws: `FileError` naming everything that is missing, unexpected or of another shape;
  ///   `GraphError` where nothing in the network begins with a prefix.
  public static func load(
    _ path: String, into model: Model, except prefixes: [String] = []
  ) throws -> Model {
    try load(
      path, into: model.graph, except: prefixes, parameters: model.parameters, state: model.state,
      metadata: model.metadata)
  }

  /// Writes a model's parameters and state with the names and in the layouts of PyTorch, atomically.
  ///
  /// `load_state_dict` of a module with the same names takes them strictly, and every bit comes back. The
  /// network itself, its switches and its metadata are not part of such a file, see `ModelFile`.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func save(_ model: Model, to path: String) throws {
    var contents: [String: SafetensorsFile.Content] = [:]
    for entry in PyTorchLayout(model.graph).entries {
      guard let tensor = entry.isState ? model.state[entry.name] : model.parameters[entry.name]
      else { continue }
      contents[entry.name] = SafetensorsFile.Content(
        try tensor.reshaped(to: entry.array.tensorShape), shape: entry.shape, array: entry.array)
    }
    try SafetensorsFile.write(contents, metadata: ["format": "pt"], to: path)
  }

  private static func load(
    _ path: String, into graph: Graph, except prefixes: [String], parameters: [String: Tensor],
    state: [String: Tensor], metadata: [String: String]
  ) throws -> Model {
    var (parameters, state) = (parameters, state)
    let layout = PyTorchLayout(graph)
    for prefix in prefixes where !layout.entries.contains(where: { $0.name.hasPrefix(prefix) }) {
      throw GraphError(
        .malformedGraph, "no parameter has a name of this prefix, nothing to leave out", at: prefix)
    }
    let file = try SafetensorsFile.open(path)
    let match = try CheckpointMatch(file, layout, except: prefixes)
    for (entry, found) in match.pairs {
      let tensor =
        if entry.isCounter {
          Tensor(
            scalar: try CheckpointMatch.count(file.read(found, as: found.shape), found, in: path))
        } else {
          try file.read(found, as: entry.array.shape, permutation: entry.array.permutation)
            .reshaped(to: entry.modelShape)
        }
      if entry.isState { state[entry.name] = tensor } else { parameters[entry.name] = tensor }
    }
    return try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
  }
}
