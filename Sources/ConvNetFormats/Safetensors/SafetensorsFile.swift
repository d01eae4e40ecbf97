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

  private let file: FileReader
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
    return try read(entries[index])
  }

  /// Reads all tensors.
  ///
  /// - Throws: `FileError` as `read(_:)`.
  public func readAll() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for entry in entries { tensors[entry.name] = try read(entry) }
    return tensors
  }

  /// Writes tensors and metadata, atomically; the same contents always give the same bytes.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func write(
    _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
  ) throws {
    let (header, names) = try SafetensorsHeader.bytes(for: tensors, metadata: metadata, path: path)
    try AtomicFile.write(to: path) { file in
      try file.append(header)
      for name in names { try unsafe tensors[name]?.withBytes { try unsafe file.append($0) } }
    }
  }

  private func read(_ entry: Entry) throws -> Tensor {
    let place = FileError.quoted(entry.name)
    guard let elementType = entry.storedType.elementType else {
      throw FileError(
        .unsupported, "elements of type \(entry.storedType.rawValue) are not read", at: path,
        place: place)
    }
    var tensor = try Tensor.room(for: elementType, entry.shape, of: path, place: place)
    let start = dataOffset + entry.range.lowerBound
    switch entry.storedType {
    case .float16: try fill(&tensor, at: start, Float.init(halfBits:))
    case .bfloat16: try fill(&tensor, at: start, Float.init(bfloatBits:))
    default: try unsafe tensor.withMutableBytes { try unsafe file.fill($0, at: start) }
    }
    try tensor.checkTruthValues(of: path, place: place)
    return tensor
  }

  /// Widens 16-bit elements on their way through one small buffer.
  private func fill(
    _ tensor: inout Tensor, at start: Int, _ widen: (UInt16) -> Float
  ) throws {
    let block = 1 << 15
    let total = tensor.count
    try tensor.withMutableElements { (elements: inout MutableSpan<Float>) in
      for first in stride(from: 0, to: total, by: block) {
        let count = min(block, total - first)
        let bytes = try file.bytes(count: 2 * count, at: start + 2 * first)
        for index in 0..<count {
          elements[first + index] = widen(
            UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8)
        }
      }
    }
  }
}
