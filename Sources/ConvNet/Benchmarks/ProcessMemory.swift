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
}
