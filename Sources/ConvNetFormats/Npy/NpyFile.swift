public import ConvNetGraph

/// Arrays in NumPy's format (NEP 1): versions 1.0 to 3.0 are read, 1.0 is written.
public enum NpyFile {
  /// Reads an array of float32, float64, int64, int32, uint8 or bool, of either byte order.
  ///
  /// Data in Fortran's order are put into C order. The file has to hold exactly the data that its
  /// header declares.
  ///
  /// - Throws: `FileError`.
  public static func read(_ path: String) throws -> Tensor {
    let file = try FileReader(path)
    let header = try NpyHeader(file)
    let (count, overflow) = header.shape.count.multipliedReportingOverflow(
      by: header.elementType.byteCount)
    let present = file.size - header.dataOffset
    guard !overflow, count == present else {
      throw FileError(
        count > present ? .truncated : .malformed,
        "\(header.elementType.rawValue) \(header.shape) takes \(count) bytes and the file holds "
          + "\(present)", at: path)
    }
    let stored = header.isFortranOrder ? Shape(header.shape.dimensions.reversed()) : header.shape
    var tensor = try Tensor.room(for: header.elementType, stored, of: path)
    try unsafe tensor.withMutableBytes { try unsafe file.fill($0, at: header.dataOffset) }
    if header.isBigEndian { tensor.swapBytes() }
    try tensor.checkTruthValues(of: path)
    return header.isFortranOrder ? tensor.reversingAxes() : tensor
  }

  /// Writes an array, little-endian and in C order, atomically.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  public static func write(_ tensor: Tensor, to path: String) throws {
    let header = NpyHeader.bytes(for: tensor)
    try AtomicFile.write(to: path) { file in
      try file.append(header)
      try unsafe tensor.withBytes { try unsafe file.append($0) }
    }
  }
}
