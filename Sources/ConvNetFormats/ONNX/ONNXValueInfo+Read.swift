extension ONNXValueInfo {
  init(_ reader: inout ProtobufReader) throws {
    self.init("", .unknown)
    do {
      while let field = try reader.next() {
        switch field.number {
        case 1: name = try reader.string(field)
        case 2: type = try reader.message(field) { try Self.type(&$0) }
        default: try reader.skip(field)
        }
      }
    } catch let error as FileError {
      throw error.inside("value \(FileError.quoted(name))")
    }
  }

  /// A TypeProto.
  private static func type(_ reader: inout ProtobufReader) throws -> ValueType {
    let others = [4: "sequence", 5: "map", 7: "opaque type", 8: "sparse tensor", 9: "optional"]
    var type = ValueType.unknown
    while let field = try reader.next() {
      if field.number == 1 {
        type = try reader.message(field) { try tensorType(&$0) }
      } else {
        if let name = others[field.number] { type = .unsupported(name) }
        try reader.skip(field)
      }
    }
    return type
  }

  private static func tensorType(_ reader: inout ProtobufReader) throws -> ValueType {
    var element: Int64 = 0
    var dimensions: [Dimension]?
    while let field = try reader.next() {
      switch field.number {
      case 1: element = try reader.int64(field)
      case 2: dimensions = try reader.message(field) { try shape(&$0) }
      default: try reader.skip(field)
      }
    }
    guard let type = Int(exactly: element).flatMap(ONNXDataType.init(rawValue:)) else {
      return .unsupported("tensor of elements of type \(element)")
    }
    return .tensor(type, dimensions)
  }

  private static func shape(_ reader: inout ProtobufReader) throws -> [Dimension] {
    var dimensions: [Dimension] = []
    while let field = try reader.next() {
      guard field.number == 1 else {
        try reader.skip(field)
        continue
      }
      dimensions.append(try reader.message(field) { try dimension(&$0) })
    }
    return dimensions
  }

  private static func dimension(_ reader: inout ProtobufReader) throws -> Dimension {
    var dimension = Dimension.unknown
    while let field = try reader.next() {
      switch field.number {
      case 1:
        let extent = try reader.int64(field)
        // Some writers mean by −1 that they do not know.
        dimension = extent < 0 ? .unknown : .fixed(Int(extent))
      case 2:
        let name = try reader.string(field)
        dimension = name.isEmpty ? .unknown : .symbol(name)
      default: try reader.skip(field)
      }
    }
    return dimension
  }
}
