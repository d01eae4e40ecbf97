import ConvNetFormats
import ConvNetGraph
import FoundationEssentials
import Glibc
import Testing

@Suite struct AtomicFileTests {
  @Test func aFailedWriteLeavesThePreviousFile() throws {
    struct Stop: Error {}
    try withFolder { folder in
      let path = folder + "/a"
      try write([1, 2, 3], to: path)
      #expect(throws: Stop.self) {
        try AtomicFile.write(to: path) { file in
          try file.append([9, 9])
          throw Stop()
        }
      }
      #expect(try bytes(of: path) == [1, 2, 3])
      #expect(try names(in: folder) == ["a"])
    }
  }

  @Test func linksStayAndOtherThingsAreRefused() throws {
    try withFolder { folder in
      let path = folder + "/a"
      try write([1], to: path)
      try #require(symlink(path, folder + "/link") == 0)
      try AtomicFile.write(to: folder + "/link") { try $0.append([7]) }
      #expect(try bytes(of: path) == [7])
      #expect(try names(in: folder) == ["a", "link"])
      for (wrong, text) in [
        ("/dev/null", "not a regular file"), (folder, "not a regular file"),
        (folder + "/", "folder"), (folder + "/no/a", "no such file or folder"),
        (path + "/b", "not a folder"),
        (folder + "/" + String(repeating: "x", count: 300), "too long"),
      ] {
        expectError(.unwritable, text) { try AtomicFile.write(to: wrong) { try $0.append([8]) } }
      }
      #expect(try names(in: folder) == ["a", "link"])
    }
  }

  @Test func modeFollowsTheUmask() throws {
    try withFolder { folder in
      try AtomicFile.write(to: folder + "/a") { try $0.append([7]) }
      var status = stat()
      try #require(stat(folder + "/a", &status) == 0)
      #expect(status.st_mode & 0o777 & ~0o644 == 0)
    }
  }

  /// A limit on the size of files stands for a full disk: both stop a write in its middle.
  @Test func aFullDiskLeavesThePreviousFile() async throws {
    await #expect(processExitsWith: .success) {
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 100_000, rlim_max: 100_000)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      try withFolder { folder in
        let path = folder + "/a.safetensors"
        try SafetensorsFile.write(["a": Tensor([1] as [Float])], to: path)
        let before = try bytes(of: path)
        expectError(.unwritable, "size limit") {
          try SafetensorsFile.write(["a": Tensor(zeros: [50_000])], to: path)
        }
        #expect(try bytes(of: path) == before)
        #expect(try names(in: folder) == ["a.safetensors"])
      }
    }
  }

  /// A real full disk, where this process may mount one.
  @Test(.enabled(if: geteuid() == 0)) func aFullFileSystemIsNamed() throws {
    try withFolder { folder in
      let disk = folder + "/disk"
      try #require(mkdir(disk, 0o755) == 0)
      guard mount("tmpfs", disk, "tmpfs", 0, "size=64k") == 0 else { return }
      defer { umount(disk) }
      let path = disk + "/a.npy"
      try NpyFile.write(Tensor([1] as [Float]), to: path)
      let before = try bytes(of: path)
      expectError(.unwritable, "the disk is full") {
        try NpyFile.write(Tensor(zeros: [50_000]), to: path)
      }
      #expect(try bytes(of: path) == before)
      #expect(try names(in: disk) == ["a.npy"])
    }
  }
}
