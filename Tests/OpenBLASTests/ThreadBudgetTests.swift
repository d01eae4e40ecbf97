import Glibc
import OpenBLAS
import Testing

/// The thread budget on made-up control groups; nothing here depends on the machine.
@Suite struct ThreadBudgetTests {
  /// A directory of its own with the given files, removed afterwards.
  func withTree<R>(_ files: [String: String], _ body: (String) throws -> R) throws -> R {
    var template = Array("/tmp/convnet-budget-XXXXXX".utf8CString)
    let name = try #require(mkdtemp(&template))
    let root = String(cString: name)
    var created = [root]
    defer { for path in created.reversed() { remove(path) } }
    for (path, text) in files.sorted(by: { $0.key < $1.key }) {
      var directory = root
      for part in path.split(separator: "/").dropLast() {
        directory += "/" + part
        if mkdir(directory, 0o755) == 0 { created.append(directory) }
      }
      let file = try #require(fopen(root + path, "w"))
      fputs(text, file)
      fclose(file)
      created.append(root + path)
    }
    return try body(root)
  }

  func budget(_ files: [String: String], affinity: Int? = 64) throws -> ThreadBudget {
    try withTree(files) { ThreadBudget.detect(root: $0, affinity: affinity) }
  }

  static let mount2 = "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
  static let mount1 = """
    31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755
    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
    34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset

    """

  @Test func noFiles() throws {
    #expect(try budget([:]).count == 64)
    #expect(try budget([:]).reason == "64, from affinity: the process may run on 64.")
    let nothing = try budget([:], affinity: nil)
    #expect(nothing.count == 1)
    #expect(nothing.reason == "1, because no limit could be read.")
  }

  @Test func version2TakesTheSmallestOfTheParents() throws {
    let found = try budget([
      "/proc/self/mountinfo": Self.mount2, "/proc/self/cgroup": "0::/pods/one\n",
      "/sys/fs/cgroup/cpuset.cpus.effective": "0-15\n",
      "/sys/fs/cgroup/pods/cpu.max": "250000 100000\n",
      "/sys/fs/cgroup/pods/one/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/pods/one/cpuset.cpus.effective": "0-3,8,10-11\n",
    ])
    #expect(found.count == 3)
    #expect(
      found.reason
        == "3, from /sys/fs/cgroup/pods/cpu.max: the quota is 250000 µs of CPU time in 100000 µs.")
    #expect(found.readings.map(\.count) == [64, 7, nil, 3, 16])
  }

  @Test func version1() throws {
    let files = [
      "/proc/self/mountinfo": Self.mount1,
      "/proc/self/cgroup": "9:cpuset:/\n3:cpu,cpuacct:/a/b\n0::/\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpuset/cpuset.cpus": "0-5\n",
    ]
    let found = try budget(files)
    #expect(found.count == 1, "half a CPU is one lane")
    #expect(found.readings.map(\.count) == [64, 1, nil, 6])
    var lines = files
    lines["/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us"] = "-1\n"
    #expect(try budget(lines).count == 6)
    #expect(try budget(lines).reason.contains("cpuset.cpus: the cpuset holds 6 CPUs (0-5)"))
  }

  /// Docker without a namespace: the path is the host's, the mount shows only the container's part.
  @Test func mountRootIsStripped() throws {
    let found = try budget([
      "/proc/self/mountinfo":
        "32 31 0:29 /docker/x /sys/fs/cgroup/cpu\\040quota rw - cgroup cgroup rw,cpu\n",
      "/proc/self/cgroup": "3:cpu:/docker/x/y\n",
      "/sys/fs/cgroup/cpu quota/y/cpu.cfs_quota_us": "400000",
      "/sys/fs/cgroup/cpu quota/y/cpu.cfs_period_us": "100000",
    ])
    #expect(found.count == 4)
  }

  @Test func outsideTheNamespace() throws {
    let found = try budget([
      "/proc/self/mountinfo": Self.mount2, "/proc/self/cgroup": "0::/../../other\n",
      "/sys/fs/cgroup/cpu.max": "200000 100000\n", "/other/cpu.max": "100000 100000\n",
    ])
    #expect(found.count == 2)
  }

  @Test func garbageIsNoLimit() throws {
    let long = String(repeating: "9", count: 5000)
    for (cpu, cpus) in [
      ("", ""), ("max", "\n"), ("0 0", "3-1"), ("-5 100000", "0-"), ("1e9 7", "a,b"),
      (long, long), ("100000 0", "0-99999999"), ("💥", "1--2"), ("100000 -1", ",,"),
    ] {
      let found = try budget([
        "/proc/self/mountinfo": "- - -\n\n x y\n" + Self.mount2,
        "/proc/self/cgroup": "::::\nnonsense\n0::/\n",
        "/sys/fs/cgroup/cpu.max": cpu, "/sys/fs/cgroup/cpuset.cpus.effective": cpus,
      ])
      #expect(found.count == 64, "\(cpu.prefix(20)) \(cpus.prefix(20))")
    }
  }

  @Test func quotas() {
    let quota = { (q: String, p: String) in
      ControlGroups.quota(q, period: p, unlimited: "max").count
    }
    #expect(quota("100000", "100000") == 1)
    #expect(quota("100001", "100000") == 2)
    #expect(quota("1", "100000") == 1)
    #expect(quota("\(Int.max)", "1") == Int.max)
    #expect(quota("max", "100000") == nil)
    #expect(ControlGroups.countCPUs("0-1,2") == 3)
    #expect(ControlGroups.countCPUs("5") == 1)
    #expect(ControlGroups.countCPUs("0-9223372036854775807") == nil)
  }

  @Test func hugeLimitsAreCut() throws {
    #expect(try budget([:], affinity: 5000).count == 1024)
  }

  @Test func explicitNumbers() throws {
    #expect(try ThreadBudget(lanes: 1).count == 1)
    #expect(try ThreadBudget(lanes: 1024).reason == "1024 was asked for.")
    for lanes in [0, -1, 1025, 10000] {
      #expect(
        throws: ThreadBudgetError(
          description: "lanes must be between 1 and 1024, not \(lanes)")
      ) { try ThreadBudget(lanes: lanes) }
    }
  }

  @Test func thisProcess() {
    let found = ThreadBudget.detect()
    #expect(ThreadBudget.allowed.contains(found.count))
    #expect(found.readings.first?.source == "affinity")
  }
}
