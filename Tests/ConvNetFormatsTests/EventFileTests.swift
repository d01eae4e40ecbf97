import CConvNetZlib
import ConvNetFormats
import Glibc
import Testing

@Suite struct EventFileTests {
  /// RFC 3720, appendix B.4, and the check value that catalogues of checksums give.
  @Test func checksumsAreThosePublished() {
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(CRC32C.checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(CRC32C.checksum(0..<32) == 0x46dd_794e)
    #expect(CRC32C.checksum((0..<32).reversed()) == 0x113f_db5c)
    #expect(CRC32C.checksum("123456789".utf8) == 0xe306_9283)
    #expect(CRC32C.checksum([]) == 0)
  }

  /// The bytes that TensorFlow 2.21 writes by `tf.io.TFRecordWriter` for these two events.
  @Test func bytesAreThoseOfTensorFlow() throws {
    try withFolder { folder in
      var time = 1.5
      let events = try EventFile(folder: folder, host: "here", process: 3) { time }
      #expect(events.path == folder + "/events.out.tfevents.0000000001.here.3")
      time = 2.25
      events.add(scalar: 0.5, "loss", step: 7)
      #expect(try bytes(of: events.path).count == 40)
      try events.flush()
      try events.flush()
      let hex =
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c"
        + "1a00000000000000129bd82d09000000000000024010072a0d0a0b0a046c6f7373150000003fb6a6c418"
      #expect(try bytes(of: events.path).map(hexadecimal).joined() == hex)
    }
  }

  @Test func filesOfOneSecondHaveNamesOfTheirOwn() throws {
    try withFolder { folder in
      for step in [nil, 5] as [Int?] {
        _ = try EventFile(folder: folder, firstStep: step, host: "a", process: 1) { 1_795_433_197 }
      }
      let name = "events.out.tfevents.1795433197.a.1"
      #expect(try names(in: folder) == [name, name + ".1"])
      // The second begins with SessionLog.START at step 5: field 2, then a message of field 7.
      let start = try bytes(of: "\(folder)/\(name).1").dropLast(4).suffix(6)
      #expect(Array(start) == [0x10, 5, 0x3a, 2, 8, 1])
    }
    #expect(!EventFile.hostName.isEmpty && !EventFile.hostName.contains("/"))
    expectError(.missing, "no such file or folder") {
      do { _ = try EventFile(folder: "/no/such/folder") } catch let error as FileError {
        throw FileError(.missing, error.reason, at: error.path)
      }
    }
  }

  /// What TensorFlow 2.21's `tf.compat.v1.summary.histogram` gives for these numbers.
  @Test func histogramsHaveTheBucketsOfTensorFlow() {
    let histogram = EventHistogram([0, 1, 1, -2, 1e-13, 3e21, 0.5, .nan, -.infinity] as [Float])
    #expect(histogram.count == 7 && histogram.nonFiniteCount == 2)
    #expect(histogram.minimum == -2 && histogram.maximum == Double(Float(3e21)))
    #expect(histogram.sum == 2.999999989753888e+21)
    #expect(histogram.sumOfSquares == 8.999999938523327e+42)
    let limits = [
      -2.1628190051144287, -1.9661990955585713, 0.0, 1e-12, 0.47069243095356195, 0.5177616740489182,
      0.917246389039776, 1.0089710279437536, 9.920775621859783e+19, 1.7976931348623157e+308,
    ]
    #expect(histogram.merged.map(\.limit) == limits)
    #expect(histogram.merged.map(\.count) == [0, 1, 0, 2, 0, 1, 0, 2, 0, 1])
    let empty = EventHistogram([] as [Float]).merged
    #expect(empty.count == 1 && empty[0].count == 0)
  }

  /// A limit on the size of files stands for a full disk.
  @Test func aFullDiskLeavesWholeRecords() async throws {
    await #expect(processExitsWith: .success) {
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 1000, rlim_max: 1000)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      try withFolder { folder in
        let events = try EventFile(folder: folder)
        for step in 1...10 { events.add(scalar: 1, "loss", step: step) }
        try events.flush()
        let before = try bytes(of: events.path)
        for step in 1...100 { events.add(scalar: 1, "loss", step: step) }
        expectError(.unwritable, "size limit") { try events.flush() }
        #expect(try bytes(of: events.path) == before)
        events.add(scalar: 1, "loss", step: 101)
        try events.flush()
        #expect(try bytes(of: events.path).count > before.count)
      }
    }
  }

  @Test func foldersAreMadeWithTheirParents() throws {
    try withFolder { folder in
      try makeFolder("\(folder)/a/b//c/")
      try makeFolder("\(folder)/a/b/c")
      #expect(try names(in: "\(folder)/a/b") == ["c"])
      try write([1], to: folder + "/file")
      expectError(.unwritable, "not a folder") { try makeFolder(folder + "/file") }
      expectError(.unwritable, "not a folder") { try makeFolder(folder + "/file/a") }
      expectError(.missing, "empty") { try makeFolder("") }
    }
  }

  private struct Line: Codable, Equatable {
    var step: Int
    var learningRate: Double?
  }

  /// A file of the same name that somebody else wrote is left as it is.
  @Test func linesOfOthersStay() throws {
    try withFolder { folder in
      let path = folder + "/log.jsonl"
      let deep = String(repeating: "[", count: 100_000)
      for text in ["hello\n", "{\"step\":1}\n\(deep)\n{\"step\":2}\n"] {
        try write(Array(text.utf8), to: path)
        expectError(.mismatched, "none that this program wrote") {
          _ = try JSONLinesFile<Line>.open(path) { _ in true }
        }
        #expect(try bytes(of: path) == Array(text.utf8))
      }
    }
  }

  @Test func linesBeyondAStepAndTornOnesGo() throws {
    try withFolder { folder in
      let path = folder + "/log.jsonl"
      let (file, none) = try JSONLinesFile<Line>.open(path) { _ in true }
      #expect(none.isEmpty)
      for step in 1...3 { try file.append(Line(step: step, learningRate: step == 2 ? 0.1 : nil)) }
      let text = #"{"step":1}"# + "\n" + #"{"learning_rate":0.1,"step":2}"# + "\n"
      #expect(try bytes(of: path) == Array((text + #"{"step":3}"# + "\n").utf8))
      try write(try bytes(of: path) + Array("\n{\"step\":1, \"lear".utf8), to: path)
      let (again, kept) = try JSONLinesFile<Line>.open(path) { $0.step < 3 }
      #expect(kept == [Line(step: 1), Line(step: 2, learningRate: 0.1)])
      #expect(try bytes(of: path) == Array(text.utf8))
      try again.append(Line(step: 9))
      #expect(try bytes(of: path) == Array((text + #"{"step":9}"# + "\n").utf8))
    }
  }

  @Test func picturesHoldTheirPixels() throws {
    let (width, height) = (3, 2)
    for (channels, type) in [(1, 0), (2, 4), (3, 2), (4, 6)] {
      let pixels = (0..<width * height * channels).map { UInt8($0 * 9) }
      let png = PNGFile.encode(pixels, width: width, height: height, channels: channels)
      let signature: [UInt8] = [137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13]
      #expect(Array(png[..<16]) == signature + Array("IHDR".utf8))
      #expect(Array(png[16..<29]) == [0, 0, 0, 3, 0, 0, 0, 2, 8, UInt8(type), 0, 0, 0])
      let end: [UInt8] = [0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82]
      #expect(Array(png.suffix(12)) == end)
      let count = png[33..<37].reduce(0) { $0 << 8 | Int($1) }
      let data = Array(png[41..<41 + count])
      var rows = [UInt8](repeating: 0, count: 100)
      var length = UInt(rows.count)
      try #require(uncompress(&rows, &length, data, UInt(data.count)) == Z_OK)
      var expected: [UInt8] = [0]
      expected += pixels[..<(width * channels)] + [0]
      expected += pixels[(width * channels)...]
      #expect(Array(rows[..<Int(length)]) == expected)
    }
  }
}

private func hexadecimal(_ byte: UInt8) -> String {
  (byte < 16 ? "0" : "") + String(byte, radix: 16)
}
