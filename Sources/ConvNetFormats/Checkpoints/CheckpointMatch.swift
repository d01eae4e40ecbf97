import ConvNetGraph

/// The tensors of a checkpoint beside what a network asks for.
struct CheckpointMatch {
  /// Prefixes that wrappers and savers of modules put before every name.
  private static let wrappers = ["module.", "model.", "state_dict."]
  /// How many tensors of each kind of trouble a message names.
  private static let limit = 8

  /// What is wanted with what was found.
  private(set) var pairs: [(entry: PyTorchLayout.Entry, found: SafetensorsFile.Entry)] = []

  /// - Throws: `FileError` listing all that does not fit.
  init(_ file: SafetensorsFile, _ layout: PyTorchLayout, except prefixes: [String]) throws {
    func isLeftOut(_ name: String) -> Bool { prefixes.contains { name.hasPrefix($0) } }
    let wanted = layout.entries.filter { !isLeftOut($0.name) }
    let known = Set(layout.entries.map(\.name))
    var found: [String: SafetensorsFile.Entry] = [:]
    var unexpected: [String] = []
    for (name, entry) in Self.names(of: file.entries, known) {
      if isLeftOut(name) { continue }
      if known.contains(name) {
        found[name] = entry
      } else {
        unexpected.append("\(FileError.quoted(entry.name)) \(Self.description(of: entry))")
      }
    }
    var (missing, misshapen): ([String], [String]) = ([], [])
    for entry in wanted {
      guard let tensor = found[entry.name] else {
        if !entry.isCounter { missing.append("\(entry.name) \(entry.shape)") }
        continue
      }
      if Self.fits(tensor, entry) {
        pairs.append((entry, tensor))
      } else {
        misshapen.append(Self.misfit(tensor, entry))
      }
    }
    let problems = [
      Self.list(misshapen, "of another shape"), Self.list(missing, "missing"),
      Self.list(unexpected.sorted(), "unexpected"),
    ].compactMap(\.self)
    guard problems.isEmpty else {
      throw FileError(
        .mismatched, "does not fit the network; " + problems.joined(separator: "; "), at: file.path)
    }
  }

  /// The names without prefixes that all of them share and the network has none of, and with those parts
  /// joined that old DenseNets have apart.
  private static func names(
    of entries: [SafetensorsFile.Entry], _ known: Set<String>
  ) -> [(name: String, entry: SafetensorsFile.Entry)] {
    var names = entries.map { Substring($0.name) }
    while let prefix = wrappers.first(where: { prefix in
      names.allSatisfy { $0.hasPrefix(prefix) }
        && !known.contains(where: { $0.hasPrefix(prefix) })
    }), !names.isEmpty {
      names = names.map { $0.dropFirst(prefix.count) }
    }
    let present = Set(names.map(String.init))
    return zip(names, entries).map { name, entry in
      let name = String(name)
      let joined = name.replacing("norm.", with: "norm").replacing("conv.", with: "conv")
      let isOld =
        !known.contains(name) && known.contains(joined)
        && !present.contains(joined)
      return (isOld ? joined : name, entry)
    }
  }

  private static func fits(_ tensor: SafetensorsFile.Entry, _ entry: PyTorchLayout.Entry) -> Bool {
    entry.isCounter
      ? tensor.storedType.elementType != nil && tensor.storedType != .bool
        && tensor.shape.rank <= 1 && tensor.shape.count == 1
      : tensor.storedType.elementType == entry.type.elementType && tensor.shape == entry.shape
  }

  /// What is there and what should be, in the layout of the file and, where that differs, of the network.
  private static func misfit(
    _ tensor: SafetensorsFile.Entry, _ entry: PyTorchLayout.Entry
  ) -> String {
    let type = entry.isCounter ? StoredType.int64 : StoredType(entry.type.elementType)
    let here = entry.modelShape == entry.shape ? "" : ", here \(entry.modelShape)"
    return "\(entry.name) is \(description(of: tensor)), not \(type.rawValue) \(entry.shape)\(here)"
  }

  private static func description(of entry: SafetensorsFile.Entry) -> String {
    "\(entry.storedType.rawValue) \(entry.shape)"
  }

  /// For example `2 are missing: fc.weight [10, 512], fc.bias [10]`.
  private static func list(_ names: [String], _ what: String) -> String? {
    guard !names.isEmpty else { return nil }
    let shown = names.prefix(limit).joined(separator: ", ")
    let rest = names.count > limit ? " and \(names.count - limit) more" : ""
    return "\(names.count) \(names.count == 1 ? "is" : "are") \(what): \(shown)\(rest)"
  }

  /// The updates that a tensor of one number counts.
  ///
  /// - Throws: `FileError` where it is negative, no whole number or too large.
  static func count(
    _ tensor: Tensor, _ entry: SafetensorsFile.Entry, in path: String
  ) throws -> Int64 {
    let count =
      tensor.elementType == .int64
      ? tensor.elements(of: Int64.self).first : tensor.doubles.first.flatMap(Int64.init(exactly:))
    guard let count, count >= 0 else {
      throw FileError(
        .malformed, "\(tensor.doubles.first ?? .nan) is no number of batches", at: path,
        place: FileError.quoted(entry.name))
    }
    return count
  }
}
