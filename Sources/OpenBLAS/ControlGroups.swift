import Glibc

/// Reads the CPU limits of the process's control groups, version 1 and 2, below an injectable root.
package struct ControlGroups {
  /// Where `/proc` and `/sys` are looked for; `/` but in tests.
  let root: String

  /// Looks below the given directory.
  package init(root: String) { self.root = root }

  /// One mounted hierarchy with the path of the process's group below the mount point.
  private struct Hierarchy {
    var mountPoint: String
    var controllers: Set<Substring>
    var isUnified: Bool
    var group: String
  }

  /// All limits found; files that do not exist give none.
  package func readings() -> [ThreadBudget.Reading] {
    hierarchies().flatMap { hierarchy in
      Self.directories(from: hierarchy.group).flatMap { group in
        limits(of: hierarchy, in: hierarchy.mountPoint + group)
      }
    }
  }

  private func limits(of hierarchy: Hierarchy, in directory: String) -> [ThreadBudget.Reading] {
    if hierarchy.isUnified {
      return [
        read(directory + "/cpuset.cpus.effective").map(cpuset),
        read(directory + "/cpu.max").map(quotaVersion2),
      ].compactMap(\.self)
    }
    var found: [ThreadBudget.Reading?] = []
    if hierarchy.controllers.contains("cpuset") {
      let file = read(directory + "/cpuset.effective_cpus") ?? read(directory + "/cpuset.cpus")
      found.append(file.map(cpuset))
    }
    if hierarchy.controllers.contains("cpu"), let quota = read(directory + "/cpu.cfs_quota_us"),
      let period = read(directory + "/cpu.cfs_period_us")
    {
      let (count, detail) = Self.quota(quota.text, period: period.text, unlimited: "-1")
      found.append(.init(source: quota.path, count: count, detail: detail))
    }
    return found.compactMap(\.self)
  }

  private func cpuset(_ file: File) -> ThreadBudget.Reading {
    let list = Self.trimmed(file.text)
    let count = Self.countCPUs(list)
    let detail: String =
      switch count {
      case .some(let n): "the cpuset holds \(n) CPUs (\(list))"
      case nil where list.isEmpty: "the cpuset is not set"
      case nil: "the cpuset cannot be read"
      }
    return .init(source: file.path, count: count, detail: detail)
  }

  private func quotaVersion2(_ file: File) -> ThreadBudget.Reading {
    let words = file.text.split(whereSeparator: \.isWhitespace)
    let (count, detail) = Self.quota(
      String(words.first ?? ""), period: words.count > 1 ? String(words[1]) : "100000",
      unlimited: "max")
    return .init(source: file.path, count: count, detail: detail)
  }

  /// The CPUs that a quota of microseconds in a period amounts to, rounded up, and a phrase.
  package static func quota(
    _ quota: String, period: String, unlimited: String
  ) -> (count: Int?, detail: String) {
    let quota = trimmed(quota)
    if quota == unlimited { return (nil, "no quota") }
    guard let q = Int(quota), let p = Int(trimmed(period)), q > 0, p > 0 else {
      return (nil, "the quota cannot be read")
    }
    let count = q / p + (q % p == 0 ? 0 : 1)
    return (count, "the quota is \(q) µs of CPU time in \(p) µs")
  }

  /// The number of CPUs in a list such as `0-3,8,10-11`; nil for an empty or malformed list.
  package static func countCPUs(_ list: String) -> Int? {
    let limit = 1 << 16
    var total = 0
    for part in trimmed(list).split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil,
        (0...limit).contains(first), (first...limit).contains(last)
      else { return nil }
      total += last - first + 1
    }
    return total > 0 && total <= limit ? total : nil
  }

  /// The group's path and those of all groups above it, to the empty path of the mount point.
  static func directories(from group: String) -> [String] {
    var parts = group.split(separator: "/")
    // A process outside its cgroup namespace is shown as /../…, of which nothing can be seen here.
    if parts.contains("..") { parts = [] }
    return (0...min(parts.count, 64)).reversed().map { n in
      parts.prefix(n).map { "/" + $0 }.joined()
    }
  }
}

// MARK: - Mounts and files

extension ControlGroups {
  private struct File {
    var path: String
    var text: String
  }

  /// The mounted hierarchies that can limit CPUs, from /proc/self/mountinfo and /proc/self/cgroup.
  ///
  /// mountinfo(5): `id parent device root mountPoint options … - type source superOptions`;
  /// cgroups(7): `id:controllers:path`, the unified hierarchy with id 0 and no controllers.
  private func hierarchies() -> [Hierarchy] {
    var groups: [Substring: Substring] = [:]
    var unified: Substring?
    for line in (read("/proc/self/cgroup")?.text ?? "").split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if fields[1].isEmpty { unified = fields[2] }
      for controller in fields[1].split(separator: ",") { groups[controller] = fields[2] }
    }
    var found: [Hierarchy] = []
    for line in (read("/proc/self/mountinfo")?.text ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1 else {
        continue
      }
      let (mountRoot, mountPoint) = (Self.unescaped(fields[3]), Self.unescaped(fields[4]))
      let options = Set(fields[(dash + 2)...].flatMap { $0.split(separator: ",") })
      let isUnified = fields[dash + 1] == "cgroup2"
      guard isUnified || fields[dash + 1] == "cgroup" else { continue }
      let controllers = options.intersection(["cpu", "cpuset"])
      let path = isUnified ? unified : controllers.lazy.compactMap { groups[$0] }.first
      guard isUnified || !controllers.isEmpty else { continue }
      found.append(
        Hierarchy(
          mountPoint: mountPoint, controllers: controllers, isUnified: isUnified,
          group: Self.relative(String(path ?? ""), to: mountRoot)))
    }
    return found
  }

  /// A group's path below a mount that shows only the part of the hierarchy under `mountRoot`.
  private static func relative(_ path: String, to mountRoot: String) -> String {
    if mountRoot == "/" { return path }
    if path == mountRoot { return "" }
    return path.hasPrefix(mountRoot + "/") ? String(path.dropFirst(mountRoot.count)) : path
  }

  /// A field of mountinfo with its octal escapes (`\040` for a space) undone.
  private static func unescaped(_ field: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = field.utf8
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(String(Substring(rest.prefix(3))), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func trimmed(_ text: String) -> String {
    var text = Substring(text)
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }

  /// The text of a file, at most 1 MiB of it (mountinfo grows with the machine); nil if unreadable.
  private func read(_ path: String) -> File? {
    let (chunk, limit) = (1 << 14, 1 << 20)
    let descriptor = open(root == "/" ? path : root + path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    while bytes.count < limit {
      var count = 0
      bytes += [UInt8](unsafeUninitializedCapacity: chunk) { buffer, initialized in
        repeat {
          count = Glibc.read(descriptor, buffer.baseAddress, chunk)
        } while count < 0 && errno == EINTR
        initialized = max(0, count)
      }
      if count < 0 { return nil }
      if count == 0 { break }
    }
    return File(path: path, text: String(decoding: bytes, as: UTF8.self))
  }
}
