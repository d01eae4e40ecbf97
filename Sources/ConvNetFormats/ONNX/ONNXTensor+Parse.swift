import ConvNetGraph

extension ONNXTensor {
  /// Reads a TensorProto, all but its data, the size of which is checked.
  init(_ reader: inout ProtobufReader) throws {
    var parts = Parts(message: reader.position..<reader.end)
    do {
      while let field = try reader.next() { try parts.take(field, &reader) }
      self = try parts.tensor(of: reader.file)
    } catch let error as FileError {
      throw parts.name.isEmpty ? error : error.inside("tensor \(FileError.quoted(parts.name))")
    }
  }

  /// What the fields of a TensorProto say.
  private struct Parts {
    let message: Range<Int>
    var name = ""
    var dimensions: [Int64] = []
    var dataType: Int64 = 0
    var isExternal = false
    var external: [String: String] = [:]
    /// The field that holds data; there may be one only.
    var dataField: Int?
    /// The number of elements in typed fields.
    var count = 0
    /// The bytes where they lie together.
    var dense: Range<Int>?

    init(message: Range<Int>) { self.message = message }

    mutating func take(_ field: ProtobufReader.Field, _ reader: inout ProtobufReader) throws {
      switch field.number {
      case Field.dims:
        try reader.int64s(field, into: &dimensions)
        guard dimensions.count <= 64 else { throw reader.failure("there are over 64 dimensions") }
      case Field.dataType: dataType = try reader.int64(field)
      case Field.name: name = try reader.string(field)
      case Field.segment: throw reader.failure("tensors in segments are not read", .unsupported)
      case Field.externalData:
        let (key, value) = try reader.message(field) { try $0.pair() }
        external[key] = value
      case Field.dataLocation: isExternal = try reader.int64(field) == 1
      case Field.rawData, Field.floatData, Field.doubleData, Field.int32Data, Field.int64Data,
        Field.uint64Data, Field.stringData:
        try takeData(field, &reader)
      default: try reader.skip(field)
      }
    }

    private mutating func takeData(
      _ field: ProtobufReader.Field, _ reader: inout ProtobufReader
    ) throws {
      // An empty field besides is no contradiction; some writers leave one.
      if field.type == .lengthDelimited, field.length == 0, field.number != Field.stringData {
        return
      }
      let isFirst = dataField == nil
      guard isFirst || (dataField == field.number && field.number != Field.rawData) else {
        throw reader.failure("the data are given twice")
      }
      dataField = field.number
      dense = nil
      switch field.number {
      case Field.rawData: dense = try reader.range(field)
      case Field.floatData: try takeFixed(field, &reader, width: 4, isFirst)
      case Field.doubleData: try takeFixed(field, &reader, width: 8, isFirst)
      case Field.stringData: try reader.skip(field)
      default: try reader.forEachVarint(field) { _ in count += 1 }
      }
    }

    private mutating func takeFixed(
      _ field: ProtobufReader.Field, _ reader: inout ProtobufReader, width: Int, _ isFirst: Bool
    ) throws {
      guard field.type == .lengthDelimited else {
        try reader.skip(field)
        count += 1
        return
      }
      let range = try reader.range(field)
      guard range.count % width == 0 else {
        throw reader.failure("\(range.count) bytes are not elements of \(width) bytes")
      }
      count += range.count / width
      if isFirst { dense = range }
    }

    /// The tensor, once all fields are known.
    func tensor(of file: FileReader) throws -> ONNXTensor {
      let path = file.path
      guard let type = Int(exactly: dataType).flatMap(ONNXDataType.init(rawValue:)) else {
        throw FileError(.unsupported, "the element type \(dataType) is not known", at: path)
      }
      guard let shape = try? Shape(checking: dimensions.map(Int.init)) else {
        throw FileError(.malformed, "the shape \(dimensions) is impossible", at: path)
      }
      let make = { ONNXTensor(name, type, shape, $0, path: path) }
      guard let width = type.byteCount else { return make(.unsupported) }
      // At most 2⁵⁶ elements of at most 8 bytes.
      let byteCount = shape.count * width
      if isExternal {
        guard dataField == nil else {
          throw FileError(.malformed, "the data are in this file and in another", at: path)
        }
        let data = try ONNXExternalData(external, model: path, byteCount: byteCount)
        return make(.external(data))
      }
      guard dataField == nil || dataField == Field.rawData || dataField == type.typedField else {
        throw FileError(.malformed, "the data are in a field of another type", at: path)
      }
      let found = dataField == Field.rawData ? dense?.count ?? 0 : count * width
      guard found == byteCount else {
        throw FileError(
          .malformed, "\(type) \(shape) takes \(byteCount) bytes and there are \(found)", at: path)
      }
      if byteCount == 0 { return make(.dense(file, message.lowerBound..<message.lowerBound)) }
      if let dense { return make(.dense(file, dense)) }
      return make(.encoded(file, message, field: dataField ?? 0))
    }
  }
}
