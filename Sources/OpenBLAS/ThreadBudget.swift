import CConvNetOpenBLAS
import Glibc

/// How many threads this process may keep busy, and which limit says so.
///
/// The smallest of the CPU affinity, the cpusets and the CPU quotas of the process's control groups
/// (version 1 and 2, its own group and every one above), a quota rounded up to whole CPUs.
public struct ThreadBudget: Sendable, Equatable {
  /// One limit that was looked at.
  public struct Reading: Sendable, Equatable {
    /// Where it was read: a file, or `affinity`.
    public let source: String
    /// The number of CPUs it allows; nil when it sets no limit or could not be understood.
    public let count: Int?
    /// What it says, as a phrase.
    public let detail: String

    package init(source: String, count: Int?, detail: String) {
      self.source = source
      self.count = count
      self.detail = detail
    }
  }

  /// The number of threads, at least 1.
  public let count: Int
  /// Where the number comes from, as a sentence.
  public let reason: String
  /// All limits that were found.
  public let readings: [Reading]

  /// The numbers that a caller may ask for.
  public static let allowed = 1...1024

  /// Reads the limits of this process now.
  public static func detect() -> Self { detect(root: "/", affinity: currentAffinity()) }

  /// The number a caller asked for instead of the limits.
  ///
  /// - Throws: `ThreadBudgetError` unless it is in `allowed`.
  public init(lanes: Int) throws {
    guard Self.allowed.contains(lanes) else {
      throw ThreadBudgetError(
        description: "lanes must be between \(Self.allowed.lowerBound) and "
          + "\(Self.allowed.upperBound), not \(lanes)")
    }
    self.init(count: lanes, reason: "\(lanes) was asked for.", readings: [])
  }

  private init(count: Int, reason: String, readings: [Reading]) {
    self.count = count
    self.reason = reason
    self.readings = readings
  }

  /// The same on a made-up tree of files below `root`, with a made-up affinity.
  package static func detect(root: String, affinity: Int?) -> Self {
    var readings: [Reading] = []
    if let affinity {
      readings.append(
        Reading(source: "affinity", count: affinity, detail: "the process may run on \(affinity)"))
    }
    readings += ControlGroups(root: root).readings()
    let limits = readings.compactMap { reading in reading.count.map { (reading, $0) } }
    // The first of equals decides: affinity before the files that usually cause it.
    guard let (reading, count) = limits.min(by: { $0.1 < $1.1 }) else {
      return Self(count: 1, reason: "1, because no limit could be read.", readings: readings)
    }
    let limit = min(max(1, count), allowed.upperBound)
    return Self(
      count: limit, reason: "\(limit), from \(reading.source): \(reading.detail).",
      readings: readings)
  }

  /// The number of CPUs in the affinity mask of the calling thread, or of the machine.
  static func currentAffinity() -> Int? {
    // The kernel refuses a mask shorter than its own; 2¹⁶ CPUs are more than it can be built for.
    let words = 1024
    let bits = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: words) { mask -> Int in
      mask.initialize(repeating: 0)
      let bytes = words * MemoryLayout<UInt64>.size
      let result = convnet_sched_getaffinity(0, bytes, mask.baseAddress)
      return result == 0 ? mask.reduce(0) { $0 + $1.nonzeroBitCount } : 0
    }
    if bits > 0 { return bits }
    let online = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    return online > 0 ? online : nil
  }
}
