import Glibc

/// What the system says about this process's memory.
public enum ProcessMemory {
  /// The most bytes that were resident at one time since the program began (`VmHWM`); nil where the
  /// system does not tell.
  ///
  /// `getrusage` would count what the process was before `exec`, too.
  public static var peakResidentByteCount: Int? {
    let descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, count in
      count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
    }
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      guard line.hasPrefix("VmHWM:") else { continue }
      return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
        .map { $0 * 1024 }
    }
    return nil
  }

  /// Refuses what the machine's memory cannot hold, so that a slip of the finger brings nothing down.
  ///
  /// - Throws: `PlanError` with both numbers.
  static func check(_ needed: Int, for purpose: String) throws {
    let memory = TensorStorage.memoryByteCount
    guard needed <= memory else {
      throw PlanError(
        .unsupported, "at least \(needed) bytes are needed, the machine has \(memory)", at: purpose)
    }
  }
}
