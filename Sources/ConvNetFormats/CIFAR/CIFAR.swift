public import ConvNetGraph

/// Pictures of 32×32 pixels in the binary format of CIFAR-10 and CIFAR-100 (Krizhevsky 2009,
/// https://www.cs.toronto.edu/~kriz/cifar.html): records of one or two label bytes and three planes of
/// 1024 bytes, red, green and blue.
public enum CIFAR {
  /// Which labels a file holds, and which of them are read.
  public enum Labels: Sendable, Hashable, CaseIterable {
    /// The ten classes of CIFAR-10.
    case ten
    /// The hundred classes of CIFAR-100.
    case fine
    /// The twenty groups of the classes of CIFAR-100.
    case coarse

    /// The number of classes.
    public var classCount: Int {
      switch self {
      case .ten: 10
      case .fine: 100
      case .coarse: 20
      }
    }

    /// The label bytes of a record: how many values each may have.
    var limits: [UInt8] { self == .ten ? [10] : [20, 100] }

    /// Which of them is read.
    var index: Int { self == .fine ? 1 : 0 }
  }

  /// Pixels of a plane.
  private static let plane = 32 * 32
  /// Records that are read at a time.
  private static let block = 64

  /// Reads files one after the other.
  ///
  /// - Returns: images uint8 `[N, 32, 32, 3]`, and the label of each.
  /// - Throws: `FileError` where a file is missing, does not hold whole records, or has a label that is
  ///   no class.
  public static func read(
    _ paths: [String], labels: Labels
  ) throws -> (images: Tensor, labels: [Int64]) {
    let files = try paths.map { try FileReader($0) }
    let counts = try files.map { try count(of: $0, labels) }
    // Sizes of files with holes mean nothing, and their sum may be beyond 64 bits.
    let (sum, isTooLarge) = counts.reduce((0, false)) { total, count in
      let (sum, overflow) = total.0.addingReportingOverflow(count)
      return (sum, total.1 || overflow)
    }
    let (_, overflow) = sum.multipliedReportingOverflow(by: 3 * plane)
    guard !isTooLarge, !overflow else {
      throw FileError(.tooLarge, "holds more than 64 bits can count", at: files[0].path)
    }
    var images = try Tensor.room(
      for: .uint8, [sum, 32, 32, 3], of: files.first?.path ?? "")
    var found: [Int64] = []
    found.reserveCapacity(sum)
    for (file, count) in zip(files, counts) {
      try read(file, count, labels, into: &images, &found)
    }
    return (images, found)
  }

  /// The number of records of a file.
  private static func count(of file: FileReader, _ labels: Labels) throws -> Int {
    let record = labels.limits.count + 3 * plane
    guard file.size > 0 else { throw FileError(.truncated, "the file is empty", at: file.path) }
    guard file.size.isMultiple(of: record) else {
      throw FileError(
        .truncated,
        "\(file.size) bytes are no whole number of records of \(record) bytes", at: file.path)
    }
    return file.size / record
  }

  /// Reads the records of a file behind those that are there.
  private static func read(
    _ file: FileReader, _ count: Int, _ labels: Labels, into images: inout Tensor,
    _ found: inout [Int64]
  ) throws {
    let limits = labels.limits
    let record = limits.count + 3 * plane
    var bytes = [UInt8](repeating: 0, count: min(count, block) * record)
    for start in stride(from: 0, to: count, by: block) {
      let part = min(block, count - start)
      try unsafe bytes.withUnsafeMutableBytes {
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: $0[..<(part * record)])
        try unsafe file.fill(room, at: start * record)
      }
      for i in 0..<part {
        for (place, limit) in limits.enumerated() where bytes[i * record + place] >= limit {
          throw FileError(
            .malformed,
            "the label \(bytes[i * record + place]) of its record \(start + i) is none of "
              + "\(limit) classes", at: file.path)
        }
        let image = found.count
        found.append(Int64(bytes[i * record + labels.index]))
        unsafe images.withMutableBytes { target in
          unsafe bytes.withUnsafeBytes { source in
            // Both are inside: the tensor has room for every record of every file.
            for c in 0..<3 {
              let from = i * record + limits.count + c * plane
              for p in 0..<plane {
                unsafe target[(image * plane + p) * 3 + c] = source[from + p]
              }
            }
          }
        }
      }
    }
  }
}
