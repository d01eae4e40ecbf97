import ConvNetGraph

extension ONNXModel {
  /// The longest message that readers of protobuf take.
  package static let messageLimit = Int(Int32.max)

  /// Writes the model, atomically; the same model always gives the same bytes.
  ///
  /// Where the file would pass 2 GiB, which protobuf does not allow, tensors go into a second file
  /// beside it, with ".data" after its name. The graph comes last in the file, so that a shortened
  /// one is never taken for a whole one.
  ///
  /// - Parameter limit: The longest file that holds its own tensors.
  /// - Throws: `FileError`; the previous files are intact then.
  package func write(to path: String, limit: Int = ONNXModel.messageLimit) throws {
    let inline = try message(ONNXEncoder(path: path))
    if inline.count <= limit {
      return try AtomicFile.write(to: path) { try inline.write(to: $0) }
    }
    let name = path.split(separator: "/").last.map(String.init) ?? path
    let encoder = ONNXEncoder(path: path, dataFile: "\(name).data")
    let message = try message(encoder)
    guard message.count <= Self.messageLimit else {
      throw FileError(
        .unsupported, "a graph of \(message.count) bytes is more than ONNX allows", at: path)
    }
    // The model is in place last but one and the data last: both are complete on the disk before.
    try AtomicFile.write(to: path + ".data") { data in
      try encoder.writeData(to: data)
      try AtomicFile.write(to: path) { try message.write(to: $0) }
    }
  }

  private func message(_ encoder: ONNXEncoder) throws -> ProtobufWriter {
    guard functions.isEmpty else {
      throw FileError(.unsupported, "models with functions are not written", at: encoder.path)
    }
    var writer = ProtobufWriter()
    writer.int64(1, irVersion)
    if !producerName.isEmpty { writer.string(2, producerName) }
    if !producerVersion.isEmpty { writer.string(3, producerVersion) }
    for (domain, version) in opsetImports.sorted(by: { Self.precedes($0.key, $1.key) }) {
      writer.message(8) {
        $0.string(1, domain)
        $0.int64(2, version)
      }
    }
    for (key, value) in metadata.sorted(by: { Self.precedes($0.key, $1.key) }) {
      writer.message(14) {
        $0.string(1, key)
        $0.string(2, value)
      }
    }
    writer.message(7, try encoder.graph(graph))
    return writer
  }

  /// The order of bytes, which no locale and no Unicode version changes.
  private static func precedes(_ a: String, _ b: String) -> Bool {
    a.utf8.lexicographicallyPrecedes(b.utf8)
  }
}

/// Makes messages of ONNX structures, and says where tensors in a file of their own go.
final class ONNXEncoder {
  /// Smaller tensors stay in the model's file.
  private static let externalSize = 1024
  /// Where an external tensor may begin: a page, so that others can map it.
  private static let alignment = 4096

  let path: String
  private let dataFile: String?
  private var external: [(tensor: ONNXTensor, offset: Int)] = []
  private var end = 0

  init(path: String, dataFile: String? = nil) {
    self.path = path
    self.dataFile = dataFile
  }

  func graph(_ graph: ONNXGraph) throws -> ProtobufWriter {
    guard graph.sparseInitializers.isEmpty else {
      throw FileError(.unsupported, "sparse initialisers are not written", at: path)
    }
    var writer = ProtobufWriter()
    for node in graph.nodes { writer.message(1, try self.node(node)) }
    writer.string(2, graph.name)
    for tensor in graph.initializers {
      writer.message(5, try self.tensor(tensor, mayBeExternal: true))
    }
    for info in graph.inputs { writer.message(11, try value(info)) }
    for info in graph.outputs { writer.message(12, try value(info)) }
    for info in graph.valueInfos { writer.message(13, try value(info)) }
    return writer
  }

  private func node(_ node: ONNXNode) throws -> ProtobufWriter {
    var writer = ProtobufWriter()
    for input in node.inputs { writer.string(1, input) }
    for output in node.outputs { writer.string(2, output) }
    if !node.name.isEmpty { writer.string(3, node.name) }
    writer.string(4, node.opType)
    do {
      for attribute in node.attributes { writer.message(5, try self.attribute(attribute)) }
    } catch let error as FileError {
      throw error.inside(node.place)
    }
    if !node.domain.isEmpty { writer.string(7, node.domain) }
    return writer
  }

  private func attribute(_ attribute: ONNXAttribute) throws -> ProtobufWriter {
    var writer = ProtobufWriter()
    writer.string(1, attribute.name)
    let type: Int64
    switch attribute.value {
    case .float(let value):
      writer.float(2, value)
      type = 1
    case .int(let value):
      writer.int64(3, value)
      type = 2
    case .string(let value):
      writer.string(4, value)
      type = 3
    case .tensor(let value):
      writer.message(5, try tensor(value))
      type = 4
    case .graph(let value):
      writer.message(6, try graph(value))
      type = 5
    case .floats(let values):
      for value in values { writer.float(7, value) }
      type = 6
    case .ints(let values):
      for value in values { writer.int64(8, value) }
      type = 7
    case .strings(let values):
      for value in values { writer.string(9, value) }
      type = 8
    case .unsupported(let kind):
      throw FileError(
        .unsupported, "\(kind) is not written", at: path,
        place: "attribute \(FileError.quoted(attribute.name))")
    }
    writer.int64(20, type)
    return writer
  }

  private func value(_ info: ONNXValueInfo) throws -> ProtobufWriter {
    var writer = ProtobufWriter()
    writer.string(1, info.name)
    switch info.type {
    case .unknown: break
    case .unsupported(let kind):
      throw FileError(
        .unsupported, "the type \(kind) is not written", at: path,
        place: "value \(FileError.quoted(info.name))")
    case .tensor(let type, let dimensions):
      writer.message(2) {
        $0.message(1) {
          $0.int64(1, Int64(type.rawValue))
          if let dimensions { $0.message(2) { Self.shape(dimensions, &$0) } }
        }
      }
    }
    return writer
  }

  private static func shape(
    _ dimensions: [ONNXValueInfo.Dimension], _ writer: inout ProtobufWriter
  ) {
    for dimension in dimensions {
      writer.message(1) {
        switch dimension {
        case .fixed(let extent): $0.int64(1, Int64(extent))
        case .symbol(let name): $0.string(2, name)
        case .unknown: break
        }
      }
    }
  }

  // MARK: Tensors

  func tensor(_ tensor: ONNXTensor, mayBeExternal: Bool = false) throws -> ProtobufWriter {
    let length = try tensor.storedByteCount(writing: path)
    var writer = ProtobufWriter()
    for extent in tensor.shape.dimensions { writer.int64(1, Int64(extent)) }
    writer.int64(2, Int64(tensor.dataType.rawValue))
    if !tensor.name.isEmpty { writer.string(8, tensor.name) }
    guard let dataFile, mayBeExternal, length >= Self.externalSize else {
      writer.stream(9, count: length) { try tensor.writeData(to: $0) }
      return writer
    }
    let offset = (end + Self.alignment - 1) / Self.alignment * Self.alignment
    for (key, value) in [
      ("location", dataFile), ("offset", String(offset)), ("length", String(length)),
    ] {
      writer.message(13) {
        $0.string(1, key)
        $0.string(2, value)
      }
    }
    writer.int64(14, 1)
    external.append((tensor, offset))
    end = offset + length
    return writer
  }

  /// Writes the tensors that have a file of their own.
  func writeData(to file: borrowing AtomicFile) throws {
    var position = 0
    for (tensor, offset) in external {
      try file.append([UInt8](repeating: 0, count: offset - position))
      try tensor.writeData(to: file)
      position = offset + (try tensor.storedByteCount(writing: path))
    }
  }
}

extension ONNXTensor {
  /// Bytes that the elements take in a file; refuses tensors that cannot be written.
  fileprivate func storedByteCount(writing target: String) throws -> Int {
    if case .encoded = contents, elementType.map(ONNXDataType.init) != dataType {
      throw FileError(
        .unsupported, "elements of type \(dataType) in a typed field are not written", at: target,
        place: place)
    }
    guard let width = dataType.byteCount else {
      throw FileError(
        .unsupported, "elements of type \(dataType) are not written", at: target, place: place)
    }
    return shape.count * width
  }

  /// Writes the elements as `raw_data` has them.
  fileprivate func writeData(to file: borrowing AtomicFile) throws {
    switch contents {
    case .dense(let source, let range): try Self.copy(source, range, to: file)
    case .external(let data): try Self.copy(try data.open(), data.range, to: file)
    case .memory(let tensor, let axes):
      // Where axis i of the file is axis axes[i] of the tensor, the other way round it is the inverse.
      var inverse = axes
      for (index, axis) in (axes ?? []).enumerated() { inverse?[axis] = index }
      let type = StoredType(tensor.elementType)
      try StoredArray(type, shape, permutation: inverse).write(tensor, to: file)
    case .produced(let make):
      try unsafe produce(make).withBytes { try unsafe file.append($0) }
    case .encoded, .unsupported:
      try unsafe read().withBytes { try unsafe file.append($0) }
    }
  }

  private static func copy(
    _ source: FileReader, _ range: Range<Int>, to file: borrowing AtomicFile
  ) throws {
    let block = 1 << 20
    for start in stride(from: range.lowerBound, to: range.upperBound, by: block) {
      let count = min(block, range.upperBound - start)
      try file.append(try source.bytes(count: count, at: start))
    }
  }
}
