package import ConvNetGraph

/// All that a training has to remember, as one safetensors file: the model under `model/`, the average of
/// its weights under `average/`, other tensors such as the optimiser's moments under the names they are
/// given, the graph and a record of where the training stands as JSON among the metadata.
///
/// The last tensor, four bytes named `checksum`, is the CRC-32 of all bytes before it.
package struct CheckpointFile: Sendable {
  /// The model as the last step left it.
  package var model: Model
  /// The average of weights and running statistics, where one is kept.
  package var average: Model?
  /// What else is remembered, by names that begin neither with `model/` nor with `average/`; no elements
  /// of single bytes.
  package var tensors: [String: Tensor]
  /// Where the training stands, as JSON.
  package var record: String

  private static let format = "convnet-checkpoint"
  private static let version = "1"
  private static let checksumName = "checksum"
  private static let (modelPrefix, averagePrefix) = ("model/", "average/")

  package init(model: Model, average: Model?, tensors: [String: Tensor], record: String) {
    self.model = model
    self.average = average
    self.tensors = tensors
    self.record = record
  }

  /// The model that validation measures: the average where there is one.
  package var measuredModel: Model { average ?? model }

  // MARK: Writing

  /// Writes the checkpoint, atomically.
  ///
  /// - Throws: `FileError`; the previous file of this name is intact then.
  package func write(to path: String) throws {
    var metadata = [
      "format": Self.format, "version": Self.version, "record": record,
      "graph": try ModelFile.encode(model.graph, path: path),
    ]
    for (key, value) in model.metadata { metadata[ModelFile.prefix + key] = value }
    var tensors = tensors
    for (model, prefix) in [(model, Self.modelPrefix), (average, Self.averagePrefix)] {
      guard let model else { continue }
      for values in [model.parameters, model.state] {
        for (name, value) in values { tensors[prefix + name] = value }
      }
    }
    tensors[Self.checksumName] = Tensor([0, 0, 0, 0] as [UInt8])
    let (header, names) = try SafetensorsHeader.bytes(
      for: tensors.mapValues(SafetensorsFile.Content.init), metadata: metadata, path: path)
    // Wide elements come first in such a file, and all others have at least four bytes.
    guard names.last == Self.checksumName else {
      fatalError("A checkpoint holds a tensor of single bytes, \(names.last ?? "").")
    }
    var checksum = Checksum()
    try AtomicFile.write(to: path) { file in
      try file.append(header)
      checksum.add(header)
      for case let tensor? in names.dropLast().map({ tensors[$0] }) {
        try unsafe tensor.withBytes { try unsafe file.append($0) }
        checksum.add(tensor)
      }
      try file.append(checksum.bytes)
    }
  }

  // MARK: Reading

  /// Whether a file says that it holds a checkpoint.
  static func isCheckpoint(_ file: SafetensorsFile) -> Bool { file.metadata["format"] == format }

  /// Reads a checkpoint.
  ///
  /// - Parameter verifies: whether the checksum is compared; only what looks for mistakes of the reader
  ///   does without.
  /// - Throws: `FileError`: `.mismatched` where this is another file, `.unsupported` where a later
  ///   version of the package wrote it, anything else where it is damaged.
  package static func read(_ path: String, verifies: Bool = true) throws -> CheckpointFile {
    try read(SafetensorsFile.open(path), verifies: verifies)
  }

  static func read(_ file: SafetensorsFile, verifies: Bool = true) throws -> CheckpointFile {
    let path = file.path
    guard isCheckpoint(file), let graphText = file.metadata["graph"],
      let record = file.metadata["record"]
    else {
      throw FileError(.mismatched, "the file is no checkpoint of a training", at: path)
    }
    guard file.metadata["version"] == version else {
      throw FileError(
        .unsupported, "the checkpoint is of another version of this package", at: path)
    }
    try check(file, compares: verifies)
    let graph = try ModelFile.decode(graphText, path: path)
    let metadata = ModelFile.metadata(of: file)
    var (model, average, tensors) = (
      [String: Tensor](), [String: Tensor](), [String: Tensor]()
    )
    for entry in file.entries where entry.name != checksumName {
      let tensor = try file.read(entry.name)
      if entry.name.hasPrefix(modelPrefix) {
        model[String(entry.name.dropFirst(modelPrefix.count))] = tensor
      } else if entry.name.hasPrefix(averagePrefix) {
        average[String(entry.name.dropFirst(averagePrefix.count))] = tensor
      } else {
        tensors[entry.name] = tensor
      }
    }
    let states = Set(graph.states.map(\.name))
    func made(_ tensors: [String: Tensor]) throws -> Model {
      do {
        return try Model(
          graph: graph, parameters: tensors.filter { !states.contains($0.key) },
          state: tensors.filter { states.contains($0.key) }, metadata: metadata)
      } catch {
        throw FileError(.malformed, "\(error)", at: path)
      }
    }
    return CheckpointFile(
      model: try made(model), average: average.isEmpty ? nil : try made(average),
      tensors: tensors, record: record)
  }

  /// Compares the bytes with their checksum.
  private static func check(_ file: SafetensorsFile, compares: Bool) throws {
    guard let last = file.entries.last, last.name == checksumName, last.storedType == .uint8,
      last.shape == [4]
    else {
      throw FileError(.malformed, "the checkpoint does not end in its checksum", at: file.path)
    }
    guard compares else { return }
    var checksum = Checksum()
    let end = file.file.size - 4
    try checksum.add(file.file, count: end)
    guard try file.file.bytes(count: 4, at: end) == checksum.bytes else {
      throw FileError(
        .malformed, "the checkpoint is damaged: its bytes do not have their checksum",
        at: file.path)
    }
  }
}
