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

  fileprivate init(_ reader: inout ProtobufReader) throws {
    self.init("", .ints([]))
    do {
      var type: Int64 = 0
      var value: Value?
      var holds: Int64 = 0
      while let field = try reader.next() {
        switch field.number {
        case 1: name = try reader.string(field)
        case 20: type = try reader.int64(field)
        case 21:
          try reader.skip(field)
          value = .unsupported("a reference to an attribute of a function")
        case let number where Self.types[number] != nil:
          let kind = Self.types[number] ?? 0
          guard holds == 0 || holds == kind else {
            throw reader.failure("there are values of two kinds")
          }
          holds = kind
          value = try Self.value(&reader, field, after: value)
        default: try reader.skip(field)
        }
      }
      // Files before IR version 2 give no type.
      guard holds == 0 || type == 0 || holds == type else {
        throw reader.failure("the type is \(type) and the value of type \(holds)")
      }
      guard let value = value ?? Self.empty(type) else {
        throw reader.failure("there is no value")
      }
      self.value = value
    } catch let error as FileError {
      throw error.inside("attribute \(FileError.quoted(name))")
    }
  }

  /// The value of an attribute of a kind of which the file holds none: what a writer may leave out.
  private static func empty(_ type: Int64) -> Value? {
    switch type {
    case 1: .float(0)
    case 2: .int(0)
    case 3: .string("")
    case 6: .floats([])
    case 7: .ints([])
    case 8: .strings([])
    case 9, 10, 12, 14: .unsupported("a list that is not read")
    default: nil
    }
  }

  /// The value with that of one more field.
  private static func value(
    _ reader: inout ProtobufReader, _ field: ProtobufReader.Field, after value: consuming Value?
  ) throws -> Value {
    switch field.number {
    case 2: return .float(try reader.float(field))
    case 3: return .int(try reader.int64(field))
    case 4: return .string(String(decoding: try reader.bytes(field), as: UTF8.self))
    case 5: return .tensor(try reader.message(field) { try ONNXTensor(&$0) })
    case 6: return .graph(try reader.message(field) { try ONNXGraph(&$0) })
    case 7:
      var floats: [Float] = []
      if case .floats(let before) = value { floats = before }
      value = nil
      try reader.floats(field, into: &floats)
      return .floats(floats)
    case 8:
      var ints: [Int64] = []
      if case .ints(let before) = value { ints = before }
      value = nil
      try reader.int64s(field, into: &ints)
      return .ints(ints)
    case 9:
      var strings: [String] = []
      if case .strings(let before) = value { strings = before }
      value = nil
      strings.append(String(decoding: try reader.bytes(field), as: UTF8.self))
      return .strings(strings)
    default:
      try reader.skip(field)
      let names = [
        10: "a list of tensors", 11: "a list of graphs", 22: "a sparse tensor",
        23: "a list of sparse tensors", 14: "a type", 15: "a list of types",
      ]
      return .unsupported(names[field.number] ?? "a value of an unknown kind")
    }
  }
}
