package import ConvNetGraph

/// A tensor of an ONNX file: what it is, and where its data are.
///
/// Data are read by `read(permutedBy:)`, each time anew.
package struct ONNXTensor: Sendable {
  /// Where the data are.
  package enum Contents: Sendable {
    /// Little-endian elements of `dataType` in a file.
    case dense(FileReader, Range<Int>)
    /// Protobuf's encoding of single elements, in one field of the message in this range.
    case encoded(FileReader, Range<Int>, field: Int)
    /// Little-endian elements in a file of their own.
    case external(ONNXExternalData)
    /// In memory; the axes in the order given are those of the ONNX tensor.
    case memory(Tensor, permutedBy: [Int]?)
    /// Made when they are needed, of the tensor's type and shape, and dropped again.
    case produced(@Sendable () throws -> Tensor)
    /// Nowhere: a type that is not read.
    case unsupported
  }

  /// The numbers of the schema's fields.
  enum Field {
    static let (dims, dataType, segment, floatData, int32Data) = (1, 2, 3, 4, 5)
    static let (stringData, int64Data, name, rawData, doubleData) = (6, 7, 8, 9, 10)
    static let (uint64Data, externalData, dataLocation) = (11, 13, 14)
  }

  /// The tensor's name; attributes' tensors often have none.
  package var name: String
  /// The type of the elements in the file.
  package var dataType: ONNXDataType
  /// The extents.
  package var shape: Shape
  /// Where the data are.
  package var contents: Contents
  /// The file, for messages.
  package var path = ""

  /// The type of the elements once they are read; nil where the type is not read.
  package var elementType: ElementType? { dataType.elementType }

  /// What messages call the tensor.
  package var place: String { name.isEmpty ? "" : "tensor \(FileError.quoted(name))" }

  /// Makes a tensor of data in memory.
  ///
  /// - Parameter permutedBy: Axes of `tensor` in the order in which ONNX is to have them:
  ///   `[3, 2, 0, 1]` makes `[O, I, kh, kw]` of a weight `[kh, kw, I, O]`.
  package init(_ name: String, _ tensor: Tensor, permutedBy axes: [Int]? = nil) {
    self.name = name
    dataType = ONNXDataType(tensor.elementType)
    shape = axes.map { Shape($0.map { tensor.shape[$0] }) } ?? tensor.shape
    contents = .memory(tensor, permutedBy: axes)
  }

  /// Makes a tensor whose data a closure makes when they are written.
  package init(
    _ name: String, _ elementType: ElementType, _ shape: Shape,
    _ make: @escaping @Sendable () throws -> Tensor
  ) {
    self.name = name
    dataType = ONNXDataType(elementType)
    self.shape = shape
    contents = .produced(make)
  }

  init(_ name: String, _ dataType: ONNXDataType, _ shape: Shape, _ contents: Contents, path: String)
  {
    self.name = name
    self.dataType = dataType
    self.shape = shape
    self.contents = contents
    self.path = path
  }
}
