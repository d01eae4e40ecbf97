public import ConvNetGraph

/// Named tensors in the safetensors format (https://huggingface.co/docs/safetensors).
///
/// Opening reads names, types and metadata; data are read by name, straight into their tensors:
///
///     let file = try SafetensorsFile.open("weights.safetensors")
///     let weight = try file.read("conv1.weight")
public struct SafetensorsFile: Sendable {
  /// One tensor of the file.
  public struct Entry: Sendable, Hashable {
    /// The tensor's name.
    public let name: String
    /// The type of its elements in the file.
    public let storedType: StoredType
    /// Its extents.
    public let shape: Shape
    /// Its bytes, counted from the end of the header.
    package let range: Range<Int>
  }

  /// The path it was opened by.
  public var path: String { file.path }
  /// The tensors, in the order of their data.
  public let entries: [Entry]
  /// Free text of the file's author.
  public let metadata: [String: String]

  let file: FileReader
  private let dataOffset: Int
  private let indices: [String: Int]

  /// Opens a file and checks its header against its size; no data are read.
  ///
  /// - Throws: `FileError` for everything that the format forbids: among it names given twice, data
  ///   that overlap, leave holes, pass the end or have another size than type and shape ask for.
  public static func open(_ path: String) throws -> SafetensorsFile {
    let file = try FileReader(path)
    guard file.size >= 8 else {
      throw FileError(.truncated, "the file ends before its header", at: path)
    }
    let length = try file.bytes(count: 8, at: 0).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    guard length <= SafetensorsHeader.limit else {
      throw FileError(
        .mismatched, "a header of \(length) bytes cannot be one of a safetensors file", at: path)
    }
    let header = try SafetensorsHeader(
      file.bytes(count: Int(length), at: 8), dataCount: file.size - 8 - Int(length), path: path)
    return SafetensorsFile(file: file, header: header, dataOffset: 8 + Int(length))
  }

  private init(file: FileReader, header: SafetensorsHeader, dataOffset: Int) {
    self.file = file
    self.dataOffset = dataOffset
    entries = header.entries
    metadata = header.metadata
    indices = Dictionary(
      header.entries.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Reads a tensor; float16 and bfloat16 become float32, everything else keeps its bits.
  ///
  /// - Throws: `FileError` where there is none of this name or its type is not read.
  public func read(_ name: String) throws -> Tensor {
    guard let index = indices[name] else {
      throw FileError(.mismatched, "there is no tensor of this name", at: path, place: name)
    }
    let entry = entries[index]
    return try read(entry, as: entry.shape)
  }

  /// Reads all tensors.
  ///
  /// - Throws: `FileError` as `read(_:)`.
  public func readAll() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for entry in entries { tensors[entry.name] = try read(entry, as: entry.shape) }
    return tensors
  }

  /// Writes tensors and metadata, atomically; the same contents always give the same bytes.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func write(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
  ) throws {
    try write(tensors.mapValues(Content.init), metadata: metadata, to: path)
  }

  /// A tensor and how a file is to hold it.
  package struct Content {
    package var tensor: Tensor
    /// The extents that the file states.
    package var shape: Shape
    /// The extents and the order of the elements in the file.
    package var array: StoredArray

    package init(_ tensor: Tensor, shape: Shape, array: StoredArray) {
      self.tensor = tensor
      self.shape = shape
      self.array = array
    }

    /// A tensor as it is.
    package init(_ tensor: Tensor) {
      self.init(
        tensor, shape: tensor.shape,
        array: StoredArray(StoredType(tensor.elementType), tensor.shape))
    }
  }

  /// Writes tensors in other layouts than their own, otherwise as `write(_:metadata:to:)`.
  package static func write(
    _ contents: [String: Content], metadata: [String: String], to path: String
  ) throws {
    let (header, names) = try SafetensorsHeader.bytes(for: contents, metadata: metadata, path: path)
    try AtomicFile.write(to: path) { file in
      try file.append(header)
      for name in names {
        if let content = contents[name] { try content.array.write(content.tensor, to: file) }
      }
    }
  }

  /// Reads a tensor whose elements the file has under another shape and in another order of axes.
  ///
  /// - Parameters:
  ///   - entry: one of `entries`.
  ///   - shape: the extents of the elements in the file, as many as the entry has.
  ///   - permutation: axis i of the tensor is axis `permutation[i]` of `shape`; nil for the same order.
  /// - Throws: `FileError` where the type is not read.
  package func read(
    _ entry: Entry, as shape: Shape, permutation: [Int]? = nil
  ) throws -> Tensor {
    guard shape.count == entry.shape.count else {
      fatalError("A tensor \(entry.shape) of a file was to be read as \(shape).")
    }
    return try StoredArray(entry.storedType, shape, permutation: permutation).read(
      from: file, at: dataOffset + entry.range.lowerBound, place: FileError.quoted(entry.name))
  }
}
