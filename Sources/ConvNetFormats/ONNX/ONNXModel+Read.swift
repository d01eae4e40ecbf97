extension ONNXModel {
  /// Reads a model's file; of tensors only what they are and where their data lie.
  ///
  /// - Throws: `FileError`, naming the node or tensor, for everything that contradicts the format:
  ///   lengths, types, data of another size than their shapes ask for, initialisers of one name.
  package static func read(_ path: String) throws -> ONNXModel {
    var reader = ProtobufReader(try FileReader(path))
    return try ONNXModel(&reader)
  }

  private init(_ reader: inout ProtobufReader) throws {
    self.init()
    path = reader.file.path
    var graph: ONNXGraph?
    while let field = try reader.next() {
      switch field.number {
      case 1: irVersion = try reader.int64(field)
      case 2: producerName = try reader.string(field)
      case 3: producerVersion = try reader.string(field)
      case 7:
        guard graph == nil else { throw reader.failure("there is a second graph") }
        graph = try reader.message(field) { try ONNXGraph(&$0) }
      case 8: try reader.message(field) { try addOpset(&$0) }
      case 14:
        let (key, value) = try reader.message(field) { try $0.pair() }
        metadata[key] = value
      case 25: functions.append(try reader.message(field) { try Self.functionName(&$0) })
      default: try reader.skip(field)
      }
    }
    guard let graph else {
      throw FileError(.mismatched, "this is not an ONNX model, it has no graph", at: path)
    }
    guard !opsetImports.isEmpty else {
      throw FileError(.malformed, "the model does not say which operator set it uses", at: path)
    }
    self.graph = graph
  }

  private mutating func addOpset(_ reader: inout ProtobufReader) throws {
    var domain = ""
    var version: Int64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: domain = try reader.string(field)
      case 2: version = try reader.int64(field)
      default: try reader.skip(field)
      }
    }
    if domain == "ai.onnx" { domain = "" }
    if let other = opsetImports.updateValue(version, forKey: domain), other != version {
      throw reader.failure(
        "the operator set \(FileError.quoted(domain)) is imported in versions \(other) and "
          + "\(version)")
    }
  }

  private static func functionName(_ reader: inout ProtobufReader) throws -> String {
    var (domain, name) = ("", "")
    while let field = try reader.next() {
      switch field.number {
      case 1: name = try reader.string(field)
      case 10: domain = try reader.string(field)
      default: try reader.skip(field)
      }
    }
    return "\(domain).\(name)"
  }
}

extension ProtobufReader {
  /// A StringStringEntryProto.
  mutating func pair() throws -> (key: String, value: String) {
    var (key, value) = ("", "")
    while let field = try next() {
      switch field.number {
      case 1: key = try string(field)
      case 2: value = try string(field)
      default: try skip(field)
      }
    }
    return (key, value)
  }
}

extension FileError {
  /// The same error with a place before its own.
  func inside(_ outer: String) -> FileError {
    var error = self
    error.place = place.isEmpty ? outer : "\(outer), \(place)"
    return error
  }
}

extension ONNXGraph {
  fileprivate init(_ reader: inout ProtobufReader) throws {
    self.init()
    var names: Set<String> = []
    while let field = try reader.next() {
      switch field.number {
      case 1: nodes.append(try reader.message(field) { try ONNXNode(&$0) })
      case 2: name = try reader.string(field)
      case 5:
        let tensor = try reader.message(field) { try ONNXTensor(&$0) }
        guard names.insert(tensor.name).inserted else {
          throw reader.failure("the initialiser \(FileError.quoted(tensor.name)) is given twice")
        }
        initializers.append(tensor)
      case 11: inputs.append(try reader.message(field) { try ONNXValueInfo(&$0) })
      case 12: outputs.append(try reader.message(field) { try ONNXValueInfo(&$0) })
      case 13: valueInfos.append(try reader.message(field) { try ONNXValueInfo(&$0) })
      case 15: sparseInitializers.append(try reader.message(field) { try Self.sparseName(&$0) })
      default: try reader.skip(field)
      }
    }
  }

  /// The name of a SparseTensorProto is that of its values.
  private static func sparseName(_ reader: inout ProtobufReader) throws -> String {
    var name = ""
    while let field = try reader.next() {
      if field.number == 1 {
        name = try reader.message(field) { try ONNXTensor(&$0) }.name
      } else {
        try reader.skip(field)
      }
    }
    return name
  }
}

extension ONNXNode {
  fileprivate init(_ reader: inout ProtobufReader) throws {
    self.init()
    do {
      while let field = try reader.next() {
        switch field.number {
        case 1: inputs.append(try reader.string(field))
        case 2: outputs.append(try reader.string(field))
        case 3: name = try reader.string(field)
        case 4: opType = try reader.string(field)
        case 5: attributes.append(try reader.message(field) { try ONNXAttribute(&$0) })
        case 7: domain = try reader.string(field)
        default: try reader.skip(field)
        }
      }
      if domain == "ai.onnx" { domain = "" }
      var names: Set<String> = []
      if let twice = attributes.first(where: { !names.insert($0.name).inserted })?.name {
        throw reader.failure("the attribute \(FileError.quoted(twice)) is given twice")
      }
    } catch let error as FileError {
      throw error.inside(place)
    }
  }
}

extension ONNXAttribute {
  /// The schema's numbers for the kinds, by the number of the field that holds the value.
  private static let types: [Int: Int64] = [
    2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 11: 10, 22: 11, 23: 12, 14: 13, 15: 14,
  ]
  /// The names of the kinds that are not read.
  private static let unread: [Int64: String] = [
    9: "a list of tensors", 10: "a list of graphs", 11: "a sparse tensor",
    12: "a list of sparse tensors", 13: "a type", 14: "a list of types",
  ]

  /// What an AttributeProto holds so far.
  private struct Parts {
    var type: Int64 = 0
    /// The type that belongs to the fields with values.
    var found: Int64 = 0
    var single: Value?
    var ints: [Int64] = []
    var floats: [Float] = []
    var strings: [String] = []
    var isReference = false

    mutating func take(_ field: ProtobufReader.Field, _ reader: inout ProtobufReader) throws {
      guard let kind = ONNXAttribute.types[field.number] else { return try reader.skip(field) }
      guard found == 0 || found == kind else { throw reader.failure("there are two values") }
      found = kind
      switch field.number {
      case 2: single = .float(try reader.float(field))
      case 3: single = .int(try reader.int64(field))
      case 4: single = .string(String(decoding: try reader.bytes(field), as: UTF8.self))
      case 5: single = .tensor(try reader.message(field) { try ONNXTensor(&$0) })
      case 6: single = .graph(try reader.message(field) { try ONNXGraph(&$0) })
      case 7: try reader.floats(field, into: &floats)
      case 8: try reader.int64s(field, into: &ints)
      case 9: strings.append(String(decoding: try reader.bytes(field), as: UTF8.self))
      default: try reader.skip(field)
      }
    }

    /// The value; nil where there is none.
    ///
    /// Writers may leave out zeros and empty lists.
    func value() -> Value? {
      if isReference { return .unsupported("a reference to an attribute of a function") }
      let kind = found == 0 ? type : found
      if let name = ONNXAttribute.unread[kind] { return .unsupported(name) }
      return switch kind {
      case 1: single ?? .float(0)
      case 2: single ?? .int(0)
      case 3: single ?? .string("")
      case 6: .floats(floats)
      case 7: .ints(ints)
      case 8: .strings(strings)
      default: single
      }
    }
  }

  fileprivate init(_ reader: inout ProtobufReader) throws {
    self.init("", .ints([]))
    do {
      var parts = Parts()
      while let field = try reader.next() {
        switch field.number {
        case 1: name = try reader.string(field)
        case 20: parts.type = try reader.int64(field)
        case 21: parts.isReference = try !reader.string(field).isEmpty
        default: try parts.take(field, &reader)
        }
      }
      // Files before IR version 2 give no type.
      guard parts.found == 0 || parts.type == 0 || parts.found == parts.type else {
        throw reader.failure("the type is \(parts.type) and the value of type \(parts.found)")
      }
      guard let value = parts.value() else { throw reader.failure("there is no value") }
      self.value = value
    } catch let error as FileError {
      throw error.inside("attribute \(FileError.quoted(name))")
    }
  }
}
